import type { Journal, JournalWrite } from '../ports/index.ts'

interface Output {
  readonly written: Promise<void> | undefined
  readonly effects: () => void
}

/** `journal`: it refused a write; `defect`: an effect threw. */
export type OutputFailure = 'journal' | 'defect'

/**
 * Durable before visible: carries out the effects of each step after the step's journal writes, and those of all
 * earlier steps, are on disk; strictly in order, never one inside another. What waits for nothing is carried out at once.
 */
export class OutputQueue {
  readonly #journal: Pick<Journal, 'commit'>
  readonly #failed: (kind: OutputFailure, error: unknown) => void
  readonly #waiting: Output[] = []
  readonly #idle: (() => void)[] = []
  #running = false
  #broken = false

  /** `failed` is called once, when the journal refuses a write or an effect throws: nothing later is carried out. */
  constructor(journal: Pick<Journal, 'commit'>, failed: (kind: OutputFailure, error: unknown) => void) {
    this.#journal = journal
    this.#failed = failed
  }

  /** It has failed: nothing is carried out any more. */
  get broken(): boolean {
    return this.#broken
  }

  push(writes: readonly JournalWrite[], effects: () => void): void {
    if (this.#broken) return
    const written = writes.length === 0 ? undefined : this.#journal.commit(writes)
    // Heard when it is its turn; until then, or when it never is, a rejection must not count as unhandled.
    written?.catch(() => undefined)
    this.#waiting.push({ written, effects })
    if (!this.#running) this.#drain()
  }

  /** Resolves when everything pushed so far is carried out, or will never be. */
  idle(): Promise<void> {
    if (!this.#running) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  #drain(): void {
    this.#running = true
    for (let output = this.#waiting[0]; output !== undefined; output = this.#waiting[0]) {
      if (output.written !== undefined) {
        const { effects } = output
        this.#waiting[0] = { written: undefined, effects }
        output.written.then(
          () => this.#drain(),
          error => this.#fail('journal', error)
        )
        return
      }
      this.#waiting.shift()
      try {
        output.effects()
      } catch (error) {
        return this.#fail('defect', error)
      }
    }
    this.#running = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  #fail(kind: OutputFailure, error: unknown): void {
    if (this.#broken) return
    this.#broken = true
    this.#waiting.length = 0
    this.#running = false
    for (const resolve of this.#idle.splice(0)) resolve()
    this.#failed(kind, error)
  }
}
