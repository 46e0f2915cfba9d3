import type { AgentRuntime, Attempt, AttemptEnd, AttemptHandlers, TaskStart } from '../../ports/index.ts'
import type { FunctionAttempt } from './function-attempt.ts'
import { FunctionWorkers, type FunctionWorkersInit } from './function-workers.ts'

export interface FunctionRuntimes {
  /** Where sessions of SDK workers are registered and report to. */
  readonly workers: FunctionWorkers
  /**
   * Runs attempts of one capability at whichever worker has most free slots; each call makes a new runtime, over the
   * same workers. A worker that disconnects gives its attempts back (`returned`). Killed or timed out, an attempt ends
   * when its worker says so, at the latest after ABORT_GRACE_MS.
   */
  runtime(): AgentRuntime
}

export function functionRuntime(init: FunctionWorkersInit): FunctionRuntimes {
  const workers = new FunctionWorkers(init)
  return { workers, runtime: () => new FunctionRuntime(workers) }
}

/** Attempts of one capability, as the engine sees them. */
class FunctionRuntime implements AgentRuntime {
  readonly kind = 'function'
  readonly #workers: FunctionWorkers
  readonly #running = new Set<FunctionAttempt>()
  #stopped: PromiseWithResolvers<void> | undefined

  constructor(workers: FunctionWorkers) {
    this.#workers = workers
  }

  start(task: TaskStart, handlers: AttemptHandlers): Attempt {
    if (this.#stopped !== undefined) {
      queueMicrotask(() => handlers.ended({ kind: 'returned', reason: 'the daemon stops' }))
      return NO_ATTEMPT
    }
    const ended = (end: AttemptEnd) => {
      handlers.ended(end)
      this.#settle()
    }
    const attempt = this.#workers.start(task, { log: line => handlers.log(line), ended }, over => {
      this.#running.delete(over)
    })
    if (attempt === undefined) return NO_ATTEMPT
    this.#running.add(attempt)
    return attempt
  }

  stop(): Promise<void> {
    this.#stopped ??= Promise.withResolvers<void>()
    for (const attempt of this.#running) attempt.kill('the daemon stops')
    this.#settle()
    return this.#stopped.promise
  }

  #settle(): void {
    if (this.#running.size === 0) this.#stopped?.resolve()
  }
}

const NO_ATTEMPT: Attempt = { kill() {}, childSettled() {} }
