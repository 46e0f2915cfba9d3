import type { Clock, Timer } from '../../src/ports/clock.ts'

interface Pending {
  readonly at: number
  readonly order: number
  readonly fire: () => void
}

/** A clock that stands still until it is moved; timers fire in order of their time, then of their making. */
export class ManualClock implements Clock {
  #now = 1_000
  #order = 0
  readonly #pending = new Set<Pending>()

  now(): number {
    return this.#now
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now
  }

  uptime(): number {
    return this.#now
  }

  after(delayMs: number, fire: () => void): Timer {
    this.#order += 1
    const pending = { at: this.#now + delayMs, order: this.#order, fire }
    this.#pending.add(pending)
    return { cancel: () => void this.#pending.delete(pending) }
  }

  /** Milliseconds until the next timer; undefined when there is none. */
  nextInMs(): number | undefined {
    const next = this.#next()
    return next === undefined ? undefined : next.at - this.#now
  }

  /** Moves on, and lets what the timers started (promises) get as far as it can after each one. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      this.#now = next.at
      this.#pending.delete(next)
      next.fire()
      await new Promise(resolve => setImmediate(resolve))
    }
    this.#now = end
  }

  #next(): Pending | undefined {
    const [next] = [...this.#pending].sort((a, b) => a.at - b.at || a.order - b.order)
    return next
  }
}
