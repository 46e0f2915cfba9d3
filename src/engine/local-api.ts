import { NO_DRAIN_DEADLINE_MS, type PeerId, parseTaskId, StarlingError, taskId } from '../core/index.ts'
import type { ChildOutcome, Clock, DaemonApi, Journal, LinkInfo, Random } from '../ports/index.ts'
import type {
  Agent,
  DrainRequest,
  Job,
  JobSummary,
  Peer,
  Placement,
  SpawnRequest,
  SubmitRequest
} from '../wire/api/index.ts'
import type { RunningAttempt } from './attempts.ts'
import type { Engine } from './engine.ts'
import { runningJob } from './job-views.ts'
import { ID_PREFIX_CHARS_MIN, resolveId } from './resolve-id.ts'
import { inputBytes, policyOf, Submissions } from './submissions.ts'

/** Finished jobs shown in a list. */
const JOBS_LISTED_MAX = 200

/** Matches looked at to tell whether a prefix is unique. */
const PREFIX_MATCHES_MAX = 20

/** Last part of a child's path, as the core writes it. */
const CHILD_INDEX = /^(?:0|[1-9]\d*)$/

export interface LocalApiInit {
  readonly engine: Engine
  readonly journal: Journal
  readonly clock: Clock
  readonly random: Random
  readonly self: PeerId
  readonly selfRole: () => LinkInfo['role'] | null
  readonly addresses: () => string[]
  /** Role in the certificate of a linked member. */
  readonly roleOf: (peer: PeerId) => LinkInfo['role'] | null
}

type Served =
  | 'peers'
  | 'agents'
  | 'jobs'
  | 'job'
  | 'submit'
  | 'plan'
  | 'waitForJob'
  | 'cancel'
  | 'spawn'
  | 'waitForChild'
  | 'drain'
  | 'events'
  | 'logs'

/** The part of the daemon's API that is about jobs, tasks and members: reads the engine, feeds the engine. */
export class LocalApi implements Pick<DaemonApi, Served> {
  readonly #init: LocalApiInit
  readonly #submissions: Submissions

  constructor(init: LocalApiInit) {
    this.#init = init
    this.#submissions = new Submissions(init)
  }

  peers(): Peer[] {
    const { engine, clock, self } = this.#init
    const { node } = engine
    const now = clock.now()
    const own = node.advertisement()
    const me: Peer = {
      peerId: self,
      name: own.name,
      self: true,
      state: 'alive',
      role: this.#init.selfRole(),
      capabilities: own.capabilities.map(capability => ({ ...capability })),
      load: { running: own.running, queued: own.queued },
      rttMs: null,
      addresses: this.#init.addresses(),
      drain: own.drain,
      asOf: new Date(clock.wall()).toISOString()
    }
    const others = node.view.members().map((member): Peer => {
      const { peer, state, advertisement, advertisedAt, rttMs } = member
      return {
        peerId: peer,
        name: advertisement?.name ?? '',
        self: false,
        state,
        role: this.#init.roleOf(peer),
        capabilities: advertisement?.capabilities.map(capability => ({ ...capability })) ?? [],
        load: { running: advertisement?.running ?? 0, queued: advertisement?.queued ?? 0 },
        rttMs: rttMs === undefined ? null : Math.round(rttMs * 1_000) / 1_000,
        addresses: [...(advertisement?.addresses ?? [])],
        drain: advertisement?.drain ?? 'no',
        asOf: advertisedAt === undefined ? null : new Date(clock.wall() - (now - advertisedAt)).toISOString()
      }
    })
    return [me, ...others.sort((a, b) => a.name.localeCompare(b.name) || a.peerId.localeCompare(b.peerId))]
  }

  agents(): Agent[] {
    return this.#init.engine.attempts.agents(this.#init.self)
  }

