import type { Advertisement } from '../frames.ts'
import type { Boot, Monotonic, PeerId } from '../ids.ts'
import { PEERS_MAX } from '../limits.ts'
import {
  AWARENESS_MAX,
  DEAD_AFTER_MS,
  FORGET_AFTER_MS,
  HEARTBEAT_INTERVAL_MS,
  LATE_TIMER_MS,
  SUSPECT_AFTER_MS
} from './timing.ts'

export type MemberState = 'alive' | 'suspect' | 'dead' | 'left'

/** One member as this daemon sees it. */
export interface Member {
  readonly peer: PeerId
  state: MemberState
  linked: boolean
  boot: Boot | undefined
  advertisement: Advertisement | undefined
  /** When the newest advertisement came, by the local monotonic clock. */
  advertisedAt: Monotonic | undefined
  /** When anything was last heard on its link. */
  heardAt: Monotonic
  /** When `state` last changed. */
  since: Monotonic
  /** Exponentially weighted round trip (gain 1/8, as TCP's: RFC 6298), undefined until measured. */
  rttMs: number | undefined
  /** Shortest round trip seen on this link: the wire alone, without anybody's busy event loop. */
  shortestRttMs: number | undefined
}

export type MembershipEffect =
  | {
      readonly kind: 'member-changed'
      readonly peer: PeerId
      readonly from: MemberState | undefined
      readonly to: MemberState
    }
  | { readonly kind: 'cut'; readonly peer: PeerId; readonly reason: string }

/**
 * Who is there, as far as this daemon can tell. States: alive -> suspect (silent, or its link closed) -> dead; a member
 * that says goodbye has left; any sign of life makes it alive again. A boot with a higher incarnation refutes all.
 *
 * The view is soft: it steers placement and display and never decides that work is lost.
 */
export class MemberView {
  readonly self: PeerId
  readonly #members = new Map<PeerId, Member>()
  readonly #heartbeats = new Map<PeerId, { sequence: number; sentAt: Monotonic }>()
  #awareness = 0
  #tickedAt: Monotonic | undefined

  constructor(self: PeerId) {
    this.self = self
  }

  /** 0 healthy .. AWARENESS_MAX: how slow this host itself has been. */
  get awareness(): number {
    return this.#awareness
  }

  get(peer: PeerId): Member | undefined {
    return this.#members.get(peer)
  }

