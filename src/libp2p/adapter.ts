import type { MessageStream, MultiaddrConnection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { StarlingError } from '../core/errors.ts'
import type { Advertisement, Frame } from '../core/frames.ts'
import type { PeerId } from '../core/ids.ts'
import type { Timer } from '../ports/clock.ts'
import type { Swarm } from '../ports/membership.ts'
import type { Discovery, LinkInfo, NetworkHandlers } from '../ports/network.ts'
import { mdnsServiceTag } from '../wire/names.ts'
import { isLoopback, ownHosts, parseAddress, requireAddress } from './addresses.ts'
import { Admission } from './admission.ts'
import { ControlStreams } from './control-streams.ts'
import { Delivery } from './delivery.ts'
import type { GateInit, InboundRefusal } from './gate.ts'
import { type GateError, isDuplicate } from './gate-error.ts'
import { Gossip } from './gossip.ts'
import { GossipWatchdog } from './gossip-watchdog.ts'
import { JoinProgress } from './join.ts'
import { Lan } from './lan.ts'
import { Links } from './links.ts'
import { MemberBook } from './member-book.ts'
import type { Libp2pNetwork, Libp2pNetworkInit, NetworkCounters } from './network.ts'
import { createNode, hostOf, type StarlingNode } from './node.ts'
import { DialError, Reconnector } from './reconnector.ts'
import { redeemToken } from './redeem.ts'
import { renewOwnChain, swarmIdOf } from './swarm.ts'
import { DEFAULT_TIMING, type NetworkTiming } from './timing.ts'

/** Everything that exists between `start` and `stop`. */
interface Running {
  readonly node: StarlingNode
  readonly delivery: Delivery
  readonly controls: ControlStreams
  readonly gossip: Gossip
  readonly watchdog: GossipWatchdog
}

/** Puts the parts together: which event of one goes to which method of another is decided here and nowhere else. */
export class Adapter implements Libp2pNetwork {
  readonly self: PeerId
  readonly #init: Libp2pNetworkInit
  readonly #timing: NetworkTiming
  readonly #swarmKey: Uint8Array
  readonly #links: Links
  readonly #admission: Admission
  readonly #reconnector: Reconnector
  readonly #book: MemberBook
  readonly #join: JoinProgress
  readonly #refused = new Map<string, number>()
  /** Why our dials ended at a gate, by the multiaddr that was dialled: libp2p only hands on the text of an error. */
  readonly #refusals = new Map<string, { peer: PeerId; error: GateError }>()
  #running: Running | undefined
  #expiry: Timer | undefined
  #stopping: Promise<void> | undefined

  constructor(init: Libp2pNetworkInit) {
    this.#init = init
    this.self = init.identity.peer
    this.#timing = { ...DEFAULT_TIMING, ...init.timing }
    const { store, token, clock, random, logger } = init
    const swarm = store.swarm()
    const swarmKey = swarm?.publicKey ?? token?.swarm
    if (swarmKey === undefined) throw new StarlingError('INTERNAL', 'the network needs a swarm or a token')
    this.#swarmKey = swarmKey
    this.#join = new JoinProgress({ store, token, clock })
    this.#links = new Links(this.self, {
      opened: link => this.#reconnector.linkUp(link.peer, link.direction, link.remoteAddress),
      closed: link => this.#reconnector.linkDown(link.peer)
    })
    this.#admission = new Admission(clock)
    this.#book = new MemberBook({ store, clock, logger })
    const hosts = init.listen.map(address => requireAddress(address, 'listen').host)
    this.#reconnector = new Reconnector({
      self: this.self,
      clock,
      random,
      timing: this.#timing,
      logger,
      dial: (address, signal) => this.#dial(address, signal),
      linked: peer => this.#links.get(peer) !== undefined,
      eligible: peer => this.#join.swarm !== undefined || peer === token?.issuer,
      ownHosts,
      onlyLoopback: hosts.length > 0 && hosts.every(isLoopback)
    })
  }

  async start(handlers: NetworkHandlers): Promise<void> {
    if (this.#running !== undefined || this.#stopping !== undefined)
      throw new StarlingError('INTERNAL', 'the network was started before')
    const { identity, store, clock, logger } = this.#init
    if (this.#join.swarm !== undefined) this.#join.swarm = renewOwnChain(identity, store, clock.wall(), logger)
    const delivery = new Delivery(handlers, logger)
    const node = await createNode({
      gate: this.#gateInit(),
      listen: this.#init.listen,
      timing: this.#timing,
      denyInbound: connection => this.#denyInbound(connection),
      lan: this.#init.mdns ? components => new Lan(components, this.#lanInit()) : undefined
    })
    const running = this.#assemble(node, delivery)
    this.#running = running
    await running.controls.start()
    node.addEventListener('peer:identify', event => {
      const peer = event.detail.peerId.toString()
      this.#reconnector.sighted(peer, event.detail.listenAddrs.map(String))
      if (this.#links.get(peer) !== undefined) this.#book.linked(peer, this.#reconnector.addresses(peer))
    })
    try {
      await node.start()
    } catch (error) {
      await this.stop()
      throw listenError(error, this.#init.listen)
    }
    running.gossip.start()
    running.watchdog.start()
    this.#checkExpiry()
    this.#dialEverybody()
  }

  #assemble(node: StarlingNode, delivery: Delivery): Running {
    const { clock, logger } = this.#init
    const pubsub = node.services.pubsub
    const controls = new ControlStreams({
      node,
      links: this.#links,
      clock,
      timing: this.#timing,
      logger,
      up: (peer, link) => this.#up(delivery, peer, link),
      down: (peer, reason) => {
        this.#book.left(peer)
        delivery.post(handlers => handlers.linkDown(peer, reason))
      },
      frame: (peer, frame) => {
        if (frame.kind === 'hello') this.#book.named(peer, frame.advertisement.name)
        delivery.post(handlers => handlers.frame(peer, frame))
      }
    })
    const gossip = new Gossip({
      pubsub,
      self: this.self,
      clock,
      logger,
      isMember: peer => this.#links.get(peer) !== undefined || this.#book.has(peer),
      deliver: (peer, advertisement) => delivery.post(handlers => handlers.advertisement(peer, advertisement))
    })
    const identify = node.services.identify
    const watchdog = new GossipWatchdog({
      node,
      pubsub,
      identify: connection => identify.identify(connection),
      clock,
      timing: this.#timing,
      logger
    })
    return { node, delivery, controls, gossip, watchdog }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#reconnector.stop()
    this.#join.stop()
    this.#expiry?.cancel()
    const running = this.#running
    if (running === undefined) return
    running.delivery.close()
    running.watchdog.stop()
    running.gossip.stop()
    await running.controls.stop()
    await running.node.stop()
    this.#running = undefined
  }

  addresses(): string[] {
    return (this.#running?.node.getMultiaddrs() ?? []).flatMap(address => parseAddress(String(address))?.address ?? [])
  }

  send(peer: PeerId, frame: Frame): boolean {
    return this.#stopping === undefined && (this.#running?.controls.send(peer, frame) ?? false)
  }

  publish(advertisement: Advertisement): void {
    if (this.#stopping === undefined) this.#running?.gossip.publish(advertisement)
  }

  learn(peer: PeerId, addresses: readonly string[]): void {
    this.#reconnector.learn(peer, addresses)
  }

  known(peer: PeerId): string[] {
    return this.#reconnector.addresses(peer)
  }

  disconnect(peer: PeerId, reason: string): void {
    this.#links.get(peer)?.stream.abort(new Error(reason))
    for (const connection of this.#running?.node.getConnections() ?? [])
      if (connection.remotePeer.toString() === peer) connection.abort(new Error(reason))
  }

  discovery(): Discovery {
    return {
      mdns: this.#running?.node.services.lan?.state() ?? { state: 'off' },
      unreachable: this.#reconnector.unreachable(),
      refused: Object.fromEntries(this.#refused)
    }
  }

  joined(timeoutMs: number): Promise<Swarm> {
    return this.#join.wait(timeoutMs)
  }

  counters(): NetworkCounters {
    const running = this.#running
    const control = running?.controls.counters
    return {
      malformedFrames: control?.malformedFrames ?? 0,
      unknownFrames: control?.unknownFrames ?? 0,
      sendBufferOverflows: control?.sendBufferOverflows ?? 0,
      displacedLinks: this.#links.displaced,
      reopenedStreams: control?.reopenedStreams ?? 0,
      dials: this.#reconnector.dials,
      rejectedGossip: running?.gossip.rejected ?? 0,
      gossipPokes: running?.watchdog.pokes ?? 0,
      gossipHangups: running?.watchdog.hangups ?? 0,
      mdnsRestarts: running?.node.services.lan?.restarts ?? 0
    }
  }

  #gateInit(): GateInit {
    const { identity, store, token, clock, logger } = this.#init
    return {
      identity,
      swarmKey: this.#swarmKey,
      links: this.#links,
      logger,
      exchangeMs: this.#timing.exchangeMs,
      membership: () => this.#join.swarm,
      token,
      wall: () => clock.wall(),
      redeem: request => redeemToken(identity, store, { ...request, wallMs: clock.wall() }),
      joined: chain => {
        this.#join.succeeded(chain)
        this.#reconnector.wakeAll()
      },
      dialRefused: refusal => this.#dialRefused(refusal),
      inboundEnded: (connection, refused) => this.#inboundEnded(connection, refused)
    }
  }

  #lanInit(): ConstructorParameters<typeof Lan>[1] {
    const { clock, random, logger } = this.#init
    return {
      serviceTag: mdnsServiceTag(swarmIdOf(this.#swarmKey)),
      clock,
      random,
      timing: this.#timing,
      logger,
      missing: () => this.#reconnector.missing(),
      sighted: (peer, addresses) => this.#reconnector.sighted(peer, addresses)
    }
  }

  #dialEverybody(): void {
    const { token, peers } = this.#init
    if (this.#join.swarm === undefined && token !== undefined) this.#reconnector.addKnown(token.issuer, token.addresses)
    for (const { peer, addresses } of this.#book.all()) this.#reconnector.addKnown(peer, addresses)
    for (const text of peers) {
      const { address, peer } = requireAddress(text, 'discovery.peers')
      if (peer === undefined) this.#reconnector.addFixed(address)
      else this.#reconnector.addKnown(peer, [address])
    }
  }

  async #dial(address: string, signal: AbortSignal): Promise<PeerId> {
    const node = this.#running?.node
    if (node === undefined) throw new DialError('stopped', {})
    const target = multiaddr(address)
    const key = target.toString()
    this.#refusals.delete(key)
    try {
      const connection = await node.dial(target, { signal })
      return connection.remotePeer.toString()
    } catch (error) {
      const refusal = this.#refusals.get(key)
      const message = error instanceof Error ? error.message : String(error)
      if (refusal === undefined) throw new DialError(message, {})
      const { peer, error: gate } = refusal
      const corpse = gate.code === 'dup-open' && gate.nonce !== undefined && this.#links.noteCorpse(peer, gate.nonce)
      throw new DialError(message, { peer, gate, corpse })
    } finally {
      this.#refusals.delete(key)
    }
  }

  #dialRefused({ peer, dialled, error }: { peer: PeerId; dialled: string; error: GateError }): void {
    this.#refusals.set(dialled, { peer, error })
    this.#join.refused(peer, error)
  }

  #denyInbound(connection: MultiaddrConnection): boolean {
    const host = hostOf(connection)
    const reason = this.#admission.enter(host, connection)
    if (reason !== undefined) {
      this.#count(reason)
      return true
    }
    connection.addEventListener('close', () => this.#admission.leave(host, connection))
    return false
  }

  #inboundEnded(raw: MessageStream, refused: InboundRefusal | undefined): void {
    const host = 'remoteAddr' in raw ? (parseAddress(String(raw.remoteAddr))?.host ?? '') : ''
    this.#admission.leave(host, raw)
    if (refused === undefined || isDuplicate(refused)) return
    // Held against the address only when it was the other side's doing: not when we are no member yet or too slow, and
    // not when it hung up, as a crossed dial or a member of another swarm on the same host does.
    const ours = refused === 'not-a-member' || refused === 'timed-out' || refused === 'failed'
    if (!ours && raw.status === 'open') this.#admission.failed(host)
    this.#count(refused)
    this.#init.logger.debug('inbound link refused', { host, code: refused })
  }

  #count(reason: string): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1)
  }

  #up(delivery: Delivery, peer: PeerId, link: LinkInfo): void {
    this.#book.linked(peer, this.#reconnector.addresses(peer))
    delivery.post(handlers => handlers.linkUp(peer, link))
  }

  /** The gate judges at link time only: who expires later is cut here. */
  #checkExpiry(): void {
    this.#expiry = this.#init.clock.after(this.#timing.expiryCheckMs, () => {
      for (const link of this.#links.all())
        if (this.#init.clock.wall() > link.notAfter) this.disconnect(link.peer, 'membership expired')
      this.#checkExpiry()
    })
  }
}

function listenError(error: unknown, listen: readonly string[]): StarlingError {
  const detail = error instanceof Error ? error.message : String(error)
  const taken = detail.includes('EADDRINUSE')
  return new StarlingError('CONFIG_INVALID', `cannot listen on ${listen.join(', ')}: ${firstCause(detail)}`, {
    hint: taken
      ? 'another program uses the port: choose another with --listen, or let the system choose with /tcp/0'
      : 'correct --listen, or `listen` in the configuration',
    cause: error
  })
}

/** libp2p's message is a paragraph; the system's own words are in its last lines. */
function firstCause(message: string): string {
  return message.match(/\bE[A-Z]{4,}[^\n]*/)?.[0] ?? message.split('\n')[0] ?? message
}
