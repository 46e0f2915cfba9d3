import { randomBytes } from 'node:crypto'
import { uptime } from 'node:os'
import type { Clock, Random, Timer } from '../ports/clock.ts'

/** The longest delay that a Node timer takes; beyond it `setTimeout` fires at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** Time of the system. `now` does not go on while the machine sleeps on Linux, and does on macOS. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  uptime: bootTime,
  after: (delayMs, fire) => new SystemTimer(delayMs, fire)
}

/** A machine that sleeps stops this process: within so little running time it can hardly have slept unnoticed. */
const UPTIME_FRESH_MS = 2

let uptimeRead = { at: Number.NEGATIVE_INFINITY, uptime: 0 }

/**
 * On Linux CLOCK_BOOTTIME; elsewhere the system derives it from the wall clock, which people may set. Reading costs 11 us,
 * so readings that follow each other closely share one.
 */
function bootTime(): number | undefined {
  if (process.platform !== 'linux') return undefined
  const now = performance.now()
  if (now - uptimeRead.at >= UPTIME_FRESH_MS) uptimeRead = { at: now, uptime: uptime() * 1_000 }
  return uptimeRead.uptime + (now - uptimeRead.at)
}

class SystemTimer implements Timer {
  readonly #due: number
  readonly #fire: () => void
  #timeout: NodeJS.Timeout | undefined

  constructor(delayMs: number, fire: () => void) {
    this.#due = performance.now() + delayMs
    this.#fire = fire
    this.#arm()
  }

  cancel(): void {
    clearTimeout(this.#timeout)
    this.#timeout = undefined
  }

  /** Timers count whole milliseconds and may so be early by a part of one: then it is armed again. */
  #arm(): void {
    const delay = Math.min(Math.max(Math.ceil(this.#due - performance.now()), 0), TIMER_MS_MAX)
    this.#timeout = setTimeout(() => {
      if (performance.now() < this.#due) this.#arm()
      else this.#fire()
    }, delay)
    this.#timeout.unref()
  }
}

/** RFC 4648, lower case: no digit that looks like a letter. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'
const ID_CHARS = 26

/** Unpredictable random numbers. */
export const systemRandom: Random = {
  next() {
    const bytes = randomBytes(8)
    return (bytes.readUInt32BE(0) * 2 ** 21 + (bytes.readUInt32BE(4) >>> 11)) / 2 ** 53
  },
  hex: length => randomBytes(length).toString('hex'),
  id: () => Array.from(randomBytes(ID_CHARS), byte => BASE32[byte & 31]).join('')
}
