import { StarlingError } from '../../src/core/errors.ts'
import type { Frame } from '../../src/core/frames.ts'
import type { PeerId } from '../../src/core/ids.ts'
import { Engine, type EngineFailure, LocalApi } from '../../src/engine/index.ts'
import type { Clock, Random } from '../../src/ports/clock.ts'
import type { Network, Role } from '../../src/ports/network.ts'
import type { ChildOutcome } from '../../src/ports/runtime.ts'
import type { Event, SpawnRequest } from '../../src/wire/api/index.ts'
import { MemoryJournal } from './memory-journal.ts'
import { MemoryHub, type MemoryNetwork } from './memory-network.ts'
import { recordingLogger } from './recording-logger.ts'
import { type Behaviour, type Execution, ScriptedRuntime } from './scripted-runtime.ts'
import { seeded, VirtualTime } from './virtual-time.ts'

/** 2026-01-01: the wall clock when the monotonic one says 0. */
export const WALL_AT_ZERO_MS = Date.UTC(2026, 0, 1)

/** Longest virtual time that a test waits for anything, unless it says otherwise. */
const WAIT_MS = 120_000

export interface PoolHostInit {
  readonly name: string
  readonly peer: PeerId
  readonly role?: Role
  /** Capabilities with their slots, offered at once. */
  readonly offers?: Readonly<Record<string, number>>
  readonly journal?: MemoryJournal
  /** Kind of the runtime: "function" ones watch children themselves. @default command */
  readonly runtime?: string
}

export interface PoolInit {
  readonly hosts: readonly PoolHostInit[]
  /** What a body does, by its capability; what is missing completes at once with null. */
  readonly bodies?: Readonly<Record<string, Behaviour>>
  /** One way, for all links. @default 1 */
  readonly latencyMs?: number
  readonly seed?: number
}

/** Engines on one network in memory and one virtual clock. Nothing moves unless a method of this class is awaited. */
export class EnginePool {
  readonly time = new VirtualTime()
  readonly hub: MemoryHub
  readonly hosts: readonly PoolHost[]
  /** Every body that was ever started, in order. */
  readonly executions: Execution[] = []
  readonly bodies: Record<string, Behaviour>
  readonly random: () => number

  private constructor(init: PoolInit) {
    this.random = seeded(init.seed ?? 1)
    this.bodies = { ...init.bodies }
    this.hub = new MemoryHub({ clock: clockOf(this.time, { alive: true }), latencyMs: init.latencyMs ?? 1 })
    this.hosts = init.hosts.map(host => new PoolHost(this, host))
  }

  /** All hosts linked, and each knows what the others offer. */
  static async start(init: PoolInit): Promise<EnginePool> {
    const pool = new EnginePool(init)
    await pool.until(() =>
      pool.hosts.every(({ engine }) => {
        const members = engine.node.view.members()
        return members.length === pool.hosts.length - 1 && members.every(({ advertisement }) => advertisement)
      })
    )
    return pool
  }

  host(name: string): PoolHost {
    const host = this.hosts.find(candidate => candidate.name === name)
    if (host === undefined) throw new RangeError(`no host ${name}`)
    return host
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
  }

  /** Moves time until `done`. Fails when that has not come within `forMs`. */
  async until(done: () => boolean, forMs = WAIT_MS): Promise<void> {
    const end = this.time.now + forMs
    for (;;) {
      await this.settle()
      if (done()) return
      if (!this.time.step(end)) throw new Error(`not reached within ${forMs} virtual ms: ${String(done)}`)
    }
  }

  /** Moves time by exactly `forMs`. */
  async advance(forMs: number): Promise<void> {
    const end = this.time.now + forMs
    do await this.settle()
    while (this.time.step(end))
    this.time.now = end
  }

  /** Moves time until the promise has settled; returns its value or throws its reason. */
  async when<T>(promise: Promise<T>, forMs = WAIT_MS): Promise<T> {
    let settled = false
    const outcome = promise.then(
      value => ({ value }),
      (error: unknown) => ({ error })
    )
    outcome.then(() => {
      settled = true
    })
    await this.until(() => settled, forMs)
    const result = await outcome
    if ('error' in result) throw result.error
    return result.value
  }

  /** Executions of a job's tasks that have not ended. */
  running(job: string): Execution[] {
    return this.executions.filter(({ task, end }) => task.jobId === job && end === undefined)
  }

  executionsOf(taskId: string): Execution[] {
    return this.executions.filter(({ task }) => task.taskId === taskId)
  }
}

/** One host; after `restart` its engine, api, network and journal are new objects. */
export class PoolHost {
  readonly name: string
  readonly peer: PeerId
  readonly logger = recordingLogger()
  readonly failures: EngineFailure[] = []
  /** Frames handed to the network, in order. */
  readonly sent: { readonly to: PeerId; readonly frame: Frame; readonly at: number }[] = []
  /** Events of the present boot. */
  events: Event[] = []
  engine: Engine
  api: LocalApi
  network: MemoryNetwork
  journal: MemoryJournal
  runtime: ScriptedRuntime
  incarnation = 1
  readonly #pool: EnginePool
  readonly #init: PoolHostInit
  #life: { alive: boolean; readonly end: AbortController }

