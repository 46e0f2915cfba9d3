import type { Advertisement } from '../frames.ts'
import type { Boot, Monotonic, PeerId } from '../ids.ts'
import { ADDRESSES_MAX } from '../limits.ts'

/** A changed load is gossiped this often, give or take a fifth, so that members do not fall into step. */
export const ADVERTISE_INTERVAL_MS = 1_000

/** An unchanged one this often: signing, checking and forwarding it is most of what an idle pool does. */
export const ADVERTISE_UNCHANGED_MS = 5_000

export type Offer = Pick<Advertisement, 'capabilities' | 'running' | 'queued' | 'drain'>

interface AdvertiserInit {
  readonly self: PeerId
  readonly boot: Boot
  readonly name: string
  readonly version: string
  readonly random: () => number
}

/** Makes this daemon's advertisements, and says when one is due. */
export class Advertiser {
  readonly #init: AdvertiserInit
  #sequence = 0
  #addresses: readonly string[] = []
  #publishedAt: Monotonic = Number.NEGATIVE_INFINITY
  #jitter = 1
  #published = { offer: '', turn: '' }

  constructor(init: AdvertiserInit) {
    this.#init = init
  }

  /** The first ADDRESSES_MAX are advertised. */
  listening(addresses: readonly string[]): void {
    this.#addresses = addresses.slice(0, ADDRESSES_MAX)
  }

  /** A fresh advertisement; every one has a higher sequence. */
  current(offer: Offer): Advertisement {
    this.#sequence += 1
    const { self: peer, boot, name, version } = this.#init
    const { incarnation } = boot
    return { peer, incarnation, sequence: this.#sequence, name, version, addresses: this.#addresses, ...offer }
  }

  /** To be asked at every tick. At once when the host turns busy or idle, or offers or listens to something else. */
  due(offer: Offer, now: Monotonic): Advertisement | undefined {
    const key = { offer: JSON.stringify(offer), turn: turnOf(offer, this.#addresses) }
    const waited = now - this.#publishedAt
    const interval = key.offer === this.#published.offer ? ADVERTISE_UNCHANGED_MS : ADVERTISE_INTERVAL_MS
    if (key.turn === this.#published.turn && waited < interval * this.#jitter) return undefined
    this.#published = key
    this.#publishedAt = now
    this.#jitter = 0.8 + 0.4 * this.#init.random()
    return this.current(offer)
  }
}

function turnOf({ capabilities, drain }: Offer, addresses: readonly string[]): string {
  return JSON.stringify([addresses, drain, capabilities.map(({ name, slots, free }) => [name, slots, free > 0])])
}
