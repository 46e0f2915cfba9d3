/** What a worker of the demo tells its parent when a body begins and when it has ended, however it has. */
export interface BodyNote {
  readonly kind: 'begun' | 'ended'
  readonly taskId: string
}

/** Counts the bodies of one job by what the workers say: nothing of it is estimated, and a killed daemon cannot hide any. */
export class BodyTally {
  readonly #begun = new Map<string, number>()
  readonly #running = new Map<string, Set<string>>()
  #again = 0
  readonly #waits = new Set<{ reached: () => boolean; resolve: () => void }>()

  /** Takes down what the worker of `name` has said. */
  note(name: string, { kind, taskId }: BodyNote): void {
    const running = this.#running.get(name) ?? new Set()
    this.#running.set(name, running)
    if (kind === 'ended') {
      running.delete(taskId)
      return
    }
    running.add(taskId)
    const before = this.#begun.get(taskId) ?? 0
    this.#begun.set(taskId, before + 1)
    if (before > 0) this.#again += 1
    for (const wait of this.#waits) if (wait.reached()) wait.resolve()
  }

  /** Tasks that have begun at least once. */
  get tasks(): number {
    return this.#begun.size
  }

  /** Bodies beyond the first of each task. */
  get again(): number {
    return this.#again
  }

  runningAt(name: string): number {
    return this.#running.get(name)?.size ?? 0
  }

  /** Resolves as soon as a body's begin makes `reached` true, or `signal` aborts. */
  async until(reached: () => boolean, signal: AbortSignal): Promise<void> {
    if (reached() || signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const wait = { reached, resolve }
    this.#waits.add(wait)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    this.#waits.delete(wait)
  }
}
