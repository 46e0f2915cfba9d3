import { EventQueue } from '../../src/testing/event-queue.ts'

/** A clock that moves only from event to event; events of the same moment happen in the order in which they were made. */
export class VirtualTime {
  now: number
  readonly #events = new EventQueue()

  constructor(now = 1_000) {
    this.now = now
  }

  later(delayMs: number, run: () => void): void {
    this.#events.add({ at: this.now + delayMs, run })
  }

  /** Handles the next event. False when there is none before `end`. */
  step(end = Number.POSITIVE_INFINITY): boolean {
    const next = this.#events.take(end)
    if (next === undefined) return false
    this.now = Math.max(this.now, next.at)
    next.run()
    return true
  }

  /** Runs until `done`, or until `forMs` have passed. True when `done`. */
  run(done: () => boolean, forMs: number): boolean {
    const end = this.now + forMs
    while (!done()) {
      if (this.step(end)) continue
      this.now = end
      return done()
    }
    return true
  }
}

/** A small seeded generator (mulberry32), uniform in [0, 1), so that a failing schedule can be run again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Heavy-tailed milliseconds (Pareto, shape 1 / 1.2): most are short, some are long enough for any fault to hit them. */
export function heavyTailed(random: () => number, scaleMs: number, maxMs: number): number {
  return Math.min(maxMs, scaleMs / Math.max(1e-9, random()) ** 1.2)
}
