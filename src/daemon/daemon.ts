import { controlServer } from '../control/index.ts'
import { StarlingError } from '../core/index.ts'
import type { EngineFailure, ServedCapability } from '../engine/index.ts'
import { parseToken, peerIdFromSeed } from '../libp2p/index.ts'
import type { LocalIdentity, Logger } from '../ports/index.ts'
import { commandRuntime, functionRuntime, processJails, reapLeftovers } from '../runtimes/index.ts'
import { openStore, type Store } from '../store/index.ts'
import type { Ready } from '../wire/api/index.ts'
import { type Config, loadConfig } from './config.ts'
import { composeApi } from './daemon-api.ts'
import { diagnose } from './doctor.ts'
import { type Home, loadIdentity, lockHome, prepareHome, resolveHome } from './home.ts'
import { fileDestination } from './log-destination.ts'
import { isAlone, type MeshSession, type MeshSessionInit, startMeshSession } from './mesh-session.ts'
import { metricsOf } from './metrics.ts'
import { pinoLogger } from './pino-logger.ts'
import { systemClock, systemRandom } from './system-clock.ts'
import { VERSION } from './version.ts'
import { openWorkerSession } from './worker-sessions.ts'

export interface DaemonOptions {
  readonly name?: string
  /** Multiaddrs to listen on. */
  readonly listen?: readonly string[]
  /** Multiaddrs of peers to try beside those that discovery finds. */
  readonly peers?: readonly string[]
  readonly mdns?: boolean
  /** Token of the swarm to join. */
  readonly join?: string
  /** The log goes to the home's log file, which is kept short, and not to stderr: for a daemon in the background. */
  readonly logToFile?: boolean
  readonly env: NodeJS.ProcessEnv
}

export interface RunningDaemon {
  readonly ready: Ready
  /** Resolves when nothing of the daemon is left. */
  readonly stopped: Promise<{ exitCode: number }>
  /** Begins to stop; `now`: running tasks are killed at once. Idempotent, but `now` may follow. */
  stop(options: { now: boolean }): void
}

/**
 * Starts a daemon in this process. Resolves when it is a member of its swarm, listens, and answers on its socket.
 * @throws StarlingError CONFIG_INVALID, HOME_UNUSABLE, ALREADY_RUNNING, STORAGE_FAILED, TOKEN_REFUSED, TIMED_OUT,
 * ALREADY_MEMBER; then nothing is left running and nothing was changed that a later start could not use.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const { env } = options
  const home = resolveHome(env, process.getuid?.(), process.platform)
  const token = options.join === undefined ? undefined : parseToken(options.join)
  const config = loadConfig({ path: home.config, env, flags: options })
  prepareHome(home)
  const lock = lockHome(home)
  const undo: (() => void | Promise<void>)[] = [() => lock.release()]
  try {
    const destination = options.logToFile === true ? fileDestination(home.logs) : undefined
    const logger = pinoLogger({ level: config.log.level, destination })
    const store = openStore({ path: home.database, logger, clock: systemClock })
    undo.push(() => store.close())
    const daemon = new Daemon({ home, config, logger, store, env })
    undo.push(() => daemon.close({ now: true }))
    const ready = await daemon.start(token)
    return {
      ready,
      stopped: daemon.stopped.then(async exitCode => {
        store.close()
        lock.release()
        return { exitCode }
      }),
      stop: stop => daemon.stop(stop)
    }
  } catch (error) {
    for (const step of undo.reverse()) await step()
    throw error
  }
}

interface DaemonInit {
  readonly home: Home
  readonly config: Config
  readonly logger: Logger
  readonly store: Store
  readonly env: NodeJS.ProcessEnv
}

/** Everything that runs in one daemon, started in order and stopped in reverse. */
class Daemon {
  readonly stopped: Promise<number>
  readonly #init: DaemonInit
  readonly #identity: LocalIdentity
  readonly #jails: ReturnType<typeof processJails>
  readonly #functions: ReturnType<typeof functionRuntime>
  readonly #served = new Map<string, ServedCapability & { slots: number }>()
  readonly #server: ReturnType<typeof controlServer>
  #mesh: MeshSession | undefined
  #resolveStopped: (exitCode: number) => void = () => undefined
  #stopping: Promise<void> | undefined
  #exitCode = 0
  #joining = false