  jobs(): JobSummary[] {
    const { engine, journal } = this.#init
    const ids = this.#unfinishedIds()
    const unfinished = [...ids].reverse().map(id => this.#running(id) ?? engine.ending(id)?.job)
    const finished = journal.finished(JOBS_LISTED_MAX).filter(({ id }) => !ids.has(id))
    const all: Job[] = [...unfinished.filter(job => job !== undefined), ...finished]
    return all.map(({ result: _, items: __, ...job }) => job)
  }

  job(wanted: string, items: boolean): Job {
    const { engine, journal } = this.#init
    const id = this.#jobId(wanted)
    const running = this.#running(id)
    if (running !== undefined) return items ? { ...running, items: [] } : running
    const over = engine.ending(id)?.job
    if (over !== undefined) return this.#withItems(over, items)
    const summary = journal.summary(id)
    if (summary === undefined) throw new StarlingError('NOT_FOUND', `there is no job "${wanted}"`)
    return items ? { ...summary, items: journal.items(id) } : summary
  }

  submit(request: SubmitRequest): Promise<{ id: string; existing: boolean }> {
    return this.#submissions.submit(request)
  }

  plan(request: SubmitRequest): Placement {
    return this.#submissions.plan(request)
  }

  async waitForJob(
    wanted: string,
    options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined }
  ): Promise<Job> {
    const id = this.#jobId(wanted)
    const { clock, engine } = this.#init
    const end = new AbortController()
    const stop = () => end.abort()
    options.signal?.addEventListener('abort', stop, { once: true })
    if (options.signal?.aborted) stop()
    const timer = options.timeoutMs === undefined ? undefined : clock.after(options.timeoutMs, stop)
    try {
      await engine.untilOver(id, end.signal)
    } finally {
      timer?.cancel()
      options.signal?.removeEventListener('abort', stop)
    }
    return this.job(id, false)
  }

  async cancel(wanted: string): Promise<JobSummary> {
    const id = this.#jobId(wanted)
    this.#init.engine.input(now => this.#init.engine.node.cancel(id, now))
    return this.job(id, false)
  }

  drain(wanted: string, request: DrainRequest): Peer {
    const { engine, self, selfRole } = this.#init
    const peer = this.#submissions.peer(wanted)
    const { deadlineMs = NO_DRAIN_DEADLINE_MS, end = false } = request
    if (peer === self) {
      if (engine.node.stopping)
        throw new StarlingError('DAEMON_STOPPING', 'this daemon is stopping: it takes no work again')
      engine.input(now => (end ? engine.node.endDrain(now) : engine.node.drain(deadlineMs, now)))
    } else {
      const name = engine.nameOf(peer) || peer
      if (selfRole() !== 'admin') {
        throw new StarlingError('DENIED', `only an admin may drain ${name}`, { hint: `run it on ${name} itself` })
      }
      if (engine.node.view.get(peer)?.linked !== true) {
        throw new StarlingError('NOT_FOUND', `there is no link to ${name}`, { hint: `run it on ${name} itself` })
      }
      engine.input(() => engine.node.requestDrain(peer, request.deadlineMs ?? 0, end))
    }
    const shown = this.peers().find(({ peerId }) => peerId === peer)
    if (shown === undefined) throw new StarlingError('NOT_FOUND', `there is no peer "${wanted}"`)
    return shown
  }

  async spawn(parent: string, request: SpawnRequest): Promise<{ taskId: string }> {
    const attempt = this.#attempt(parent)
    if (request.attempt !== undefined && request.attempt !== attempt.attempt) {
      const message = `attempt ${request.attempt} of task ${parent} is over; attempt ${attempt.attempt} runs now`
      throw new StarlingError('TASK_ENDED', message)
    }
    return this.spawnFrom(attempt, request)
  }

