import { type JobId, StarlingError } from '../core/index.ts'
import type {
  AgentRuntime,
  Attempt,
  AttemptEnd,
  AttemptHandlers,
  ChildOutcome,
  TaskStart,
  Watchdog
} from '../ports/index.ts'
import { LEASE_CHECK_MS } from '../runtimes/jail/supervisor-task.ts'
import type { SpawnRequest } from '../wire/api/index.ts'
import type { SeededRandom } from './random.ts'
import type { TaskTree } from './task-tree.ts'
import type { VirtualTime } from './virtual-time.ts'

/** Chance that an attempt of a flaky task fails. */
const FLAKY_FAILS = 0.4

/** A process that was sent SIGKILL is gone after so long, or, on machines that are slow in everything, SLOW_SIGKILL_MS. */
const SIGKILL_MS = 20
const SLOW_SIGKILL_MS = 400

/** A body asks again so long after nobody was known to offer what its child needs. */
const SPAWN_AGAIN_MS = 400

/** What a body gets from its daemon. */
export interface BodyCalls {
  /** @throws StarlingError as the daemon's API does */
  spawn(attemptId: string, request: SpawnRequest): { taskId: string }
  blocked(attemptId: string, blocked: boolean): void
  /** By a promise, as a process waits that has no session with its daemon. */
  waitForChild(taskId: string, child: string): Promise<ChildOutcome>
}

/** One process that executes an attempt. */
export interface Body {
  readonly job: JobId
  readonly path: string
  readonly task: TaskStart
  readonly host: number
  /** Boot of the daemon that started it. */
  readonly life: number
  readonly startedAt: number
  readonly engagement: number
  readonly owner: { readonly peer: string; readonly engagement: number }
  readonly exclusive: boolean
}

/** The machine that bodies run on. */
export interface Machine {
  readonly index: number
  readonly time: VirtualTime
  /** Runs `act` when the machine is awake, in this order. */
  awake(act: () => void): void
  /** Its monotonic clock, and how many of its milliseconds are one of the simulated time. */
  clock(): number
  readonly clockRate: number
  enter(life: number, kind: 'timer' | 'io', act: () => void): void
}

export interface SimRuntimeInit {
  readonly machine: Machine
  readonly life: number
  readonly random: SeededRandom
  readonly treeOf: (input: unknown) => TaskTree
  readonly calls: BodyCalls
  readonly bodyMs: (input: unknown) => number
  readonly bodyMaxMs: number
  readonly reapMs: number
  readonly awaiting: boolean
  /** What the daemon knows of the attempt when it starts. */
  readonly vertexOf: (task: TaskStart) => Pick<Body, 'engagement' | 'owner'>
  /** The body takes its daemon down. */
  readonly poison: () => void
  readonly began: (body: Body) => void
  readonly gone: (body: Body) => void
  /** A second task was spawned under the same path by one body, or such. */
  readonly odd: (what: string) => void
}

/** A runtime whose bodies are processes of the simulated machine; they outlive the daemon until `killAll`. */
export class SimRuntime implements AgentRuntime, Watchdog {
  readonly kind = 'command'
  readonly #init: SimRuntimeInit
  readonly #living = new Set<SimBody>()
  /** End of the lease of each job, by the machine's clock. */
  readonly #deadlines = new Map<string, number>()
  #watching = false

  constructor(init: SimRuntimeInit) {
    this.#init = init
  }

  get size(): number {
    return this.#living.size
  }

