import type { Clock } from '../../src/ports/index.ts'

/** Time of the system: what is tested here are real processes. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  uptime: () => undefined,
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  }
}