  /** Adds a child to a running attempt. */
  spawnFrom(attempt: RunningAttempt, request: SpawnRequest): { taskId: string } {
    const { engine } = this.#init
    const { capability } = request
    const input = inputBytes(request.input)
    const known = engine.node.knownCapabilities()
    if (!known.has(capability)) {
      const there = known.size === 0 ? 'Nothing is offered now.' : `Offered now: ${[...known].sort().join(', ')}.`
      throw new StarlingError('NO_CAPABLE_PEER', `No peer offers "${capability}". ${there}`)
    }
    const child = { capability, input, traceparent: attempt.traceparent, policy: policyOf(request) }
    const spawned = engine.ask(now => engine.node.spawn(attempt.job, attempt.obligation, child, now))
    if ('code' in spawned) throw new StarlingError(spawned.code, spawned.message)
    return { taskId: taskId(attempt.job, spawned.path) }
  }

  async waitForChild(parent: string, child: string, signal?: AbortSignal): Promise<ChildOutcome> {
    const attempt = this.#attempt(parent)
    const { engine } = this.#init
    const vertex = engine.node.host.participant(attempt.job)?.peek()?.vertex(attempt.obligation)
    if (vertex === undefined) throw new StarlingError('TASK_ENDED', `the lease of task ${attempt.taskId} is over here`)
    const index = child.startsWith(`${attempt.taskId}.`) ? child.slice(attempt.taskId.length + 1) : ''
    if (!CHILD_INDEX.test(index) || Number(index) >= vertex.children) {
      throw new StarlingError('NOT_FOUND', `${child} is no child of ${attempt.taskId}`, {
        hint: 'spawn names each child when it adds it'
      })
    }
    return engine.attempts.waitForChild(attempt, child, signal)
  }

  events(options: { sinceId?: string | undefined; signal: AbortSignal }): ReturnType<DaemonApi['events']> {
    return this.#init.engine.events.read(options.sinceId, options.signal)
  }

  logs(wanted: string, options: { follow: boolean; signal: AbortSignal }): ReturnType<DaemonApi['logs']> {
    const { logs, attempts } = this.#init.engine
    const byAgent = attempts.byAttempt(wanted)?.taskId
    const id = byAgent ?? resolveId('task', wanted, logs.ids())
    return logs.read(id, options)
  }

  /** The attempt that runs here for a task id. */
  #attempt(wanted: string): RunningAttempt {
    const { attempts, logs } = this.#init.engine
    const running = attempts.byTask(wanted)
    if (running !== undefined) return running
    if (logs.has(wanted)) {
      throw new StarlingError('TASK_ENDED', `task ${wanted} has ended: it cannot spawn any more`, {
        hint: 'spawn before the body of the task returns'
      })
    }
    const known = parseTaskId(wanted) === undefined ? 'is no task id' : 'does not run on this host'
    throw new StarlingError('NOT_FOUND', `${wanted} ${known}`, { hint: 'STARLING_TASK names the running task' })
  }

  #jobId(wanted: string): string {
    const { journal } = this.#init
    const unfinished = this.#unfinishedIds()
    if (unfinished.has(wanted)) return wanted
    const finished = wanted.length < ID_PREFIX_CHARS_MIN ? [] : journal.finishedIds(wanted, PREFIX_MATCHES_MAX)
    return resolveId('job', wanted, new Set([...unfinished, ...finished]))
  }

  /** Jobs that run, and those that are over but not yet among the finished ones of the journal. Oldest first. */
  #unfinishedIds(): Set<string> {
    const { engine } = this.#init
    return new Set([...engine.endingIds(), ...engine.node.roots.ledgers().map(({ job }) => job)])
  }

  #running(id: string): JobSummary | undefined {
    const { engine, clock } = this.#init
    const ledger = engine.node.roots.ledger(id)
    const ending = engine.ending(id)
    const state = ledger?.state ?? (ending?.job === undefined ? ending?.state : undefined)
    if (state === undefined) return undefined
    return runningJob(state, ledger?.progress() ?? [], engine.node.waitingFor(id), clock.now(), engine)
  }

  #withItems(job: Job, items: boolean): Job {
    if (items) return job
    const { items: _, ...summary } = job
    return summary
  }
}
