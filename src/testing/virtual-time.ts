import { EventQueue } from './event-queue.ts'

/** Time of the simulated world, in milliseconds. It moves from event to event; those of one moment keep their order. */
export class VirtualTime {
  now = 0
  readonly #events = new EventQueue()

  /** Events handled and to come. */
  get scheduled(): number {
    return this.#events.added
  }

  after(delayMs: number, run: () => void): void {
    this.#events.add({ at: this.now + Math.max(0, delayMs), run })
  }

  /** Handles the next event. False when there is none until `end`: then it is `end`. */
  step(end: number): boolean {
    const next = this.#events.take(end)
    this.now = next === undefined ? Math.max(this.now, end) : next.at
    next?.run()
    return next !== undefined
  }
}
