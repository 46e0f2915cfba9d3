import type { Monotonic } from '../core/ids.ts'

/** Time and timers. The daemon uses the system's; the simulator and tests hand in their own. */
export interface Clock {
  /** Monotonic milliseconds with fractions; starts anywhere, never goes back. */
  now(): Monotonic
  /** Wall clock, milliseconds since 1970. For display and records only, never for decisions. */
  wall(): number
  /** Like `now`, but goes on while the machine sleeps; undefined where that cannot be known. */
  uptime(): Monotonic | undefined
  /** Calls `fire` once, not before `delayMs` have passed. Never keeps the process alive. */
  after(delayMs: number, fire: () => void): Timer
}

export interface Timer {
  /** Idempotent; after it `fire` is not called. */
  cancel(): void
}

/** Random numbers, so that a simulator can replay them. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** `length` random bytes as lower-case hex. */
  hex(length: number): string
  /** A fresh job id: 26 characters of lower-case base32. */
  id(): string
}