  start(task: TaskStart, handlers: AttemptHandlers): Attempt {
    for (const { task: other } of this.#living) {
      if (other.attemptId === task.attemptId) this.#init.odd(`${task.attemptId} is started twice`)
    }
    const body = new SimBody(this.#init, task, handlers, gone => this.#living.delete(gone))
    this.#living.add(body)
    this.#deadlines.set(task.jobId, this.#init.machine.clock() + task.leaseLeftMs)
    this.#watch()
    return body
  }

  leases(left: ReadonlyMap<string, number>): void {
    const now = this.#init.machine.clock()
    for (const [job, leftMs] of left) this.#deadlines.set(job, now + leftMs)
  }

  /** The supervisor, a process of its own: it kills what has no lease any more, whether or not the daemon stands still. */
  #watch(): void {
    const { machine, random } = this.#init
    if (this.#watching || this.#living.size === 0) return
    const deadlines = [...this.#living].map(({ job }) => this.#deadlines.get(job) ?? 0)
    const leftMs = Math.max(0, Math.min(...deadlines) - machine.clock())
    this.#watching = true
    machine.time.after(leftMs / machine.clockRate + random.next() * LEASE_CHECK_MS, () =>
      machine.awake(() => {
        this.#watching = false
        const now = machine.clock()
        for (const body of [...this.#living]) {
          if ((this.#deadlines.get(body.job) ?? 0) <= now)
            body.end({ kind: 'killed' }, random.next() * sigkillMs(this.#init))
        }
        this.#watch()
      })
    )
  }

  /** SIGKILL from outside of the daemon: all are gone after at most `withinMs`. */
  killAll(withinMs: number): void {
    for (const body of [...this.#living]) body.end({ kind: 'killed' }, this.#init.random.next() * withinMs)
  }

  async stop(): Promise<void> {
    this.killAll(0)
  }
}

function sigkillMs({ reapMs }: SimRuntimeInit): number {
  return reapMs > SIGKILL_MS ? SLOW_SIGKILL_MS : SIGKILL_MS
}

class SimBody implements Attempt, Body {
  readonly job: JobId
  readonly path: string
  readonly task: TaskStart
  readonly host: number
  readonly life: number
  readonly startedAt: number
  readonly engagement: number
  readonly owner: { readonly peer: string; readonly engagement: number }
  readonly #init: SimRuntimeInit
  readonly #tree: TaskTree
  readonly #handlers: AttemptHandlers
  readonly #forget: (body: SimBody) => void
  readonly #settled = new Map<string, ChildOutcome>()
  readonly #workMs: number
  #spawned = 0
  #waiting = false
  #dying = false
  #gone = false

  constructor(init: SimRuntimeInit, task: TaskStart, handlers: AttemptHandlers, forget: (body: SimBody) => void) {
    this.#init = init
    this.#handlers = handlers
    this.#forget = forget
    this.task = task
    this.job = task.jobId
    this.path = task.taskId.slice(task.jobId.length + 1)
    this.host = init.machine.index
    this.life = init.life
    this.startedAt = init.machine.time.now
    const { engagement, owner } = init.vertexOf(task)
    this.engagement = engagement
    this.owner = owner
    this.#tree = init.treeOf(task.input)
    this.#workMs = init.random.heavyTailed(init.bodyMs(task.input), init.bodyMaxMs)
    init.began(this)
    this.#later(this.#workMs / (this.#shape.first + this.#shape.after + 1), () => this.#work())
  }

  get #shape() {
    return this.#tree.shape(this.path)
  }

  get exclusive(): boolean {
    return this.#shape.exclusive
  }

  kill(_reason: string, hard: boolean): void {
    if (hard) this.end({ kind: 'killed' }, this.#init.random.next() * sigkillMs(this.#init))
    else if (!this.#dying) this.end({ kind: 'killed' }, this.#init.random.heavyTailed(0.5, this.#init.reapMs))
  }

  childSettled(child: ChildOutcome): void {
    this.#settled.set(child.taskId, child)
    if (!this.#init.awaiting) this.#init.machine.time.after(0, () => this.#proceed())
  }

  /** It does nothing more, and is gone after `afterMs`. The first of several ends counts. */
  end(end: AttemptEnd, afterMs: number): void {
    this.#dying = true
    const { machine, gone } = this.#init
    machine.time.after(afterMs, () =>
      machine.awake(() => {
        if (this.#gone) return
        this.#gone = true
        this.#forget(this)
        gone(this)
        machine.enter(this.life, 'io', () => this.#handlers.ended(end))
      })
    )
  }

  /** Each step is a call to the daemon: what it does not answer, because it stands still, is waited for. */
  #work(): void {
    const { first, after, waitsFor } = this.#shape
    if (this.#spawned >= first && waitsFor > 0 && !this.#hasWaited()) return this.#wait(waitsFor)
    if (this.#spawned < first + after) return this.#spawn()
    if (this.#shape.poisonous) return this.#init.poison()
    const result = this.#tree.resultOf(this.path, this.#waited(), this.task.fencingToken)
    const failed = { kind: 'failed', error: { code: 'TASK_FAILED', message: 'as planned' } } as const
    const fails = this.#shape.fails || (this.#shape.flaky && this.#init.random.chance(FLAKY_FAILS))
    this.end(fails ? failed : { kind: 'completed', result }, 0)
  }

  #spawn(): void {
    const { machine, calls } = this.#init
    machine.enter(this.life, 'io', () => {
      if (this.#dying) return
      const path = `${this.path}.${this.#spawned}`
      const { capability, policy } = this.#tree.shape(path)
      try {
        const { taskId } = calls.spawn(this.task.attemptId, { capability, input: this.task.input, ...policy })
        if (taskId !== `${this.job}.${path}`) this.#init.odd(`${taskId} was spawned as ${path}`)
      } catch (error) {
        return this.#refused(error)
      }
      this.#spawned += 1
      const { first, after } = this.#shape
      this.#later(this.#workMs / (first + after + 1), () => this.#work())
    })
  }

  #refused(error: unknown): void {
    const code = error instanceof StarlingError ? error.code : 'INTERNAL'
    // The attempt is over for its daemon: the kill is on its way.
    if (code === 'TASK_ENDED') return
    if (code === 'NO_CAPABLE_PEER') return this.#later(SPAWN_AGAIN_MS, () => this.#work())
    this.#init.odd(`spawn refused: ${String(error)}`)
  }

  #wait(count: number): void {
    const { machine, calls, awaiting } = this.#init
    this.#waiting = true
    machine.enter(this.life, 'io', () => {
      if (this.#dying) return
      if (!awaiting) {
        calls.blocked(this.task.attemptId, true)
        return this.#proceed()
      }
      for (let index = 0; index < count; index += 1) {
        const child = `${this.task.taskId}.${index}`
        this.#ask(calls, child)
      }
    })
  }

  async #ask(calls: BodyCalls, child: string): Promise<void> {
    try {
      this.#settled.set(child, await calls.waitForChild(this.task.taskId, child))
    } catch (error) {
      // Its lease is over: the kill is on its way.
      const over = error instanceof StarlingError && (error.code === 'TASK_ENDED' || error.code === 'NOT_FOUND')
      if (!over) this.#init.odd(`waiting for a child: ${String(error)}`)
      return
    }
    this.#proceed()
  }

  #proceed(): void {
    if (!this.#waiting || this.#dying || !this.#hasWaited()) return
    this.#waiting = false
    const { machine, calls, awaiting } = this.#init
    machine.enter(this.life, 'io', () => {
      if (!awaiting && !this.#dying) calls.blocked(this.task.attemptId, false)
      this.#later(this.#workMs / 4, () => this.#work())
    })
  }

  #hasWaited(): boolean {
    for (let index = 0; index < this.#shape.waitsFor; index += 1) {
      if (!this.#settled.has(`${this.task.taskId}.${index}`)) return false
    }
    return true
  }

  #waited(): ChildOutcome[] {
    const waited: ChildOutcome[] = []
    for (let index = 0; index < this.#shape.waitsFor; index += 1) {
      const outcome = this.#settled.get(`${this.task.taskId}.${index}`)
      if (outcome !== undefined) waited.push(outcome)
    }
    return waited
  }

  #later(delayMs: number, act: () => void): void {
    const { machine } = this.#init
    machine.time.after(delayMs, () =>
      machine.awake(() => {
        if (!this.#dying) act()
      })
    )
  }
}
