import type { Clock } from '../ports/clock.ts'

/**
 * Pending inbound upgrades of one address. Half of the slots there are, so that one address can never fill them all
 * and shut everybody else out; well above the number of daemons that share an address and start at once.
 */
export const PENDING_PER_ADDRESS_MAX = 32

/** Pending inbound upgrades of all addresses. */
export const PENDING_MAX = 64

/** Failed gates of one address within BAD_WINDOW_MS before its connections are dropped unread: crypto is not free. */
export const BAD_PER_ADDRESS_MAX = 64
export const BAD_WINDOW_MS = 10_000

/** Addresses whose failures are remembered; beyond it the oldest are forgotten. */
const BAD_ADDRESSES_MAX = 1_024

/** Bounds what one network address may cost before the gate has judged it. `key` is the raw connection itself. */
export class Admission {
  readonly #clock: Clock
  readonly #pending = new Map<string, Set<object>>()
  readonly #bad = new Map<string, { count: number; since: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes a slot for a new connection. Gives the reason when there is none for it. */
  enter(host: string, key: object): 'address-full' | 'address-bad' | undefined {
    const bad = this.#bad.get(host)
    if (bad !== undefined && this.#clock.now() - bad.since < BAD_WINDOW_MS && bad.count >= BAD_PER_ADDRESS_MAX)
      return 'address-bad'
    const pending = this.#pending.get(host) ?? new Set()
    if (pending.size >= PENDING_PER_ADDRESS_MAX) return 'address-full'
    pending.add(key)
    this.#pending.set(host, pending)
    return undefined
  }

  /** The upgrade is over, either way. Idempotent. */
  leave(host: string, key: object): void {
    const pending = this.#pending.get(host)
    if (pending?.delete(key) && pending.size === 0) this.#pending.delete(host)
  }

  /** A connection of this address failed at the gate. */
  failed(host: string): void {
    const now = this.#clock.now()
    const bad = this.#bad.get(host)
    if (bad !== undefined && now - bad.since < BAD_WINDOW_MS) {
      bad.count += 1
      return
    }
    this.#bad.delete(host)
    this.#bad.set(host, { count: 1, since: now })
    const [oldest] = this.#bad.keys()
    if (this.#bad.size > BAD_ADDRESSES_MAX && oldest !== undefined) this.#bad.delete(oldest)
  }
}
