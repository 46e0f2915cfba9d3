const HEX = '0123456789abcdef'
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/**
 * Seeded random numbers (mulberry32). Only integer arithmetic, division and multiplication are used here and by all who
 * derive times from it: their results are the same in every version of every engine, those of `Math.pow` are not.
 */
export class SeededRandom {
  #state: number

  /** The streams of (seed, labels) with different labels are independent of each other. */
  constructor(seed: number, ...labels: readonly (number | string)[]) {
    this.#state = hashOf(seed, labels)
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  /** Uniform in 0 .. count - 1. */
  int(count: number): number {
    return Math.floor(this.next() * count)
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Pareto, shape 1: half are under 2 * `scale`, a hundredth over 100 * `scale`; never over `max`. */
  heavyTailed(scale: number, max: number): number {
    return Math.min(max, scale / Math.max(1e-9, this.next()))
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.int(items.length)]
    if (item === undefined) throw new RangeError('nothing to pick from')
    return item
  }

  /** An index with a chance in proportion to its weight. */
  weighted(weights: readonly number[]): number {
    let point = this.next() * weights.reduce((sum, weight) => sum + weight, 0)
    for (const [index, weight] of weights.entries()) {
      point -= weight
      if (point < 0) return index
    }
    return weights.length - 1
  }

  /** `length` bytes as lower-case hex. */
  hex(length: number): string {
    return this.#text(HEX, 2 * length)
  }

  /** In the form of a job id. */
  id(): string {
    return this.#text(BASE32, 26)
  }

  #text(alphabet: string, length: number): string {
    let text = ''
    for (let index = 0; index < length; index += 1) text += alphabet[this.int(alphabet.length)]
    return text
  }
}

/** 32 bits of the seed and the labels (FNV-1a with a final mix). */
function hashOf(seed: number, labels: readonly (number | string)[]): number {
  let hash = 0x811c9dc5
  const eat = (value: number) => {
    hash = Math.imul(hash ^ (value & 0xffff), 0x01000193)
    hash = Math.imul(hash ^ (value >>> 16), 0x01000193)
  }
  eat(seed | 0)
  eat(Math.floor(seed / 4294967296))
  for (const label of labels) {
    if (typeof label === 'number') eat(label)
    else for (let index = 0; index < label.length; index += 1) eat(label.charCodeAt(index))
    eat(0x5bd1)
  }
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
