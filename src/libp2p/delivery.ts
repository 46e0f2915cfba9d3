import type { Logger } from '../ports/logger.ts'
import type { NetworkHandlers } from '../ports/network.ts'

/**
 * Calls the handlers one after another and never inside a call of theirs into the adapter: each call is queued and
 * made in the next microtask. In order; nothing after `close`. The queue empties within the same turn of the event
 * loop, so it never holds more than one turn's input.
 */
export class Delivery {
  readonly #logger: Logger
  #handlers: NetworkHandlers | undefined
  #queue: ((handlers: NetworkHandlers) => void)[] = []
  #scheduled = false

  constructor(handlers: NetworkHandlers, logger: Logger) {
    this.#handlers = handlers
    this.#logger = logger
  }

  post(call: (handlers: NetworkHandlers) => void): void {
    if (this.#handlers === undefined) return
    this.#queue.push(call)
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#drain())
  }

  close(): void {
    this.#handlers = undefined
    this.#queue = []
  }

  #drain(): void {
    for (let next = 0; next < this.#queue.length; next += 1) {
      const handlers = this.#handlers
      if (handlers === undefined) break
      try {
        this.#queue[next]?.(handlers)
      } catch (error) {
        this.#logger.error('network handler threw', { error: error instanceof Error ? error.stack : String(error) })
      }
    }
    this.#queue = []
    this.#scheduled = false
  }
}
