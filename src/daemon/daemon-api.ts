import type { StarlingError } from '../core/index.ts'
import { createToken, swarmIdOf } from '../libp2p/index.ts'
import type { Clock, DaemonApi, LocalIdentity, WorkerConnection, WorkerSession } from '../ports/index.ts'
import type { Finding, Ready, Status, Token, TokenRequest } from '../wire/api/index.ts'
import type { MeshSession } from './mesh-session.ts'

/** A token is meant to be carried to another machine now, not to be kept. */
export const TOKEN_TTL_MS = 15 * 60_000

/** Unreachable peers that are named in the status; `doctor` names all. */
const WARNED_PEERS_MAX = 5

export interface ComposedApiInit {
  readonly identity: LocalIdentity
  readonly name: string
  readonly version: string
  readonly socket: string
  readonly clock: Clock
  readonly membership: Parameters<typeof createToken>[1]
  readonly mesh: () => MeshSession
  readonly join: (token: string) => Promise<void>
  readonly doctor: () => Promise<Finding[]>
  readonly metrics: () => Promise<string>
  readonly openSession: (worker: WorkerConnection) => WorkerSession
  readonly stop: (options: { now: boolean }) => void
  readonly failure: () => StarlingError | undefined
}

/** The daemon's whole API: jobs and members from the mesh session in force, the rest from the composition root. */
export function composeApi(init: ComposedApiInit): DaemonApi {
  const startedAt = init.clock.wall()
  const startedMono = init.clock.now()
  const api = () => init.mesh().api
  return {
    ready: () => readyOf(init),
    status: () => statusOf(init, startedAt, startedMono),
    peers: () => api().peers(),
    agents: () => api().agents(),
    jobs: () => api().jobs(),
    job: (id, items) => api().job(id, items),
    submit: async request => {
      const failure = init.failure()
      if (failure !== undefined) throw failure
      return api().submit(request)
    },
    plan: request => api().plan(request),
    waitForJob: (id, options) => api().waitForJob(id, options),
    cancel: id => api().cancel(id),
    drain: (peer, request) => api().drain(peer, request),
    spawn: (taskId, request) => api().spawn(taskId, request),
    waitForChild: async (taskId, childId, signal) => api().waitForChild(taskId, childId, signal),
    events: options => api().events(options),
    logs: (taskId, options) => api().logs(taskId, options),
    createToken: async request => issueToken(init, request),
    join: async token => {
      await init.join(token)
      return statusOf(init, startedAt, startedMono)
    },
    doctor: init.doctor,
    metrics: init.metrics,
    openSession: init.openSession,
    stop: init.stop
  }
}

function readyOf({ identity, name, version, socket, mesh }: ComposedApiInit): Ready {
  return { peerId: identity.peer, name, socket, listen: mesh().network.addresses(), pid: process.pid, version }
}

function statusOf(init: ComposedApiInit, startedAt: number, startedMono: number): Status {
  const { identity, name, version, clock } = init
  const { engine, network, swarm } = init.mesh()
  const count = { alive: 0, suspect: 0, dead: 0, left: 0 }
  for (const { state } of engine.node.view.members()) count[state] += 1
  const { mdns, unreachable } = network.discovery()
  const warnings: string[] = []
  if (mdns.state === 'silent' || mdns.state === 'failed') {
    warnings.push(
      `mDNS is ${mdns.state}${mdns.detail === undefined ? '' : `: ${mdns.detail}`}; use --peer ADDR to reach other hosts`
    )
  }
  for (const { peer, addresses, lastError } of unreachable.slice(0, WARNED_PEERS_MAX)) {
    // A configured address at which nobody has answered yet has no peer id.
    warnings.push(`cannot reach ${engine.nameOf(peer) || peer || addresses[0]}: ${lastError}`)
  }
  const failure = init.failure()
  if (failure !== undefined) warnings.push(`the disk refuses writes, no new jobs are taken: ${failure.message}`)
  const { drain } = engine.node.advertisement()
  if (engine.node.stopping) warnings.push('this daemon is stopping')
  else if (drain !== 'no') {
    warnings.push(`this daemon is ${drain}: it takes no new work until: starling drain ${name} --end`)
  }
  if (engine.node.view.awareness > 1) warnings.push('this host is slow: its own timers fire late')
  return {
    self: {
      peerId: identity.peer,
      name,
      version,
      pid: process.pid,
      startedAt: new Date(startedAt).toISOString(),
      listen: network.addresses(),
      uptimeMs: Math.round(clock.now() - startedMono)
    },
    swarm: { id: swarmIdOf(swarm.publicKey), role: swarm.role },
    discovery: { mdns: mdns.detail === undefined ? { state: mdns.state } : { state: mdns.state, detail: mdns.detail } },
    peers: { alive: count.alive, suspect: count.suspect, dead: count.dead },
    jobs: { running: engine.node.roots.ledgers().length },
    agents: { running: engine.attempts.size, paused: 0 },
    warnings
  }
}

function issueToken(init: ComposedApiInit, request: TokenRequest): Token {
  const addresses = dialable(init.mesh().network.addresses())
  const { token, issued } = createToken(init.identity, init.membership, {
    role: 'worker',
    uses: request.uses ?? 1,
    ttlMs: request.ttlMs ?? TOKEN_TTL_MS,
    addresses
  })
  const { role, uses, expiresAt } = issued
  return { token, role, uses, expiresAt: new Date(expiresAt).toISOString() }
}

/** Addresses that other hosts can use; loopback ones only when there is nothing else: elsewhere they are somebody else. */
function dialable(addresses: readonly string[]): string[] {
  const loopback = (address: string) => address.startsWith('/ip4/127.') || address.startsWith('/ip6/::1/')
  const outside = addresses.filter(address => !loopback(address))
  return outside.length > 0 ? outside : [...addresses]
}
