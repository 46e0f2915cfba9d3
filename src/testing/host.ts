import { type Boot, StarlingError } from '../core/index.ts'
import { Engine, type EngineFailure, LocalApi } from '../engine/index.ts'
import { type Clock, type JournalWrite, silentLogger, type TaskStart, type Timer } from '../ports/index.ts'
import { type Body, type BodyCalls, type Machine, SimRuntime } from './bodies.ts'
import { SimDisk, SimJournal } from './disk.ts'
import type { Fabric, SimNetwork, Station } from './network.ts'
import { BODY_MAX_MS, type HostPlan, type SchedulePlan } from './plan.ts'
import { SeededRandom } from './random.ts'
import { COMMON_CAPABILITY, RARE_CAPABILITY, type TaskTree } from './task-tree.ts'
import type { VirtualTime } from './virtual-time.ts'

/** 2026-01-01: the wall clock when the simulated one says 0. */
const WALL_AT_ZERO_MS = Date.UTC(2026, 0, 1)

/** Processes of a killed daemon are gone after so long: the death signal is asynchronous. Longer on slow machines. */
const ORPHANS_LIVE_MS = 25
const SLOW_ORPHANS_LIVE_MS = 250

/** How often a machine looks whether the last of its old processes is gone, before it starts the daemon (C3). */
const BOOT_AGAIN_MS = 2

/** Restart by whatever watches over the daemon, after it has ended itself. */
const RESTART_MS = 300

/** One life of a daemon. */
export interface DaemonLife {
  readonly number: number
  readonly boot: Boot
  readonly engine: Engine
  readonly api: LocalApi
  readonly network: SimNetwork
  readonly journal: SimJournal
  readonly runtime: SimRuntime
}

/** What a host tells the world. */
export interface HostWatcher {
  booted(host: SimHost): void
  /** After everything that its daemon did. */
  stepped(host: SimHost): void
  asked(host: SimHost, writes: readonly JournalWrite[]): void
  written(host: SimHost, writes: readonly JournalWrite[]): void
  began(body: Body): void
  gone(body: Body): void
  odd(host: SimHost, what: string): void
}

export interface SimHostInit {
  readonly index: number
  readonly plan: SchedulePlan
  readonly time: VirtualTime
  readonly fabric: () => Fabric
  readonly watcher: HostWatcher
  readonly treeOf: (input: unknown) => TaskTree
  readonly bodyMs: (input: unknown) => number
}

/** One machine: its clock, its disk, its processes, and the daemon that runs on it now and again. */
export class SimHost implements Station, Machine {
  readonly index: number
  readonly peer: string
  readonly time: VirtualTime
  readonly disk: SimDisk
  daemon: DaemonLife | undefined
  /** It is stopping, gracefully. */
  stopping = false
  readonly #init: SimHostInit
  readonly #plan: HostPlan
  readonly #random: SeededRandom
  /** Processes of all boots that may still be there. */
  #runtimes: SimRuntime[] = []
  #lives = 0
  #incarnation = 0
  #pausedUntil = 0
  #timersFirst = true
  #asleepSince: number | undefined
  #sleptMs = 0
  #clockOffsetMs: number
  #wokeAt = Number.NEGATIVE_INFINITY
  #gone = false
  readonly #timers: (() => void)[] = []
  readonly #io: (() => void)[] = []
  readonly #sleeping: (() => void)[] = []

  constructor(init: SimHostInit) {
    this.#init = init
    this.index = init.index
    this.peer = `12D3Host${String.fromCharCode(65 + init.index)}`
    this.time = init.time
    const plan = init.plan.hosts[init.index]
    if (plan === undefined) throw new RangeError(`no host ${init.index}`)
    this.#plan = plan
    this.#random = new SeededRandom(init.plan.seed, 'host', init.index)
    this.#clockOffsetMs = plan.clockOffsetMs
    this.disk = new SimDisk(init.plan.commitMs)
  }

  /** Number of the present boot, 0 while no daemon runs. */
  get life(): number {
    return this.daemon?.number ?? 0
  }

  get clockRate(): number {
    return this.#plan.clockRate
  }

  get standsStill(): boolean {
    return this.time.now < this.#pausedUntil || this.asleep
  }

  get asleep(): boolean {
    return this.#asleepSince !== undefined
  }

  get answers(): boolean {
    return this.daemon !== undefined && !this.standsStill
  }

  wokeWithin(ms: number): boolean {
    return this.time.now - this.#wokeAt < ms
  }

  /** It will never start again. */
  get isGone(): boolean {
    return this.#gone
  }