  /** All others, in no order. */
  members(): Member[] {
    return [...this.#members.values()]
  }

  linkUp(peer: PeerId, now: Monotonic, out: MembershipEffect[]): void {
    const member = this.#member(peer, now)
    if (member === undefined) return
    member.linked = true
    member.heardAt = now
    member.shortestRttMs = undefined
    this.#turn(member, 'alive', now, out)
  }

  linkDown(peer: PeerId, now: Monotonic, out: MembershipEffect[]): void {
    const member = this.#members.get(peer)
    this.#heartbeats.delete(peer)
    if (member === undefined) return
    member.linked = false
    if (member.state === 'alive') this.#turn(member, 'suspect', now, out)
  }

  /** Any frame is a sign of life. */
  heard(peer: PeerId, now: Monotonic, out: MembershipEffect[]): void {
    const member = this.#members.get(peer)
    if (member === undefined) return
    member.heardAt = now
    if (member.linked && member.state !== 'left') this.#turn(member, 'alive', now, out)
  }

  hello(peer: PeerId, boot: Boot, advertisement: Advertisement, now: Monotonic, out: MembershipEffect[]): void {
    const member = this.#member(peer, now)
    if (member === undefined) return
    member.boot = boot
    this.#turn(member, member.linked ? 'alive' : 'suspect', now, out)
    this.advertised(peer, advertisement, now)
  }

  /** The newest (incarnation, sequence) wins. False when it is older than what is known, or there is no place. */
  advertised(peer: PeerId, advertisement: Advertisement, now: Monotonic): boolean {
    const member = this.#member(peer, now)
    if (member === undefined) return false
    const known = member.advertisement
    if (known !== undefined && !isNewer(advertisement, known)) return false
    member.advertisement = advertisement
    member.advertisedAt = now
    return true
  }

  goodbye(peer: PeerId, now: Monotonic, out: MembershipEffect[]): void {
    const member = this.#members.get(peer)
    if (member !== undefined) this.#turn(member, 'left', now, out)
  }

  /** Notes that a heartbeat leaves, so that its answer can be timed. */
  heartbeat(peer: PeerId, sequence: number, now: Monotonic): void {
    this.#heartbeats.set(peer, { sequence, sentAt: now })
  }

  heartbeatAck(peer: PeerId, sequence: number, now: Monotonic): void {
    const sent = this.#heartbeats.get(peer)
    const member = this.#members.get(peer)
    if (sent?.sequence !== sequence || member === undefined) return
    const sample = now - sent.sentAt
    member.rttMs = member.rttMs === undefined ? sample : member.rttMs + (sample - member.rttMs) / 8
    member.shortestRttMs = Math.min(sample, member.shortestRttMs ?? sample)
    this.#heartbeats.delete(peer)
  }

  /** Call every HEARTBEAT_INTERVAL_MS. A host whose own timer is late accuses nobody. */
  tick(now: Monotonic, out: MembershipEffect[]): void {
    const lateness = this.#tickedAt === undefined ? 0 : now - this.#tickedAt - HEARTBEAT_INTERVAL_MS
    this.#tickedAt = now
    if (lateness > LATE_TIMER_MS) {
      this.#awareness = Math.min(AWARENESS_MAX, this.#awareness + 1)
      for (const member of this.#members.values())
        if (member.linked) member.heardAt = Math.max(member.heardAt, now - HEARTBEAT_INTERVAL_MS)
      return
    }
    this.#awareness = Math.max(0, this.#awareness - 1)
    const factor = this.#awareness + 1
    const silent = this.members().filter(m => m.linked && now - m.heardAt > SUSPECT_AFTER_MS * factor)
    const linked = this.members().filter(m => m.linked).length
    // More than half of all silent at once: it is more likely my own link or load than theirs.
    const mine = linked > 2 && silent.length > linked / 2
    for (const member of silent) {
      if (now - member.heardAt > DEAD_AFTER_MS * (mine ? 2 * factor : factor)) {
        this.#turn(member, 'dead', now, out)
        out.push({ kind: 'cut', peer: member.peer, reason: 'silent' })
      } else if (!mine) {
        this.#turn(member, 'suspect', now, out)
      }
    }
    for (const member of this.#members.values()) {
      if (!member.linked && member.state === 'suspect' && now - member.since > DEAD_AFTER_MS * factor)
        this.#turn(member, 'dead', now, out)
      if (!member.linked && now - member.since > FORGET_AFTER_MS) this.#members.delete(member.peer)
    }
  }

  #member(peer: PeerId, now: Monotonic): Member | undefined {
    const known = this.#members.get(peer)
    if (known !== undefined || peer === this.self) return known
    if (this.#members.size >= PEERS_MAX && !this.#evict()) return undefined
    const member: Member = {
      peer,
      state: 'suspect',
      linked: false,
      boot: undefined,
      advertisement: undefined,
      advertisedAt: undefined,
      heardAt: now,
      since: now,
      rttMs: undefined,
      shortestRttMs: undefined
    }
    this.#members.set(peer, member)
    return member
  }

  /** Makes room by forgetting the member that has been gone longest. */
  #evict(): boolean {
    let oldest: Member | undefined
    for (const member of this.#members.values()) {
      if (!member.linked && (oldest === undefined || member.since < oldest.since)) oldest = member
    }
    return oldest !== undefined && this.#members.delete(oldest.peer)
  }

  #turn(member: Member, to: MemberState, now: Monotonic, out: MembershipEffect[]): void {
    if (member.state === to) return
    const from = member.state
    member.state = to
    member.since = now
    out.push({ kind: 'member-changed', peer: member.peer, from, to })
  }
}

function isNewer(a: Advertisement, b: Advertisement): boolean {
  return a.incarnation > b.incarnation || (a.incarnation === b.incarnation && a.sequence > b.sequence)
}
