import { StarlingError } from '../../src/core/errors.ts'
import type { Advertisement, Frame } from '../../src/core/frames.ts'
import type { PeerId } from '../../src/core/ids.ts'
import type { Clock } from '../../src/ports/clock.ts'
import type { Discovery, Network, NetworkHandlers, Role } from '../../src/ports/network.ts'
import {
  decodeAdvertisement,
  decodeFrame,
  encodeAdvertisement,
  encodeFrame,
  FRAME_HEADER_BYTES
} from '../../src/wire/frame-codec.ts'

/** The same bound as the real adapter's. */
const SEND_BUFFER_BYTES_MAX = 64 * 1024 * 1024

/** After `disconnect`, before the two sides link again: about what the real adapter takes. */
const RELINK_MS = 300

interface Link {
  readonly a: PeerId
  readonly b: PeerId
  open: boolean
  /** When the last frame to each side arrives, monotonic. */
  readonly arrivals: Map<PeerId, number>
}

/**
 * A network in memory: all started members are linked with each other, unless a test cuts them apart. Frames and
 * advertisements go through the real codec. Everything arrives through the given clock, so with a fake one nothing
 * happens before it is moved, and the same calls give the same order every time.
 */
export class MemoryHub {
  readonly #clock: Clock
  readonly #members = new Map<PeerId, MemoryNetwork>()
  readonly #links = new Map<string, Link>()
  readonly #cuts = new Map<string, 'open' | 'silent'>()
  readonly #stalled = new Set<string>()
  readonly #latencies = new Map<string, number>()
  readonly #latencyMs: number
  #lastPort = 20_000

  /** `latencyMs`: one way, for every pair that has none of its own. */
  constructor(options: { readonly clock: Clock; readonly latencyMs?: number }) {
    this.#clock = options.clock
    this.#latencyMs = options.latencyMs ?? 0
  }

  /** A member that is not started. Making one again for the same peer is a restart of it. */
  member(self: PeerId, options: { readonly role?: Role } = {}): MemoryNetwork {
    return new MemoryNetwork(this, self, options.role ?? 'worker')
  }

  /**
   * Separates two members. Noticed at once by both, as a reset connection is; with `silent` nobody is told and frames
   * vanish, as with a pulled cable or a stopped process, until `disconnect` is called or the cut is healed.
   */
  cut(a: PeerId, b: PeerId, options: { readonly silent?: boolean } = {}): void {
    this.#cuts.set(pair(a, b), options.silent ? 'silent' : 'open')
    if (!options.silent) this.unlink(a, b, 'cut')
  }

  /** Ends a cut; the members link again. */
  heal(a: PeerId, b: PeerId): void {
    this.#cuts.delete(pair(a, b))
    this.link(a, b)
  }

