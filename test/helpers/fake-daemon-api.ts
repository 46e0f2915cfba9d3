import type { DaemonApi, WorkerConnection, WorkerSession } from '../../src/ports/daemon-api.ts'
import type { AttemptEnd, ChildOutcome } from '../../src/ports/runtime.ts'
import type {
  DrainRequest,
  Event,
  Job,
  JobSummary,
  Peer,
  Placement,
  Ready,
  SpawnRequest,
  Status,
  SubmitRequest
} from '../../src/wire/api/schemas.ts'
import { StarlingError } from '../../src/wire/errors.ts'

const PEER = '12D3KooWAlice'
const TIME = '2026-11-22T10:00:00.000Z'

export const READY: Ready = {
  peerId: PEER,
  name: 'alice',
  socket: '/run/starling.sock',
  listen: ['/ip4/127.0.0.1/tcp/4001'],
  pid: 4711,
  version: '1.2.3'
}

export const STATUS: Status = {
  self: {
    peerId: PEER,
    name: 'alice',
    version: '1.2.3',
    pid: 4711,
    startedAt: TIME,
    listen: READY.listen,
    uptimeMs: 1
  },
  swarm: { id: '0123456789abcdef', role: 'admin' },
  discovery: { mdns: { state: 'off' } },
  peers: { alive: 1, suspect: 0, dead: 0 },
  jobs: { running: 0 },
  agents: { running: 0, paused: 0 },
  warnings: []
}

export const PLACEMENT: Placement = { chosen: PEER, reason: 'free slot', candidates: [], waitedMs: null }

export const PEER_DOCUMENT: Peer = {
  peerId: PEER,
  name: 'alice',
  self: true,
  state: 'alive',
  role: 'admin',
  capabilities: [],
  load: { running: 0, queued: 0 },
  rttMs: null,
  addresses: [],
  drain: 'no',
  asOf: TIME
}

export function jobSummary(id: string, verdict: JobSummary['verdict'] = 'completed'): JobSummary {
  return {
    id,
    capability: 'build',
    topology: 'mesh',
    verdict,
    result: verdict === 'completed' ? { done: true } : null,
    lost: [],
    tasks: { total: 1, completed: 1, failed: 0, lost: 0, cancelled: 0 },
    peers: [],
    timings: { submittedAt: TIME, lastTaskEndedAt: null, announcedAt: null, detectionMs: null }
  }
}

export function event(id: number, fields: Partial<Event> = {}): Event {
  return { specversion: '1.0', id: String(id), source: PEER, type: 'starling.test', time: TIME, ...fields }
}

/** One call of the worker session: its method and its arguments. */
export type SessionCall = readonly [method: string, ...args: unknown[]]

/** The daemon's end of one worker: what the worker has said, and the way to it. */
export class FakeSession implements WorkerSession {
  readonly worker: WorkerConnection
  readonly calls: SessionCall[] = []
  closed = false
  /** Answers a spawn; tests replace it. */
  spawned: (attemptId: string, request: SpawnRequest & { watch: boolean }) => Promise<{ taskId: string }>
  #children = 0

  constructor(worker: WorkerConnection) {
    this.worker = worker
    this.spawned = async () => ({ taskId: `job1.0.${this.#children++}` })
  }

  work(capability: string, slots: number): void {
    if (capability === 'taken') throw new StarlingError('CONFIG_INVALID', 'taken is declared as a command')
    this.calls.push(['work', capability, slots])
  }

  unwork(capability: string): void {
    this.calls.push(['unwork', capability])
  }

  spawn(attemptId: string, request: SpawnRequest & { watch: boolean }): Promise<{ taskId: string }> {
    this.calls.push(['spawn', attemptId, request])
    return this.spawned(attemptId, request)
  }

  blocked(attemptId: string, blocked: boolean): void {
    this.calls.push(['blocked', attemptId, blocked])
  }

  log(attemptId: string, line: string): void {
    this.calls.push(['log', attemptId, line])
  }

  progress(attemptId: string, fraction: number, note: string | undefined): void {
    this.calls.push(['progress', attemptId, fraction, note])
  }

  ended(attemptId: string, end: AttemptEnd): void {
    this.calls.push(['ended', attemptId, end])
  }

  close(): void {
    this.closed = true
  }

  /** Starts an attempt at the worker. */
  start(attemptId: string, capability: string, input: unknown = null, leaseLeftMs = 60_000): void {
    this.worker.start({
      attemptId,
      taskId: 'job1.0',
      jobId: 'job1',
      capability,
      input,
      attempt: 1,
      leaseLeftMs,
      fencingToken: '1',
      traceparent: '',
      timeoutMs: undefined
    })
  }

  settle(attemptId: string, taskId: string, child: Partial<ChildOutcome> = {}): void {
    this.worker.childSettled(attemptId, { taskId, outcome: 'completed', result: null, error: undefined, ...child })
  }