  constructor(pool: EnginePool, init: PoolHostInit) {
    this.#pool = pool
    this.#init = init
    this.name = init.name
    this.peer = init.peer
    this.journal = init.journal ?? new MemoryJournal()
    const made = this.#make()
    this.engine = made.engine
    this.api = made.api
    this.network = made.network
    this.runtime = made.runtime
    this.#life = made.life
    this.#begin()
  }

  get clock(): Clock {
    return clockOf(this.#pool.time, this.#life)
  }

  /** kill -9 and a reset of its connections. Returns what its disk holds. */
  crash(): MemoryJournal {
    this.#life.alive = false
    this.#life.end.abort()
    this.network.vanish('killed')
    this.runtime.die()
    return this.journal.crash()
  }

  /** The next boot of this home. */
  restart(journal: MemoryJournal): void {
    this.incarnation += 1
    this.journal = journal
    this.events = []
    const { engine, api, network, runtime, life } = this.#make()
    Object.assign(this, { engine, api, network, runtime })
    this.#life = life
    this.#begin()
  }

  /** Events of one type (without its prefix) of the present boot. */
  told(type: string): Event[] {
    return this.events.filter(event => event.type === `starling.${type}`)
  }

  #make() {
    const pool = this.#pool
    const life = { alive: true, end: new AbortController() }
    const clock = clockOf(pool.time, life)
    const network = pool.hub.member(this.peer, { role: this.#init.role ?? 'worker' })
    const runtime = new ScriptedRuntime({
      kind: this.#init.runtime ?? 'command',
      host: this.name,
      time: pool.time,
      executions: pool.executions,
      behaviour: capability => pool.bodies[capability],
      calls: {
        spawn: (taskId, request) => this.api.spawn(taskId, request),
        waitForChild: (taskId, child, signal) => this.api.waitForChild(taskId, child, signal)
      }
    })
    const journal = this.journal
    const engine = new Engine({
      boot: { incarnation: this.incarnation, nonce: this.incarnation.toString(16).padStart(16, 'b') },
      name: this.name,
      version: '1.0.0',
      network: recorded(network, this.sent, () => pool.time.now),
      journal,
      clock,
      random: randomOf(pool.random),
      logger: this.logger,
      served: capability => (this.#offers(capability) ? { runtime, timeoutMs: undefined } : undefined),
      watchdog: { leases() {} },
      fatal: reason => this.failures.push(reason)
    })
    const api = new LocalApi({
      engine,
      journal,
      clock,
      random: randomOf(pool.random),
      self: this.peer,
      selfRole: () => this.#init.role ?? 'worker',
      addresses: () => network.addresses(),
      roleOf: () => 'worker'
    })
    return { engine, api, network, runtime, life }
  }

  #offers(capability: string): boolean {
    return Object.hasOwn(this.#init.offers ?? {}, capability)
  }

  #begin(): void {
    const { engine, events } = this
    void collect(engine.events.read('0', this.#life.end.signal), events)
    engine.restore()
    void this.network.start(engine.networkHandlers())
    for (const [capability, slots] of Object.entries(this.#init.offers ?? {})) engine.offer(capability, slots)
  }
}

export interface BodyCalls {
  spawn(taskId: string, request: SpawnRequest): Promise<{ taskId: string }>
  waitForChild(taskId: string, child: string, signal?: AbortSignal): Promise<ChildOutcome>
}

export function clockOf(time: VirtualTime, life: { readonly alive: boolean }): Clock {
  return {
    now: () => time.now,
    wall: () => WALL_AT_ZERO_MS + time.now,
    uptime: () => time.now,
    after(delayMs, fire) {
      let cancelled = false
      time.later(delayMs, () => {
        if (!cancelled && life.alive) fire()
      })
      return {
        cancel: () => {
          cancelled = true
        }
      }
    }
  }
}

function randomOf(next: () => number): Random {
  const digits = (alphabet: string, length: number) =>
    Array.from({ length }, () => alphabet[Math.floor(next() * alphabet.length)]).join('')
  return {
    next,
    hex: length => digits('0123456789abcdef', 2 * length),
    id: () => digits('abcdefghijklmnopqrstuvwxyz234567', 26)
  }
}

function recorded(network: MemoryNetwork, sent: PoolHost['sent'], now: () => number): Network {
  return {
    self: network.self,
    start: handlers => network.start(handlers),
    stop: () => network.stop(),
    addresses: () => network.addresses(),
    send(to, frame) {
      sent.push({ to, frame, at: now() })
      return network.send(to, frame)
    },
    publish: advertisement => network.publish(advertisement),
    learn: (peer, addresses) => network.learn(peer, addresses),
    known: peer => network.known(peer),
    disconnect: (peer, reason) => network.disconnect(peer, reason),
    discovery: () => network.discovery()
  }
}

async function collect<T>(items: AsyncIterable<T>, into: T[]): Promise<void> {
  for await (const item of items) into.push(item)
}

/** What a promise was rejected with: its code, or the error itself when it has none. */
export async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error instanceof StarlingError ? error.code : error
  }
  return 'resolved'
}
