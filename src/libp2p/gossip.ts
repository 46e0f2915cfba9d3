import type { GossipSub, Message, SubscriptionChangeData, TopicValidatorFn } from '@chainsafe/libp2p-gossipsub'
import { TopicValidatorResult } from '@chainsafe/libp2p-gossipsub'
import type { Advertisement } from '../core/frames.ts'
import type { PeerId } from '../core/ids.ts'
import { PEERS_MAX } from '../core/limits.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import { decodeAdvertisement, encodeAdvertisement } from '../wire/frame-codec.ts'
import { STATE_TOPIC } from '../wire/names.ts'

/** An advertisement on the wire: twice the largest honest one (64 capabilities, 16 addresses). */
export const ADVERTISEMENT_BYTES_MAX = 16 * 1024

/** Advertisements per author: this many at once, and then this many a second. An honest daemon sends about one. */
export const AUTHOR_BURST_MAX = 20
export const AUTHOR_RATE_PER_S = 10

/** After a peer has subscribed, before the own advertisement is sent again; several newcomers share one. */
const REPUBLISH_MS = 250

export interface GossipInit {
  readonly pubsub: GossipSub
  readonly self: PeerId
  readonly clock: Clock
  readonly logger: Logger
  /** Whether the peer has proven its membership to us: a member could invent authors, and sign for them. */
  isMember(peer: PeerId): boolean
  deliver(peer: PeerId, advertisement: Advertisement): void
}

/** Advertisements by gossip: best effort, checked before they are passed on. */
export class Gossip {
  readonly #init: GossipInit
  readonly #buckets = new Map<PeerId, { tokens: number; at: number }>()
  #last: Uint8Array | undefined
  #republish: Timer | undefined
  #rejected = 0

  constructor(init: GossipInit) {
    this.#init = init
  }

  get rejected(): number {
    return this.#rejected
  }

  start(): void {
    const { pubsub } = this.#init
    pubsub.topicValidators.set(STATE_TOPIC, this.#validate)
    pubsub.addEventListener('message', this.#received)
    pubsub.addEventListener('subscription-change', this.#subscribed)
    pubsub.subscribe(STATE_TOPIC)
  }

  stop(): void {
    const { pubsub } = this.#init
    this.#republish?.cancel()
    pubsub.topicValidators.delete(STATE_TOPIC)
    pubsub.removeEventListener('message', this.#received)
    pubsub.removeEventListener('subscription-change', this.#subscribed)
  }

  publish(advertisement: Advertisement): void {
    const encoded = encodeAdvertisement(advertisement)
    if (encoded.length > ADVERTISEMENT_BYTES_MAX) {
      this.#init.logger.error('advertisement too long, not published', { bytes: encoded.length })
      return
    }
    this.#last = encoded
    void this.#send(encoded)
  }

  async #send(encoded: Uint8Array): Promise<void> {
    try {
      await this.#init.pubsub.publish(STATE_TOPIC, encoded)
    } catch (error) {
      this.#init.logger.debug('advertisement not published', { error: String(error) })
    }
  }

  /** Author and content are judged here, so that nothing bad is passed on. Synchronous and well under a millisecond. */
  #validate: TopicValidatorFn = (_from, message) => {
    const verdict = this.#judge(message)
    if (verdict !== TopicValidatorResult.Accept) this.#rejected += 1
    return verdict
  }

  #judge(message: Message): TopicValidatorResult {
    if (message.type !== 'signed' || message.from.type !== 'Ed25519') return TopicValidatorResult.Reject
    const author = message.from.toString()
    if (message.data.length > ADVERTISEMENT_BYTES_MAX) return TopicValidatorResult.Reject
    // Not their fault: we may not have met the author yet. Its state comes with the first frame of the link.
    if (!this.#init.isMember(author)) return TopicValidatorResult.Ignore
    if (!this.#withinRate(author)) return TopicValidatorResult.Ignore
    const advertisement = this.#decode(message.data, author)
    return advertisement?.peer === author ? TopicValidatorResult.Accept : TopicValidatorResult.Reject
  }

  #decode(data: Uint8Array, author: PeerId): Advertisement | undefined {
    try {
      return decodeAdvertisement(data)
    } catch (error) {
      this.#init.logger.warn('malformed advertisement', { peer: author, error: String(error) })
      return undefined
    }
  }

  #withinRate(author: PeerId): boolean {
    const now = this.#init.clock.now()
    const bucket = this.#buckets.get(author) ?? { tokens: AUTHOR_BURST_MAX, at: now }
    bucket.tokens = Math.min(AUTHOR_BURST_MAX, bucket.tokens + ((now - bucket.at) / 1000) * AUTHOR_RATE_PER_S)
    bucket.at = now
    this.#buckets.delete(author)
    this.#buckets.set(author, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > PEERS_MAX && oldest !== undefined) this.#buckets.delete(oldest)
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }

  #received = (event: CustomEvent<Message>): void => {
    const message = event.detail
    if (message.type !== 'signed' || message.topic !== STATE_TOPIC) return
    const author = message.from.toString()
    if (author === this.#init.self) return
    const advertisement = this.#decode(message.data, author)
    if (advertisement !== undefined) this.#init.deliver(author, advertisement)
  }

  /** What was published before a peer subscribed has not reached it. */
  #subscribed = (event: CustomEvent<SubscriptionChangeData>): void => {
    const subscribed = event.detail.subscriptions.some(({ topic, subscribe }) => topic === STATE_TOPIC && subscribe)
    if (!subscribed || this.#last === undefined || this.#republish !== undefined) return
    this.#republish = this.#init.clock.after(REPUBLISH_MS, () => {
      this.#republish = undefined
      if (this.#last !== undefined) void this.#send(this.#last)
    })
  }
}
