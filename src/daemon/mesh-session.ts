import { StarlingError } from '../core/index.ts'
import { Engine, type EngineFailure, LocalApi, type ServedCapability } from '../engine/index.ts'
import { createSwarm, type JoinToken, type Libp2pNetwork, libp2pNetwork, swarmIdOf } from '../libp2p/index.ts'
import type {
  Clock,
  LinkInfo,
  LocalIdentity,
  Logger,
  MembershipStore,
  Random,
  Swarm,
  Watchdog
} from '../ports/index.ts'
import type { Store } from '../store/index.ts'

/** How long a daemon tries to reach the issuer of its token before it says that it cannot. */
export const JOIN_WAIT_MS = 30_000

export interface MeshSessionInit {
  readonly identity: LocalIdentity
  readonly name: string
  readonly version: string
  readonly listen: readonly string[]
  readonly mdns: boolean
  readonly peers: readonly string[]
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly served: (capability: string) => ServedCapability | undefined
  readonly watchdog: Watchdog
  readonly fatal: (reason: EngineFailure) => void
}

/** One life in one swarm: network and engine, started and stopped together. */
export interface MeshSession {
  readonly engine: Engine
  readonly network: Libp2pNetwork
  readonly api: LocalApi
  readonly swarm: Swarm
  stop(options: { now: boolean }): Promise<void>
}

/**
 * Starts the network and the engine: as a member of the stored swarm, of the token's, or of a new one. Resolves when
 * the daemon is a member and listens. @throws StarlingError TOKEN_REFUSED, TIMED_OUT, CONFIG_INVALID, ALREADY_MEMBER;
 * then nothing is left running.
 */
export async function startMeshSession(init: MeshSessionInit, token: JoinToken | undefined): Promise<MeshSession> {
  const { identity, store, clock, random, logger, listen, mdns, peers } = init
  const stored = store.membership.swarm()
  if (stored === undefined && token === undefined) createSwarm(identity, store.membership, clock.wall())
  if (stored !== undefined && token !== undefined && swarmIdOf(stored.publicKey) !== swarmIdOf(token.swarm)) {
    throw new StarlingError('ALREADY_MEMBER', 'this home belongs to another swarm', {
      hint: 'use another STARLING_HOME, or remove this one'
    })
  }
  const network = libp2pNetwork({
    identity,
    store: store.membership,
    token,
    listen,
    mdns,
    peers,
    clock,
    random,
    logger: logger.child('network')
  })
  const roles = new Map<string, LinkInfo['role']>()
  const engine = new Engine({
    boot: identity.boot,
    name: init.name,
    version: init.version,
    network,
    journal: store.journal,
    clock,
    random,
    logger: logger.child('engine'),
    served: init.served,
    watchdog: init.watchdog,
    fatal: init.fatal
  })
  engine.restore()
  const handlers = engine.networkHandlers()
  try {
    await network.start({
      ...handlers,
      linkUp: (peer, link) => {
        roles.set(peer, link.role)
        handlers.linkUp(peer, link)
      }
    })
    const swarm = await network.joined(JOIN_WAIT_MS)
    const api = new LocalApi({
      engine,
      journal: store.journal,
      clock,
      random,
      self: identity.peer,
      selfRole: () => store.membership.swarm()?.role ?? null,
      addresses: () => network.addresses(),
      roleOf: peer => roles.get(peer) ?? null
    })
    return { engine, network, api, swarm, stop: options => stop(engine, network, options) }
  } catch (error) {
    await stop(engine, network, { now: true })
    throw error
  }
}

async function stop(engine: Engine, network: Libp2pNetwork, options: { now: boolean }): Promise<void> {
  await engine.stop(options)
  await network.stop()
}

/** True when this daemon made its swarm itself and never admitted nor met anybody: it may leave it to join another. */
export function isAlone(membership: MembershipStore): boolean {
  const swarm = membership.swarm()
  if (swarm === undefined) return true
  const admitted = membership.tokens().some(({ id }) => membership.redemptions(id) > 0)
  return swarm.seed !== undefined && !admitted && membership.members().length === 0
}
