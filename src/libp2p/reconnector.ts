import type { PeerId } from '../core/ids.ts'
import { PEERS_MAX } from '../core/limits.ts'
import type { Clock, Random, Timer } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import { ADDRESSES_PER_PEER_MAX, dialOrder, parseAddress } from './addresses.ts'
import { type GateError, isDuplicate } from './gate-error.ts'
import type { NetworkTiming } from './timing.ts'

/** Dials at one time to peers that never were linked: a flood of invented sightings must not starve the real ones. */
export const UNPROVEN_DIALS_MAX = 8

/** Failed dials after which a peer that never was linked is forgotten; a new sighting brings it back. */
export const UNPROVEN_FAILURES_MAX = 20

/** A link that lived shorter than this counts as a failed dial, so that a peer that hangs up is not dialled in a loop. */
const SHORT_LINK_MS = 3_000

/** Wait after a crossed dial: the other side's is about to succeed. */
const CROSSED_DIAL_MS = 500

export interface ReconnectorInit {
  readonly self: PeerId
  readonly clock: Clock
  readonly random: Random
  readonly timing: NetworkTiming
  readonly logger: Logger
  /** Dials one multiaddr, with or without `/p2p/ID`, and gives the peer that answered. Rejects with DialError. */
  dial(address: string, signal: AbortSignal): Promise<PeerId>
  linked(peer: PeerId): boolean
  /** Whether the peer may be dialled now: a newcomer only dials the issuer of its token. */
  eligible(peer: PeerId): boolean
  ownHosts(): ReadonlySet<string>
  /** Whether this daemon listens on nothing but loopback. */
  readonly onlyLoopback: boolean
}

/** Why a dial failed: `gate` when the other side was reached, `peer` who it was. */
export class DialError extends Error {
  override readonly name = 'DialError'
  readonly peer: PeerId | undefined
  readonly gate: GateError | undefined
  /** The other side holds a link that this side has lost: dialled again at once, the dial replaces it. */
  readonly corpse: boolean

  constructor(message: string, options: { peer?: PeerId | undefined; gate?: GateError | undefined; corpse?: boolean }) {
    super(message)
    this.peer = options.peer
    this.gate = options.gate
    this.corpse = options.corpse ?? false
  }
}

/** Whom or what we dial until there is a link. */
interface Target {
  /** Undefined for a configured address whose peer is not known yet; then it may be another one each time. */
  peer: PeerId | undefined
  /** A configured address: never forgotten, dialled without a peer id. */
  readonly fixed: string | undefined
  addresses: string[]
  failures: number
  lastError: string
  /** Was linked in this life or an earlier one. */
  proven: boolean
  /** Monotonic; of the last link. */
  linkedAt: number
  sightedAt: number
  dialling: AbortController | undefined
  timer: Timer | undefined
}

/**
 * Keeps one link to every known peer: jittered back-off from backoffMinMs to backoffMaxMs, one address at a time, for
 * ever, woken early by sightings and by losses. Decides only when to dial; who is let in is the gate's business.
 */
export class Reconnector {
  readonly #init: ReconnectorInit
  readonly #targets = new Map<PeerId, Target>()
  readonly #fixed: Target[] = []
  /** Addresses that the user or a token named, or that worked before: dialled even when they are loopback. */
  readonly #trusted = new Set<string>()
  #unprovenDials = 0
  #stopped = false
  #dials = 0

  constructor(init: ReconnectorInit) {
    this.#init = init
  }

  get dials(): number {
    return this.#dials
  }

  /** An address that is dialled for ever, whoever answers there. */
  addFixed(address: string): void {
    this.#trusted.add(address)
    const target = newTarget(undefined, address, [address])
    this.#fixed.push(target)
    this.#schedule(target, 0)
  }

  /** A peer that the user or a token named, or that was linked before: never forgotten before others. */
  addKnown(peer: PeerId, addresses: readonly string[]): void {
    for (const address of addresses) this.#trusted.add(address)
    this.learn(peer, addresses)
    const target = this.#targets.get(peer)
    if (target !== undefined) target.proven = true
  }

