import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { vi } from 'vitest'
import type { Advertisement, Frame } from '../../src/core/frames.ts'
import type { PeerId } from '../../src/core/ids.ts'
import {
  createSwarm,
  createToken,
  type JoinToken,
  type Libp2pNetwork,
  libp2pNetwork,
  type NetworkTiming,
  parseToken,
  peerIdFromSeed
} from '../../src/libp2p/index.ts'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain } from '../../src/libp2p/swarm.ts'
import type { Clock } from '../../src/ports/clock.ts'
import type { Logger } from '../../src/ports/logger.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import type { LinkInfo, LocalIdentity, NetworkHandlers, Role } from '../../src/ports/network.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { realClock, realRandom } from '../helpers/real-time.ts'

/** Everything that the handlers of a network were called with, in order. */
export type Call =
  | { kind: 'up'; peer: PeerId; link: LinkInfo }
  | { kind: 'down'; peer: PeerId; reason: string }
  | { kind: 'frame'; peer: PeerId; frame: Frame }
  | { kind: 'advertisement'; peer: PeerId; advertisement: Advertisement }

export class Recorder implements NetworkHandlers {
  readonly calls: Call[] = []
  linkUp(peer: PeerId, link: LinkInfo): void {
    this.calls.push({ kind: 'up', peer, link })
  }
  linkDown(peer: PeerId, reason: string): void {
    this.calls.push({ kind: 'down', peer, reason })
  }
  frame(peer: PeerId, frame: Frame): void {
    this.calls.push({ kind: 'frame', peer, frame })
  }
  advertisement(peer: PeerId, advertisement: Advertisement): void {
    this.calls.push({ kind: 'advertisement', peer, advertisement })
  }
  of<K extends Call['kind']>(kind: K, peer?: PeerId): Extract<Call, { kind: K }>[] {
    return this.calls.filter(
      (call): call is Extract<Call, { kind: K }> => call.kind === kind && (peer === undefined || call.peer === peer)
    )
  }
  /** Whether the peer is linked after all that was reported. */
  linked(peer: PeerId): boolean {
    return this.of('up', peer).length > this.of('down', peer).length
  }
}

export function newIdentity(seed: Uint8Array = randomBytes(32)): LocalIdentity {
  return {
    seed: new Uint8Array(seed),
    peer: peerIdFromSeed(seed),
    boot: { incarnation: 1, nonce: randomBytes(8).toString('hex') }
  }
}

/** Times of tests: nothing else about the adapter differs from a real one. */
const FAST: Partial<NetworkTiming> = { politeMs: 20, backoffMinMs: 30, backoffMaxMs: 300 }

export interface Daemon {
  readonly identity: LocalIdentity
  readonly store: MemoryMembershipStore
  readonly network: Libp2pNetwork
  readonly seen: Recorder
}

export interface DaemonOptions {
  identity?: LocalIdentity
  store?: MemoryMembershipStore
  token?: JoinToken
  listen?: string[]
  peers?: string[]
  mdns?: boolean
  timing?: Partial<NetworkTiming>
  logger?: Logger
  clock?: Clock
}

/** Starts networks and stops all of them at the end of a test. */
export class Pool {
  readonly #networks = new Set<Libp2pNetwork>()

  make(options: DaemonOptions = {}): Daemon {
    const identity = options.identity ?? newIdentity()
    const store = options.store ?? new MemoryMembershipStore()
    const network = libp2pNetwork({
      identity,
      store,
      token: options.token,
      listen: options.listen ?? ['/ip4/127.0.0.1/tcp/0'],
      mdns: options.mdns ?? false,
      peers: options.peers ?? [],
      clock: options.clock ?? realClock,
      random: realRandom,
      logger: options.logger ?? silentLogger,
      timing: { ...FAST, ...options.timing }
    })
    this.#networks.add(network)
    return { identity, store, network, seen: new Recorder() }
  }

  async start(options: DaemonOptions = {}): Promise<Daemon> {
    const daemon = this.make(options)
    await daemon.network.start(daemon.seen)
    return daemon
  }

  /** The first member of a new swarm. */
  founder(options: DaemonOptions = {}): Promise<Daemon> {
    const identity = options.identity ?? newIdentity()
    const store = options.store ?? new MemoryMembershipStore()
    if (store.swarm() === undefined) createSwarm(identity, store)
    return this.start({ ...options, identity, store })
  }

  /** A daemon that is a member already, without having joined over the network. */
  member(founder: Daemon, options: DaemonOptions & { role?: Role } = {}): Promise<Daemon> {
    const identity = options.identity ?? newIdentity()
    const store = options.store ?? new MemoryMembershipStore()
    if (store.swarm() === undefined) admit(founder, identity, store, options.role)
    return this.start({ ...options, identity, store })
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#networks].map(network => network.stop()))
    this.#networks.clear()
  }
}

/** Writes a membership of the founder's swarm into a store. */
export function admit(
  founder: Pick<Daemon, 'identity' | 'store'>,
  identity: LocalIdentity,
  store: MemoryMembershipStore,
  role: Role = 'worker',
  wallMs: number = Date.now()
): void {
  const swarm = founder.store.swarm()
  if (swarm === undefined) throw new Error('the founder has no swarm')
  const chain = issueChain(founder.identity, swarm, { subject: publicKeyFromSeed(identity.seed), role, wallMs })
  store.saveSwarm({ publicKey: swarm.publicKey, seed: undefined, chain, role })
}

export function tokenOf(
  issuer: Daemon,
  options: { role?: Role; uses?: number; ttlMs?: number; addresses?: string[] } = {}
): JoinToken {
  const { token } = createToken(issuer.identity, issuer.store, {
    role: options.role ?? 'worker',
    uses: options.uses ?? 1,
    ttlMs: options.ttlMs ?? 60_000,
    addresses: options.addresses ?? issuer.network.addresses()
  })
  return parseToken(token)
}

/** A TCP port of the loopback that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

export function addressOf(daemon: Daemon): string {
  const [address] = daemon.network.addresses()
  if (address === undefined) throw new Error('the daemon does not listen')
  return `${address}/p2p/${daemon.identity.peer}`
}

/** Waits until a condition holds; the bound is far above what it takes. */
export function until(condition: () => boolean, what: string, timeoutMs = 8_000): Promise<void> {
  return vi.waitFor(
    () => {
      if (!condition()) throw new Error(`not yet: ${what}`)
    },
    { timeout: timeoutMs, interval: 5 }
  )
}

export function linked(...daemons: Daemon[]): boolean {
  return daemons.every(a => daemons.every(b => a === b || a.seen.linked(b.identity.peer)))
}

export function advertisementOf(daemon: Daemon, sequence = 1): Advertisement {
  return {
    peer: daemon.identity.peer,
    incarnation: 1,
    sequence,
    name: 'alice',
    version: '0.1.0',
    capabilities: [],
    running: 0,
    queued: 0,
    addresses: daemon.network.addresses(),
    drain: 'no'
  }
}
