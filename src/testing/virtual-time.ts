interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** Time of the simulated world, in milliseconds. It moves from event to event; those of one moment keep their order. */
export class VirtualTime {
  now = 0
  readonly #heap: Event[] = []
  #order = 0

  /** Events handled and to come. */
  get scheduled(): number {
    return this.#order
  }

  after(delayMs: number, run: () => void): void {
    this.#order += 1
    const event = { at: this.now + Math.max(0, delayMs), order: this.#order, run }
    const heap = this.#heap
    let index = heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !before(event, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = event
  }

  /** Handles the next event. False when there is none until `end`: then it is `end`. */
  step(end: number): boolean {
    const next = this.#heap[0]
    if (next === undefined || next.at > end) {
      this.now = Math.max(this.now, end)
      return false
    }
    this.#drop()
    this.now = next.at
    next.run()
    return true
  }

  #drop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      let next = heap[child]
      if (next === undefined) break
      const right = heap[child + 1]
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
