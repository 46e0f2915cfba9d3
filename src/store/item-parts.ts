import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { TaskItem } from '../wire/api/schemas.ts'
import { ITEMS_PER_PART } from './limits.ts'

/**
 * Encodes the tasks of a finished job part by part, in the order of their paths. A job may have 100,000 tasks, a second
 * of encoding: the caller takes one step per turn of the event loop. Memory: the given list and the compressed parts.
 */
export class ItemEncoder {
  readonly #items: readonly TaskItem[]
  readonly #parts: Buffer[] = []
  #next = 0

  /** `items` must not be changed before `done`. */
  constructor(items: readonly TaskItem[]) {
    this.#items = inOrder(items) ? items : [...items].sort((a, b) => comparePaths(a.id, b.id))
  }

  get done(): boolean {
    return this.#next >= this.#items.length
  }

  /** Encodes the next ITEMS_PER_PART tasks. */
  step(): void {
    const slice = this.#items.slice(this.#next, this.#next + ITEMS_PER_PART)
    this.#next += slice.length
    // Level 1: of all levels the fastest, and the higher ones save less than a tenth on such text.
    if (slice.length > 0) this.#parts.push(deflateRawSync(JSON.stringify(slice), { level: 1 }))
  }

  parts(): readonly Buffer[] {
    while (!this.done) this.step()
    return this.#parts
  }
}

/** @throws Error when `part` was not made by an ItemEncoder. */
export function decodeItems(part: Uint8Array): TaskItem[] {
  return JSON.parse(inflateRawSync(part).toString()) as TaskItem[]
}

function inOrder(items: readonly TaskItem[]): boolean {
  return items.every((item, index) => index === 0 || comparePaths(items[index - 1]?.id ?? '', item.id) <= 0)
}

/**
 * Order of task ids of one job: by number at each level ("0.2" before "0.10"), a task before its children.
 * Compares without splitting: lists of 100,000 tasks are checked in one turn.
 */
function comparePaths(a: string, b: string): number {
  let start = a.indexOf('.') + 1
  let index = start
  while (index < a.length && a.charCodeAt(index) === b.charCodeAt(index)) {
    index += 1
    if (a[index - 1] === '.') start = index
  }
  if (index === a.length || index === b.length) {
    return a.length === b.length ? 0 : a.length - b.length
  }
  return Number.parseInt(a.slice(start), 10) - Number.parseInt(b.slice(start), 10)
}
