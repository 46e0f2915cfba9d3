interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A clock that moves only from event to event; events of the same moment happen in the order in which they were made. */
export class VirtualTime {
  now: number
  readonly #heap: Event[] = []
  #order = 0

  constructor(now = 1_000) {
    this.now = now
  }

  later(delayMs: number, run: () => void): void {
    this.#order += 1
    const event = { at: this.now + delayMs, order: this.#order, run }
    let index = this.#heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = this.#heap[parent]
      if (above === undefined || !before(event, above)) break
      this.#heap[index] = above
      index = parent
    }
    this.#heap[index] = event
  }

  /** Handles the next event. False when there is none before `end`. */
  step(end = Number.POSITIVE_INFINITY): boolean {
    const next = this.#heap[0]
    if (next === undefined || next.at > end) return false
    this.#pop()
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

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      let next = heap[child]
      const right = heap[child + 1]
      if (next === undefined) break
      if (right !== undefined && before(right, next)) {
        child += 1
        next = right
      }
      if (!before(next, last)) break
      heap[index] = next
      index = child
    }
    heap[index] = last
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
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