  /** Hints by others. They come behind the address that worked last, but before older ones, which they may replace. */
  learn(peer: PeerId, addresses: readonly string[]): void {
    const target = this.#target(peer)
    if (target === undefined) return
    const fresh = canonical(addresses).filter(address => !target.addresses.includes(address))
    if (fresh.length === 0) return
    const [best, ...older] = target.addresses
    target.addresses = [...(best === undefined ? [] : [best]), ...fresh, ...older].slice(0, ADDRESSES_PER_PEER_MAX)
    this.#wake(target)
  }

  /** The peer itself has just said that it is at these addresses: they come first, and it is dialled soon. */
  sighted(peer: PeerId, addresses: readonly string[]): void {
    const target = this.#target(peer)
    if (target === undefined) return
    const seen = canonical(addresses)
    const fresh = seen.some(address => !target.addresses.includes(address))
    target.addresses = [...new Set([...seen, ...target.addresses])].slice(0, ADDRESSES_PER_PEER_MAX)
    const now = this.#init.clock.now()
    const rested = now - target.sightedAt > this.#init.timing.queryMs / 2
    target.sightedAt = now
    if (fresh || rested) this.#wake(target)
  }

  /** A link is up: own dials to the peer stop. Not for a link that an own dial makes: it has to finish. */
  linkUp(peer: PeerId, direction: 'inbound' | 'outbound', remoteAddress: string): void {
    const target = this.#target(peer)
    if (target === undefined) return
    target.proven = true
    target.linkedAt = this.#init.clock.now()
    target.timer?.cancel()
    if (direction === 'inbound') target.dialling?.abort()
    if (direction === 'outbound')
      target.addresses = [remoteAddress, ...target.addresses.filter(address => address !== remoteAddress)].slice(
        0,
        ADDRESSES_PER_PEER_MAX
      )
  }