  /** Cuts one member from all others that exist now. */
  isolate(peer: PeerId, options: { readonly silent?: boolean } = {}): void {
    for (const other of this.#members.keys()) if (other !== peer) this.cut(peer, other, options)
  }

  healAll(): void {
    this.#cuts.clear()
    for (const a of this.#members.keys()) for (const b of this.#members.keys()) this.link(a, b)
  }

  /** `to` reads nothing from `from` until `flow`: frames pile up at the sender. */
  stall(from: PeerId, to: PeerId): void {
    this.#stalled.add(`${from}>${to}`)
  }

  flow(from: PeerId, to: PeerId): void {
    this.#stalled.delete(`${from}>${to}`)
    this.#members.get(from)?.resend(to)
  }

  /** One-way latency between two members, in milliseconds. */
  latency(a: PeerId, b: PeerId, latencyMs: number): void {
    this.#latencies.set(pair(a, b), latencyMs)
  }

  /** Loses the link of two members for a moment, as when a connection is reset; frames on the way are lost. */
  reset(a: PeerId, b: PeerId): void {
    this.unlink(a, b, 'reset')
    this.#clock.after(RELINK_MS, () => this.link(a, b))
  }

  /** For `MemoryNetwork` only, as are the methods after it. */
  nextAddress(): string {
    this.#lastPort += 1
    return `/ip4/127.0.0.1/tcp/${this.#lastPort}`
  }

  receiver(peer: PeerId): MemoryNetwork | undefined {
    return this.#members.get(peer)
  }

  enter(network: MemoryNetwork): void {
    this.#members.get(network.self)?.vanish('restarted')
    this.#members.set(network.self, network)
    for (const other of this.#members.keys()) this.link(network.self, other)
  }

  leave(network: MemoryNetwork, reason: string, options: { readonly drain: boolean }): void {
    const { self } = network
    if (this.#members.get(self) !== network) return
    for (const other of [...this.#members.keys()]) {
      const link = this.#links.get(pair(self, other))
      if (link === undefined) continue
      if (!options.drain) {
        this.unlink(self, other, reason)
        continue
      }
      this.#links.delete(pair(self, other))
      this.carry(link, other, () => {
        link.open = false
        this.#members.get(other)?.down(self, reason)
      })
    }
    this.#members.delete(self)
  }

  /** Links two members that exist and are not cut apart. Idempotent. */
  link(a: PeerId, b: PeerId): void {
    const [from, to] = [this.#members.get(a), this.#members.get(b)]
    if (a === b || !from || !to || this.#cuts.has(pair(a, b)) || this.#links.has(pair(a, b))) return
    const link: Link = { a, b, open: true, arrivals: new Map() }
    this.#links.set(pair(a, b), link)
    from.up(b, { direction: 'outbound', remoteAddress: to.address, role: to.role })
    to.up(a, { direction: 'inbound', remoteAddress: from.address, role: from.role })
  }

  unlink(a: PeerId, b: PeerId, reason: string): void {
    const link = this.#links.get(pair(a, b))
    if (link === undefined) return
    link.open = false
    this.#links.delete(pair(a, b))
    this.#members.get(a)?.down(b, reason)
    this.#members.get(b)?.down(a, reason)
  }

  linkOf(a: PeerId, b: PeerId): Link | undefined {
    return this.#links.get(pair(a, b))
  }

  cutBetween(a: PeerId, b: PeerId): 'open' | 'silent' | undefined {
    return this.#cuts.get(pair(a, b))
  }

  isStalled(from: PeerId, to: PeerId): boolean {
    return this.#stalled.has(`${from}>${to}`)
  }

  /** Runs `arrive` after the latency between the two, if the link still lives then, and never before earlier ones. */
  carry(link: Link, to: PeerId, arrive: () => void): void {
    const now = this.#clock.now()
    const latencyMs = this.#latencies.get(pair(link.a, link.b)) ?? this.#latencyMs
    const at = Math.max(now + latencyMs, link.arrivals.get(to) ?? 0)
    link.arrivals.set(to, at)
    this.#clock.after(at - now, () => {
      if (link.open) arrive()
    })
  }

  later(delayMs: number, run: () => void): void {
    this.#clock.after(delayMs, run)
  }

  /** Members that gossip of `from` reaches: all that are connected with it over any number of links. */
  reachable(from: PeerId): MemoryNetwork[] {
    const seen = new Set([from])
    for (const peer of seen)
      for (const link of this.#links.values())
        if ((link.a === peer || link.b === peer) && this.cutBetween(link.a, link.b) === undefined)
          seen.add(link.a === peer ? link.b : link.a)
    seen.delete(from)
    return [...seen].flatMap(peer => this.#members.get(peer) ?? [])
  }
}

/** One member's view of a MemoryHub; the twin of the libp2p adapter. */
export class MemoryNetwork implements Network {
  readonly self: PeerId
  readonly role: Role
  readonly address: string
  readonly #hub: MemoryHub
  readonly #known = new Map<PeerId, string[]>()
  readonly #waiting = new Map<PeerId, Uint8Array[]>()
  #handlers: NetworkHandlers | undefined
  #started = false

  constructor(hub: MemoryHub, self: PeerId, role: Role) {
    this.#hub = hub
    this.self = self
    this.role = role
    this.address = hub.nextAddress()
  }

  async start(handlers: NetworkHandlers): Promise<void> {
    if (this.#started) throw new StarlingError('INTERNAL', 'the network was started before')
    this.#started = true
    this.#handlers = handlers
    this.#hub.enter(this)
  }

  /** What was sent before still arrives; then the others notice. */
  async stop(): Promise<void> {
    this.#handlers = undefined
    this.#hub.leave(this, 'stopped', { drain: true })
  }

  /** Ends at once, as a killed process does: what is on the way is lost; the others notice. */
  vanish(reason: string): void {
    this.#handlers = undefined
    this.#hub.leave(this, reason, { drain: false })
  }

  addresses(): string[] {
    return this.#handlers === undefined ? [] : [this.address]
  }

  send(peer: PeerId, frame: Frame): boolean {
    const link = this.#hub.linkOf(this.self, peer)
    if (this.#handlers === undefined || link === undefined) return false
    const encoded = encodeFrame(frame)
    const waiting = this.#waiting.get(peer) ?? []
    if (this.#hub.isStalled(this.self, peer) || waiting.length > 0) {
      const bytes = waiting.reduce((sum, one) => sum + one.length, encoded.length)
      if (bytes > SEND_BUFFER_BYTES_MAX) {
        this.disconnect(peer, 'send buffer full')
        return false
      }
      this.#waiting.set(peer, [...waiting, encoded])
      return true
    }
    this.#transmit(link, peer, encoded)
    return true
  }

  publish(advertisement: Advertisement): void {
    if (this.#handlers === undefined) return
    const encoded = encodeAdvertisement(advertisement)
    for (const other of this.#hub.reachable(this.self))
      this.#hub.later(0, () => other.#handlers?.advertisement(this.self, decodeAdvertisement(encoded)))
  }

  learn(peer: PeerId, addresses: readonly string[]): void {
    this.#known.set(peer, [...new Set([...(this.#known.get(peer) ?? []), ...addresses])])
  }

  known(peer: PeerId): string[] {
    return [...(this.#known.get(peer) ?? [])]
  }

  disconnect(peer: PeerId, reason: string): void {
    if (this.#handlers === undefined) return
    this.#hub.unlink(this.self, peer, reason)
    this.#hub.later(RELINK_MS, () => this.#hub.link(this.self, peer))
  }

  discovery(): Discovery {
    const unreachable = [...this.#known].flatMap(([peer, addresses]) =>
      this.#hub.linkOf(this.self, peer) === undefined ? [{ peer, addresses, lastError: 'cut' }] : []
    )
    return { mdns: { state: 'off' }, unreachable, refused: {} }
  }

  /** For the hub only. */
  up(peer: PeerId, info: Parameters<NetworkHandlers['linkUp']>[1]): void {
    this.learn(peer, [info.remoteAddress])
    this.#hub.later(0, () => this.#handlers?.linkUp(peer, info))
  }

  /** For the hub only. */
  down(peer: PeerId, reason: string): void {
    this.#waiting.delete(peer)
    this.#hub.later(0, () => this.#handlers?.linkDown(peer, reason))
  }

  /** For the hub only: the peer reads again. */
  resend(peer: PeerId): void {
    const link = this.#hub.linkOf(this.self, peer)
    const waiting = this.#waiting.get(peer) ?? []
    this.#waiting.delete(peer)
    if (link !== undefined) for (const encoded of waiting) this.#transmit(link, peer, encoded)
  }

  #transmit(link: Link, peer: PeerId, encoded: Uint8Array): void {
    if (this.#hub.cutBetween(this.self, peer) === 'silent') return
    this.#hub.carry(link, peer, () => this.#hub.receiver(peer)?.receive(this.self, encoded))
  }

  /** For the hub only. */
  receive(peer: PeerId, encoded: Uint8Array): void {
    const frame = decodeFrame(encoded[FRAME_HEADER_BYTES - 1] ?? 0, encoded.slice(FRAME_HEADER_BYTES))
    if (frame !== undefined) this.#handlers?.frame(peer, frame)
  }
}

function pair(a: PeerId, b: PeerId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}
