import type { DrainState } from '../frames.ts'
import type { Monotonic } from '../ids.ts'

/** A draining daemon that was given no deadline lets its tasks end in their own time. */
export const NO_DRAIN_DEADLINE_MS = Number.POSITIVE_INFINITY

/**
 * Whether this daemon takes work. Open, or draining (takes none until told otherwise), or stopping (for good). What its
 * capabilities would offer if it were open is remembered meanwhile.
 */
export class Admission {
  readonly #wanted = new Map<string, number>()
  #state: 'open' | 'draining' | 'stopping' = 'open'
  #moveAt: Monotonic = NO_DRAIN_DEADLINE_MS

  get open(): boolean {
    return this.#state === 'open'
  }

  get stopping(): boolean {
    return this.#state === 'stopping'
  }

  /** Capabilities and their slots as they were asked for, open or not. */
  get wanted(): ReadonlyMap<string, number> {
    return this.#wanted
  }

  /** Slots that may be offered now for a capability that wants `slots`. */
  offer(capability: string, slots: number): number {
    if (slots === 0) this.#wanted.delete(capability)
    else this.#wanted.set(capability, slots)
    return this.open ? slots : 0
  }

  /** What is left here at `moveAt` is to be moved. Calling it again only sets another time. */
  drain(moveAt: Monotonic): void {
    if (this.#state === 'open') this.#state = 'draining'
    this.#moveAt = moveAt
  }

  /** False when there was nothing to end. */
  endDrain(): boolean {
    if (this.#state !== 'draining') return false
    this.#state = 'open'
    this.#moveAt = NO_DRAIN_DEADLINE_MS
    return true
  }

  stop(): void {
    this.#state = 'stopping'
  }

  /** True once, when the time to let tasks end is over. */
  moveDue(now: Monotonic): boolean {
    if (this.#state !== 'draining' || now < this.#moveAt) return false
    this.#moveAt = NO_DRAIN_DEADLINE_MS
    return true
  }

  drainState(idle: boolean): DrainState {
    if (this.#state === 'open') return 'no'
    return idle ? 'drained' : 'draining'
  }
}