  linkDown(peer: PeerId): void {
    const now = this.#init.clock.now()
    for (const target of [this.#targets.get(peer), ...this.#fixed]) {
      if (target === undefined || target.peer !== peer || target.dialling !== undefined) continue
      if (target.fixed !== undefined) {
        // Its peer has an entry of its own; this one only has to notice when somebody else lives there now.
        this.#schedule(target, 2 * this.#init.timing.politeMs)
        continue
      }
      const short = now - target.linkedAt < SHORT_LINK_MS
      target.failures = short ? target.failures + 1 : 0
      this.#schedule(target, short ? this.#backoff(target) : this.#polite(peer))
    }
  }

  /** Membership changed: peers that were not eligible may be now. */
  wakeAll(): void {
    for (const target of [...this.#targets.values(), ...this.#fixed]) this.#wake(target)
  }

  /** Addresses that would be dialled, in that order: another host's loopback is not among them. */
  addresses(peer: PeerId): string[] {
    const target = this.#targets.get(peer)
    return target === undefined ? [] : this.#order(target)
  }

  /** Who failed and is not linked; `peer` is empty for a configured address at which nobody has answered yet. */
  unreachable(): { peer: PeerId; addresses: string[]; lastError: string }[] {
    const unanswered = this.#fixed.filter(target => target.peer === undefined)
    return [...this.#targets.values(), ...unanswered].flatMap(target =>
      this.#linked(target) || target.failures === 0
        ? []
        : [{ peer: target.peer ?? '', addresses: [...target.addresses], lastError: target.lastError }]
    )
  }

  /** Whether somebody is known who is not linked. */
  missing(): boolean {
    return this.#targets.size === 0 || [...this.#targets.keys()].some(peer => !this.#init.linked(peer))
  }

  stop(): void {
    this.#stopped = true
    for (const target of [...this.#targets.values(), ...this.#fixed]) {
      target.timer?.cancel()
      target.dialling?.abort()
    }
  }

  #target(peer: PeerId): Target | undefined {
    if (peer === this.#init.self) return undefined
    const known = this.#targets.get(peer)
    if (known !== undefined) return known
    if (this.#targets.size >= PEERS_MAX && !this.#evict()) return undefined
    const target = newTarget(peer, undefined, [])
    this.#targets.set(peer, target)
    return target
  }

  /** Makes room by forgetting an unlinked peer: rather one that never was linked, rather one that has failed often. */
  #evict(): boolean {
    const [worst] = [...this.#targets]
      .filter(([peer, target]) => target.dialling === undefined && !this.#init.linked(peer))
      .sort(([, a], [, b]) => Number(a.proven) - Number(b.proven) || b.failures - a.failures)
    if (worst === undefined) return false
    worst[1].timer?.cancel()
    return this.#targets.delete(worst[0])
  }

  #wake(target: Target): void {
    if (target.dialling !== undefined || this.#linked(target)) return
    this.#schedule(target, target.peer === undefined ? 0 : this.#polite(target.peer))
  }

  /** The lower id dials at once, the other a little later: saves crossed handshakes, is not needed for correctness. */
  #polite(peer: PeerId): number {
    return this.#init.self < peer ? 0 : this.#jitter(this.#init.timing.politeMs)
  }

  #backoff(target: Target): number {
    const { backoffMinMs, backoffMaxMs } = this.#init.timing
    return this.#jitter(Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(target.failures - 1, 30)))
  }

  #jitter(ms: number): number {
    return ms * (0.5 + this.#init.random.next())
  }

  #linked(target: Target): boolean {
    return target.peer !== undefined && this.#init.linked(target.peer)
  }

  #schedule(target: Target, delayMs: number): void {
    target.timer?.cancel()
    if (this.#stopped) return
    target.timer = this.#init.clock.after(delayMs, () => {
      void this.#run(target)
    })
  }

  /** One round over the target's addresses. Never rejects. */
  async #run(target: Target): Promise<void> {
    if (this.#stopped || target.dialling !== undefined || this.#linked(target)) return
    if (target.fixed === undefined && target.peer !== undefined && !this.#init.eligible(target.peer)) return
    const unproven = !target.proven && target.fixed === undefined
    if (unproven && this.#unprovenDials >= UNPROVEN_DIALS_MAX) {
      this.#schedule(target, this.#jitter(this.#init.timing.backoffMinMs))
      return
    }
    const stop = new AbortController()
    target.dialling = stop
    if (unproven) this.#unprovenDials += 1
    const next = await this.#round(target, stop.signal)
    if (unproven) this.#unprovenDials -= 1
    target.dialling = undefined
    if (this.#stopped || this.#linked(target)) return
    if (unproven && !target.proven && target.peer !== undefined && target.failures >= UNPROVEN_FAILURES_MAX) {
      this.#targets.delete(target.peer)
      return
    }
    this.#schedule(target, next)
  }

  /** Gives the wait before the next round. */
  async #round(target: Target, stop: AbortSignal): Promise<number> {
    for (const address of this.#order(target)) {
      if (stop.aborted || this.#linked(target)) return this.#jitter(CROSSED_DIAL_MS)
      try {
        this.#dials += 1
        const where = target.fixed !== undefined ? address : `${address}/p2p/${target.peer}`
        const peer = await this.#init.dial(
          where,
          AbortSignal.any([stop, AbortSignal.timeout(this.#init.timing.dialMs)])
        )
        if (target.fixed !== undefined) target.peer = peer
        target.failures = 0
        return this.#backoff(target)
      } catch (error) {
        const failed = error instanceof DialError ? error : new DialError(String(error), {})
        if (target.fixed !== undefined && failed.peer !== undefined) target.peer = failed.peer
        if (failed.corpse) return 0
        if (stop.aborted || (failed.gate !== undefined && isDuplicate(failed.gate.code)))
          return this.#jitter(CROSSED_DIAL_MS)
        target.lastError = failed.message
        this.#init.logger.debug('dial failed', { peer: target.peer, address, error: failed.message })
      }
    }
    target.failures += 1
    return this.#backoff(target)
  }

  #order(target: Target): string[] {
    if (target.fixed !== undefined) return [target.fixed]
    const { onlyLoopback } = this.#init
    return dialOrder(target.addresses, { own: this.#init.ownHosts(), onlyLoopback, trusted: this.#trusted })
  }
}

function newTarget(peer: PeerId | undefined, fixed: string | undefined, addresses: string[]): Target {
  return {
    peer,
    fixed,
    addresses,
    failures: 0,
    lastError: 'not dialled yet',
    proven: false,
    linkedAt: Number.NEGATIVE_INFINITY,
    sightedAt: Number.NEGATIVE_INFINITY,
    dialling: undefined,
    timer: undefined
  }
}

function canonical(addresses: readonly string[]): string[] {
  return addresses.flatMap(address => parseAddress(address)?.address ?? [])
}