  constructor(init: DaemonInit) {
    this.#init = init
    const { home, logger, store } = init
    this.stopped = new Promise(resolve => {
      this.#resolveStopped = resolve
    })
    const seed = loadIdentity(home)
    this.#identity = { seed, peer: peerIdFromSeed(seed), boot: store.meta.nextBoot() }
    const clock = systemClock
    this.#jails = processJails({ home: home.state, boot: this.#bootName(), clock, logger })
    this.#functions = functionRuntime({
      clock,
      logger: logger.child('function'),
      slotsChanged: (capability, slots) => this.#functionSlots(capability, slots)
    })
    this.#declare()
    this.#server = controlServer({ api: this.#api(), socketPath: home.socket, logger, version: VERSION })
  }

  async start(token: ReturnType<typeof parseToken> | undefined): Promise<Ready> {
    const { home, logger } = this.#init
    await reapLeftovers({ home: home.state, boot: this.#bootName(), logger })
    this.#mesh = await this.#startMesh(token)
    await this.#server.start()
    const { peer, boot } = this.#identity
    const listen = this.#mesh.network.addresses()
    logger.info('daemon is ready', { peer, incarnation: boot.incarnation, listen, version: VERSION })
    const { name } = this.#init.config
    return { peerId: peer, name, socket: home.socket, listen, pid: process.pid, version: VERSION }
  }

  stop(options: { now: boolean }): void {
    this.#stopping ??= this.#stop(options)
    if (options.now) this.#hurry()
  }

  /** Stops what has been started; for a start that failed half-way. */
  async close(options: { now: boolean }): Promise<void> {
    this.stop(options)
    await this.#stopping
  }

  async #stop(options: { now: boolean }): Promise<void> {
    const { logger } = this.#init
    try {
      await this.#mesh?.stop(options)
      await Promise.all([...this.#served.values()].map(({ runtime }) => runtime.stop()))
      await this.#jails.close()
      await this.#server.stop()
    } catch (error) {
      logger.error('stopping failed', { error })
      this.#exitCode ||= 1
    }
    logger.info('daemon has stopped')
    this.#resolveStopped(this.#exitCode)
  }

  /** A second request does not wait for running tasks. */
  #hurry(): void {
    this.#mesh?.engine.hurry()
  }

  #bootName(): string {
    const { incarnation, nonce } = this.#identity.boot
    return `${incarnation}-${nonce}`
  }

  #startMesh(token: ReturnType<typeof parseToken> | undefined): Promise<MeshSession> {
    const { config, store, logger } = this.#init
    const init: MeshSessionInit = {
      identity: this.#identity,
      name: config.name,
      version: VERSION,
      listen: config.listen,
      mdns: config.discovery.mdns,
      peers: config.discovery.peers,
      store,
      clock: systemClock,
      random: systemRandom,
      logger,
      served: capability => this.#served.get(capability),
      watchdog: {
        leases: left => {
          this.#jails.leases(left)
          this.#functions.workers.leases(left)
        }
      },
      fatal: reason => this.#fail(reason)
    }
    return startMeshSession(init, token).then(mesh => {
      for (const [capability, { slots }] of this.#served) mesh.engine.offer(capability, slots)
      return mesh
    })
  }

  /** Leaves an own swarm of one for the token's. When that fails the old one is taken up again. */
  async #join(text: string): Promise<void> {
    const token = parseToken(text)
    const { store } = this.#init
    if (this.#joining) throw new StarlingError('ALREADY_MEMBER', 'this daemon is joining a swarm already')
    const swarm = store.membership.swarm()
    if (swarm !== undefined && Buffer.compare(swarm.publicKey, token.swarm) === 0) return
    if (!isAlone(store.membership) || this.#session().engine.node.roots.ledgers().length > 0) {
      throw new StarlingError('ALREADY_MEMBER', 'this daemon is a member of another swarm, or has jobs', {
        hint: 'start a daemon with another STARLING_HOME to be in two swarms'
      })
    }
    this.#joining = true
    try {
      await this.#session().stop({ now: true })
      store.membership.abandonSwarm()
      this.#mesh = await this.#startMesh(token)
    } catch (error) {
      if (swarm !== undefined && store.membership.swarm() === undefined) store.membership.saveSwarm(swarm)
      this.#mesh = await this.#startMesh(undefined)
      throw error
    } finally {
      this.#joining = false
    }
  }

  #session(): MeshSession {
    if (this.#mesh === undefined) throw new StarlingError('DAEMON_STOPPING', 'the daemon is not ready')
    return this.#mesh
  }

  #declare(): void {
    const { config, home, logger } = this.#init
    for (const { name, command, cwd, env, slots, timeoutMs } of config.capabilities) {
      const runtime = commandRuntime({
        command,
        cwd,
        env,
        socket: home.socket,
        jails: this.#jails,
        clock: systemClock,
        logger: logger.child('command')
      })
      this.#served.set(name, { runtime, timeoutMs, slots })
    }
  }

  #functionSlots(capability: string, slots: number): void {
    const known = this.#served.get(capability)
    const runtime = known?.runtime ?? this.#functions.runtime()
    // The entry stays when the last worker goes: attempts that it still owes are ended through it.
    this.#served.set(capability, { runtime, timeoutMs: undefined, slots })
    this.#mesh?.engine.offer(capability, slots)
  }

  #api(): Parameters<typeof controlServer>[0]['api'] {
    const { config, home, store } = this.#init
    const mesh = () => this.#session()
    const declared = new Set(config.capabilities.map(({ name }) => name))
    const { workers } = this.#functions
    return composeApi({
      identity: this.#identity,
      name: config.name,
      version: VERSION,
      socket: home.socket,
      clock: systemClock,
      membership: store.membership,
      mesh,
      join: token => this.#join(token),
      doctor: () => diagnose({ mesh, clock: systemClock, privatePaths: privatePaths(home) }),
      metrics: metricsOf(mesh),
      openSession: connection =>
        openWorkerSession({ workers, mesh, declared: capability => declared.has(capability) }, connection),
      stop: stop => this.stop(stop),
      failure: () => store.failure()
    })
  }

  #fail(reason: EngineFailure): void {
    const { logger, store } = this.#init
    this.#exitCode = 1
    if (reason.kind === 'stale-boot') {
      store.meta.nextBoot(reason.incarnation)
      logger.error('this home is a copy of one that lived on, or was restored: start again', { code: 'HOME_UNUSABLE' })
    } else if (reason.kind === 'defect') {
      logger.error('a step could not be carried out: jobs go on after a restart', {
        code: 'INTERNAL',
        error: reason.error
      })
    } else {
      logger.error('the journal refuses writes: jobs go on after a restart with space on the disk', {
        code: 'STORAGE_FAILED',
        error: reason.error
      })
    }
    this.stop({ now: true })
  }
}

function privatePaths(home: Home): { path: string; holds: string }[] {
  return [
    { path: home.state, holds: 'state' },
    { path: home.identity, holds: 'identity' },
    { path: home.socket, holds: 'control socket' }
  ]
}