  /** Its monotonic clock, which stands still while it sleeps. */
  clock(): number {
    const awake = (this.#asleepSince ?? this.time.now) - this.#sleptMs
    return this.#clockOffsetMs + this.#plan.clockRate * awake
  }

  /** Its clock that goes on in sleep. */
  uptime(): number {
    return this.#clockOffsetMs + this.#plan.clockRate * this.time.now
  }

  boot(): void {
    if (this.daemon !== undefined || this.#gone) return
    this.#runtimes = this.#runtimes.filter(({ size }) => size > 0)
    if (this.#runtimes.length > 0) return this.time.after(BOOT_AGAIN_MS, () => this.boot())
    this.#incarnation += 1
    const daemon = this.#makeDaemon()
    this.daemon = daemon
    this.stopping = false
    this.#runtimes.push(daemon.runtime)
    daemon.engine.restore()
    daemon.network.start(daemon.engine.networkHandlers())
    daemon.engine.offer(COMMON_CAPABILITY, this.#plan.slots)
    if (this.#plan.rareSlots > 0) daemon.engine.offer(RARE_CAPABILITY, this.#plan.rareSlots)
    this.#init.watcher.booted(this)
  }

  enter(life: number, kind: 'timer' | 'io', act: () => void): void {
    if (this.daemon?.number !== life || life === 0) return
    if (this.standsStill) {
      const queue = kind === 'timer' ? this.#timers : this.#io
      queue.push(act)
    } else {
      act()
      this.#init.watcher.stepped(this)
    }
  }

  awake(act: () => void): void {
    if (this.asleep) this.#sleeping.push(act)
    else act()
  }

  /** False when there is no daemon to kill. `downMs` null: it never comes back. */
  crash(how: { downMs: number | null; power: boolean; reused?: boolean | undefined }): boolean {
    if (this.daemon === undefined || this.asleep) return false
    this.#end(!how.power)
    for (const runtime of this.#runtimes) runtime.killAll(how.power ? 0 : this.#orphansLiveMs)
    // A machine begins to count anew when it is switched on.
    if (how.power) this.#clockOffsetMs = this.#random.between(0, 1e9)
    if (how.reused) this.#incarnation -= 1
    if (how.downMs === null) this.#gone = true
    else this.time.after(how.downMs, () => this.boot())
    return true
  }

  /** SIGSTOP, SIGCONT after `forMs`. */
  pause(forMs: number, timersFirst: boolean): boolean {
    if (this.daemon === undefined || this.standsStill) return false
    const until = this.time.now + forMs
    this.#pausedUntil = until
    this.#timersFirst = timersFirst
    this.time.after(forMs, () => {
      if (this.#pausedUntil !== until) return
      this.#pausedUntil = 0
      this.#goOn()
    })
    return true
  }

  /** The whole machine sleeps. */
  suspend(forMs: number): boolean {
    if (this.daemon === undefined || this.standsStill) return false
    this.#asleepSince = this.time.now
    this.time.after(forMs, () => {
      this.#sleptMs += this.time.now - (this.#asleepSince ?? this.time.now)
      this.#asleepSince = undefined
      this.#wokeAt = this.time.now
      for (const act of this.#sleeping.splice(0)) act()
      this.#goOn()
    })
    return true
  }

  /** Graceful stop; starts again `downMs` after its end. */
  stop(now: boolean, downMs: number | null): boolean {
    const { daemon } = this
    if (daemon === undefined || this.stopping || this.standsStill) return false
    this.stopping = true
    daemon.engine.stop({ now }).then(() => {
      if (this.daemon !== daemon) return
      this.#end(true)
      daemon.runtime.killAll(this.#orphansLiveMs)
      if (downMs === null) this.#gone = true
      else this.time.after(downMs, () => this.boot())
    })
    return true
  }

  /** Takes no new work until `end`; what still runs after `deadlineMs` is moved. */
  drain(request: { deadlineMs?: number; end?: boolean }): boolean {
    const { daemon } = this
    if (daemon === undefined) return false
    this.enter(daemon.number, 'io', () => {
      try {
        daemon.api.drain(this.peer, request)
      } catch (error) {
        // It takes work again by ending.
        if (!(error instanceof StarlingError && error.code === 'DAEMON_STOPPING')) throw error
      }
    })
    return true
  }

  get #orphansLiveMs(): number {
    return this.#init.plan.reapMs > ORPHANS_LIVE_MS ? SLOW_ORPHANS_LIVE_MS : ORPHANS_LIVE_MS
  }

  #end(closes: boolean): void {
    const { daemon } = this
    if (daemon === undefined) return
    daemon.journal.crash()
    daemon.network.handlers = undefined
    this.daemon = undefined
    this.#init.fabric().down(this, closes)
    this.#pausedUntil = 0
    this.#timers.length = 0
    this.#io.length = 0
    this.disk.full = false
  }

  /** Handles what has come meanwhile; timers that are due before all else, as an event loop does, or after. */
  #goOn(): void {
    const life = this.life
    const first = this.#timersFirst ? this.#timers : this.#io
    const second = this.#timersFirst ? this.#io : this.#timers
    for (const act of [...first.splice(0), ...second.splice(0)]) this.enter(life, 'io', act)
    if (this.answers) this.#init.fabric().seek(this)
  }

  #fatal(life: number, reason: EngineFailure): void {
    if (reason.kind === 'defect') this.#init.watcher.odd(this, `defect: ${String(reason.error)}`)
    if (reason.kind === 'stale-boot') this.#incarnation = Math.max(this.#incarnation, reason.incarnation)
    const downMs = this.#random.between(RESTART_MS / 2, RESTART_MS)
    this.time.after(0, () => {
      if (this.life === life) this.crash({ downMs, power: false })
    })
  }

  #poisoned(life: number): void {
    if (this.life === life) this.crash({ downMs: this.#random.between(RESTART_MS / 2, RESTART_MS), power: false })
  }

  #makeDaemon(): DaemonLife {
    this.#lives += 1
    const life = this.#lives
    const { plan, watcher, fabric } = this.#init
    const random = new SeededRandom(plan.seed, 'boot', this.index, life)
    const boot = { incarnation: this.#incarnation, nonce: random.hex(8) }
    const clock = this.#clockOf(life)
    const network = fabric().network(this)
    const journal = new SimJournal({
      disk: this.disk,
      random,
      later: (delayMs, act) => this.time.after(delayMs, () => this.enter(life, 'io', act)),
      asked: writes => watcher.asked(this, writes),
      written: writes => watcher.written(this, writes)
    })
    const runtime = this.#runtimeOf(life, random)
    const served = { runtime, timeoutMs: undefined }
    const engine = new Engine({
      boot,
      name: `host-${this.index}`,
      version: '1.0.0',
      network,
      journal,
      clock,
      random,
      watchdog: runtime,
      logger: silentLogger,
      served: () => served,
      fatal: reason => this.#fatal(life, reason)
    })
    const api = new LocalApi({
      engine,
      journal,
      clock,
      random,
      self: this.peer,
      selfRole: () => 'worker',
      addresses: () => network.addresses(),
      roleOf: () => 'worker'
    })
    return { number: life, boot, engine, api, network, journal, runtime }
  }

  #runtimeOf(life: number, random: SeededRandom): SimRuntime {
    const { plan, watcher, treeOf, bodyMs } = this.#init
    const { reapMs, awaiting } = plan
    const calls: BodyCalls = {
      spawn: (attemptId, request) => {
        const { engine, api } = this.#mustRun()
        const attempt = engine.attempts.byAttempt(attemptId)
        if (attempt === undefined) throw new StarlingError('TASK_ENDED', 'this task has ended')
        return api.spawnFrom(attempt, request)
      },
      blocked: (attemptId, blocked) => this.#mustRun().engine.attempts.blocked(attemptId, blocked),
      waitForChild: (taskId, child) => this.#mustRun().api.waitForChild(taskId, child)
    }
    const vertexOf = ({ jobId, attemptId }: TaskStart) => {
      const tree = this.daemon?.engine.node.host.participant(jobId)?.peek()
      const vertex = tree?.vertex(attemptId.slice(jobId.length + 1))
      const owner = { peer: vertex?.owner ?? '', engagement: vertex?.ownerEngagement ?? 0 }
      return { engagement: tree?.engagement ?? 0, owner }
    }
    const { began, gone } = watcher
    return new SimRuntime({
      machine: this,
      life,
      random,
      treeOf,
      calls,
      bodyMs,
      bodyMaxMs: BODY_MAX_MS,
      reapMs,
      awaiting,
      vertexOf,
      poison: () => this.time.after(0, () => this.#poisoned(life)),
      began: body => began.call(watcher, body),
      gone: body => gone.call(watcher, body),
      odd: what => watcher.odd(this, what)
    })
  }

  #mustRun(): DaemonLife {
    if (this.daemon === undefined) throw new RangeError(`no daemon runs on host ${this.index}`)
    return this.daemon
  }

  #clockOf(life: number): Clock {
    const { time } = this
    return {
      now: () => this.clock(),
      uptime: () => this.uptime(),
      wall: () => WALL_AT_ZERO_MS + time.now,
      after: (delayMs, fire): Timer => {
        let cancelled = false
        const due = this.clock() + delayMs
        const ring = () => {
          const left = due - this.clock()
          // The clock has stood still meanwhile.
          if (left > 1e-6) time.after(left / this.#plan.clockRate, () => this.awake(ring))
          else if (!cancelled) this.enter(life, 'timer', () => !cancelled && fire())
        }
        time.after(delayMs / this.#plan.clockRate, () => this.awake(ring))
        return {
          cancel: () => {
            cancelled = true
          }
        }
      }
    } as Clock
  }
}

/** What a task of the simulator is given. */
export function inputOf(job: number): { job: number } {
  return { job }
}
