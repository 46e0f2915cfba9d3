import type { Advertisement } from '../frames.ts'
import type { Boot, Monotonic, PeerId } from '../ids.ts'

/** Advertisements are gossiped this often, give or take a fifth, so that members do not fall into step. */
export const ADVERTISE_INTERVAL_MS = 1_000

type Offer = Pick<Advertisement, 'capabilities' | 'running' | 'queued'>

/** Makes this daemon's advertisements and says when the next one is due: at its time, or at the next tick after a change. */
export class Advertiser {
  readonly #init: { self: PeerId; boot: Boot; name: string; version: string; random: () => number }
  #sequence = 0
  #addresses: readonly string[] = []
  #nextAt: Monotonic = Number.NEGATIVE_INFINITY
  #changed = true

  constructor(init: { self: PeerId; boot: Boot; name: string; version: string; random: () => number }) {
    this.#init = init
  }

  listening(addresses: readonly string[]): void {
    this.#addresses = addresses
    this.#changed = true
  }

  changed(): void {
    this.#changed = true
  }

  /** A fresh advertisement; every one has a higher sequence. */
  current(offer: Offer): Advertisement {
    this.#sequence += 1
    const { self: peer, boot, name, version } = this.#init
    const { incarnation } = boot
    return { peer, incarnation, sequence: this.#sequence, name, version, addresses: this.#addresses, ...offer }
  }

  due(offer: Offer, now: Monotonic): Advertisement | undefined {
    if (!this.#changed && now < this.#nextAt) return undefined
    this.#changed = false
    this.#nextAt = now + ADVERTISE_INTERVAL_MS * (0.8 + 0.4 * this.#init.random())
    return this.current(offer)
  }
}