  /** Ends that the worker has reported for an attempt. */
  ends(attemptId: string): AttemptEnd[] {
    return this.calls.flatMap(call => (call[0] === 'ended' && call[1] === attemptId ? [call[2] as AttemptEnd] : []))
  }

  called(method: string): SessionCall[] {
    return this.calls.filter(call => call[0] === method)
  }
}

/** A daemon that answers from a script: methods can be replaced, worker sessions are kept for inspection. */
export class FakeDaemonApi implements DaemonApi {
  readonly sessions: FakeSession[] = []
  readonly stops: { now: boolean }[] = []
  readonly submissions: SubmitRequest[] = []
  readonly spawns: { readonly parent: string; readonly request: SpawnRequest }[] = []
  readonly drains: { readonly peer: string; readonly request: DrainRequest }[] = []

  ready(): Ready {
    return READY
  }

  status(): Status {
    return STATUS
  }

  peers(): ReturnType<DaemonApi['peers']> {
    return []
  }

  agents(): ReturnType<DaemonApi['agents']> {
    return []
  }

  jobs(): JobSummary[] {
    return [jobSummary('job1')]
  }

  job(id: string, items: boolean): Job {
    if (!id.startsWith('job')) throw new StarlingError('NOT_FOUND', `no job ${id}`, { hint: 'starling jobs' })
    return { ...jobSummary(id), ...(items ? { items: [] } : {}) }
  }

  async submit(request: SubmitRequest): Promise<{ id: string; existing: boolean }> {
    this.submissions.push(request)
    return { id: 'job1', existing: false }
  }

  plan(): Placement {
    return PLACEMENT
  }

  async waitForJob(id: string, options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined }) {
    if (id !== 'job-slow') return this.job(id, false)
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, options.timeoutMs ?? 60_000)
      options.signal?.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    return jobSummary(id, 'running')
  }

  async cancel(id: string): Promise<JobSummary> {
    return jobSummary(id, 'running')
  }

  drain(peer: string, request: DrainRequest): Peer {
    if (peer === 'nobody') throw new StarlingError('NOT_FOUND', 'there is no peer "nobody"')
    this.drains.push({ peer, request })
    return { ...PEER_DOCUMENT, drain: request.end ? 'no' : 'draining' }
  }

  async spawn(parent: string, request: SpawnRequest): Promise<{ taskId: string }> {
    this.spawns.push({ parent, request })
    return { taskId: 'job1.0.0' }
  }

  waitForChild(_taskId: string, childId: string, signal?: AbortSignal): Promise<ChildOutcome> {
    if (childId.endsWith('.9')) {
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
    }
    return Promise.resolve({ taskId: childId, outcome: 'completed', result: { n: 1 }, error: undefined })
  }

  async *events(_options: { sinceId?: string | undefined; signal: AbortSignal }): AsyncIterable<Event> {}

  async *logs(taskId: string, _options: { follow: boolean; signal: AbortSignal }) {
    if (!taskId.startsWith('job')) throw new StarlingError('NOT_FOUND', `no task ${taskId}`)
    yield { time: TIME, taskId, line: 'one' }
    yield { time: TIME, taskId, line: 'two' }
  }

  async createToken(): ReturnType<DaemonApi['createToken']> {
    return { token: 'starling1-abc', role: 'worker', uses: 1, expiresAt: TIME }
  }

  async join(token: string): Promise<Status> {
    if (token === 'bad') throw new StarlingError('TOKEN_REFUSED', 'the token is used up')
    return STATUS
  }

  async doctor(): ReturnType<DaemonApi['doctor']> {
    return [{ check: 'clock', state: 'ok', detail: 'in step' }]
  }

  async metrics(): Promise<string> {
    return 'starling_peers 1\n'
  }

  openSession(worker: WorkerConnection): WorkerSession {
    const session = new FakeSession(worker)
    this.sessions.push(session)
    return session
  }

  stop(options: { now: boolean }): void {
    this.stops.push(options)
  }
}

/**
 * An endless source of events, ids growing by one from after `sinceId`, that keeps the newest `kept` of those that it
 * has made. It makes one when asked, so `made` says how far its reader has got; `newest` is where it stops to wait.
 */
export async function* eventLog(
  options: { sinceId?: string | undefined; signal: AbortSignal },
  log: { newest: number; oldest?: number; data?: unknown }
): AsyncGenerator<Event> {
  let next = options.sinceId === undefined ? log.newest + 1 : Number(options.sinceId) + 1
  const oldest = log.oldest ?? 1
  if (next < oldest) {
    yield event(oldest, { type: 'starling.events.gap', data: { from: String(next) } })
    next = oldest + 1
  }
  while (!options.signal.aborted) {
    if (next <= log.newest) yield event(next++, { data: log.data })
    else await tick(options.signal)
  }
}

function tick(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, 5)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true }
    )
  })
}
