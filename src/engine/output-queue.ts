import type { Journal, JournalWrite } from '../ports/index.ts'

interface Output {
  readonly written: Promise<void> | undefined
  readonly effects: () => void
}

/**
 * Durable before visible: carries out the effects of each step after the step's journal writes, and those of all
 * earlier steps, are on disk; strictly in order, never one inside another. What waits for nothing is carried out at once.
 */
export class OutputQueue {
  readonly #journal: Pick<Journal, 'commit'>
  readonly #failed: (error: unknown) => void
  readonly #waiting: Output[] = []
  readonly #idle: (() => void)[] = []
  #running = false
  #broken = false

  /** `failed` is called once, when the journal refuses a write: nothing later is carried out. */
  constructor(journal: Pick<Journal, 'commit'>, failed: (error: unknown) => void) {
    this.#journal = journal
    this.#failed = failed
  }

  push(writes: readonly JournalWrite[], effects: () => void): void {
    if (this.#broken) return
    this.#waiting.push({ written: writes.length === 0 ? undefined : this.#journal.commit(writes), effects })
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
        output.written.then(() => this.#drain(), this.#fail)
        return
      }
      this.#waiting.shift()
      output.effects()
    }
    this.#running = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  readonly #fail = (error: unknown): void => {
    if (this.#broken) return
    this.#broken = true
    // Later writes fail as well; their promises must not go unheard.
    for (const { written } of this.#waiting.splice(0)) written?.catch(() => undefined)
    this.#running = false
    for (const resolve of this.#idle.splice(0)) resolve()
    this.#failed(error)
  }
}
