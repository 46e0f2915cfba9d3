import { randomBytes } from 'node:crypto'
import type { Clock, Random } from '../../src/ports/clock.ts'

/** The system's clock, for tests of adapters over real sockets. Its timers never keep the process alive. */
export const realClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  uptime: () => undefined,
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  }
}

export const realRandom: Random = {
  next: () => Math.random(),
  hex: length => randomBytes(length).toString('hex'),
  id: () => randomBytes(13).toString('hex')
}
