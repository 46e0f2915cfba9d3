/** Something that will happen at a moment of simulated time, in milliseconds. */
export interface TimedEvent {
  readonly at: number
  readonly run: () => void
}

interface Entry extends TimedEvent {
  readonly order: number
}

/** Events in the order of their time; those of one moment keep the order in which they were made. A binary heap. */
export class EventQueue {
  readonly #heap: Entry[] = []
  #order = 0

  /** Events added so far. */
  get added(): number {
    return this.#order
  }

  add({ at, run }: TimedEvent): void {
    this.#order += 1
    const event = { at, order: this.#order, run }
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

  /** Takes the next event out, unless there is none until `end`. */
  take(end: number): TimedEvent | undefined {
    const next = this.#heap[0]
    if (next === undefined || next.at > end) return undefined
    this.#drop()
    return next
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

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
