import type { Advertisement, Frame, Hello, MembershipFrame } from '../frames.ts'
import type { Boot, Monotonic, PeerId } from '../ids.ts'
import { HEARTBEAT_INTERVAL_MS, type MembershipEffect, type MemberView } from '../membership/index.ts'
import { Advertiser, type Offer } from './advertiser.ts'
import type { Outbox } from './outbox.ts'
import { acquaintances, introductions } from './peer-exchange.ts'

export interface PeerSideInit {
  readonly self: PeerId
  readonly boot: Boot
  readonly name: string
  readonly version: string
  readonly random: () => number
  readonly view: MemberView
  readonly outbox: Outbox
  readonly offer: () => Offer
  /** Who is there, or what they offer, may have changed. */
  readonly changed: () => void
}

/** What this daemon has to do with the others as members: greetings, heartbeats, advertisements, peer exchange. */
export class PeerSide {
  readonly #init: PeerSideInit
  readonly #advertiser: Advertiser
  #sequence = 0
  #beatAt: Monotonic = Number.NEGATIVE_INFINITY

  constructor(init: PeerSideInit) {
    this.#init = init
    this.#advertiser = new Advertiser(init)
  }

  linkUp(peer: PeerId, now: Monotonic): void {
    const { view, boot, outbox } = this.#init
    this.change(out => view.linkUp(peer, now, out))
    outbox.send(peer, { kind: 'hello', boot, advertisement: this.advertisement() })
    outbox.send(peer, acquaintances(view, peer))
  }

  gossip(author: PeerId, advertisement: Advertisement, now: Monotonic): void {
    const { self, view, changed } = this.#init
    if (author === self) return
    const before = view.get(author)?.advertisement?.addresses
    if (!view.advertised(author, advertisement, now)) return
    changed()
    this.#introduce(author, before)
  }

  /** `hello` is the caller's too: a new boot concerns the jobs. */
  frame(from: PeerId, frame: Exclude<MembershipFrame, { kind: 'drain' }>, now: Monotonic): void {
    const { self, view, outbox } = this.#init
    switch (frame.kind) {
      case 'hello':
        return this.#hello(from, frame, now)
      case 'heartbeat':
        return outbox.send(from, { kind: 'heartbeatAck', sequence: frame.sequence })
      case 'heartbeatAck':
        return view.heartbeatAck(from, frame.sequence, now)
      case 'peers':
        for (const { peer, addresses } of frame.peers) {
          if (peer !== self) outbox.push({ kind: 'learn', peer, addresses })
        }
        return
      case 'goodbye':
        return this.change(out => view.goodbye(from, now, out))
    }
  }

  /** Call at every tick. */
  tick(now: Monotonic): void {
    if (now - this.#beatAt >= HEARTBEAT_INTERVAL_MS) this.#beat(now)
  }

  /** Call at the end of every tick, when what is offered is settled. */
  advertise(now: Monotonic): void {
    const { offer, outbox } = this.#init
    const advertisement = this.#advertiser.due(offer(), now)
    if (advertisement !== undefined) outbox.push({ kind: 'publish', advertisement })
  }

  advertisement(): Advertisement {
    return this.#advertiser.current(this.#init.offer())
  }

  listening(addresses: readonly string[]): void {
    this.#advertiser.listening(addresses)
  }

  /** To all linked members. */
  broadcast(frame: Frame): void {
    for (const { peer, linked } of this.#init.view.members()) if (linked) this.#init.outbox.send(peer, frame)
  }

  change(act: (out: MembershipEffect[]) => void): void {
    const out: MembershipEffect[] = []
    act(out)
    if (out.length > 0) this.#init.changed()
    this.#init.outbox.push(...out)
  }

  #hello(from: PeerId, frame: Hello, now: Monotonic): void {
    const { view, outbox, changed } = this.#init
    const before = view.get(from)?.advertisement?.addresses
    this.change(out => view.hello(from, frame.boot, frame.advertisement, now, out))
    outbox.push({ kind: 'learn', peer: from, addresses: frame.advertisement.addresses })
    this.#introduce(from, before)
    changed()
  }

  #introduce(peer: PeerId, before: readonly string[] | undefined): void {
    const { view, outbox } = this.#init
    for (const { to, frame } of introductions(view, peer, before)) outbox.send(to, frame)
  }

  #beat(now: Monotonic): void {
    const { view, outbox } = this.#init
    this.#beatAt = now
    this.#sequence += 1
    const sequence = this.#sequence
    for (const { peer, linked } of view.members()) {
      if (!linked) continue
      view.heartbeat(peer, sequence, now)
      outbox.send(peer, { kind: 'heartbeat', sequence })
    }
    this.change(out => view.tick(now, out))
  }
}
