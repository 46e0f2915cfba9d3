import { setTimeout } from 'node:timers/promises'
import type { ChildOutcome } from '../ports/runtime.ts'
import { WAIT_MS_MAX } from '../wire/api/limits.ts'
import type {
  Agent,
  DrainRequest,
  Event,
  Finding,
  Job,
  JobSummary,
  LogLine,
  Peer,
  Placement,
  Ready,
  SpawnRequest,
  Status,
  SubmitRequest,
  Token,
  TokenRequest
} from '../wire/api/schemas.ts'
import { HttpConnection, type RequestOptions } from './http-connection.ts'
import { socketPath } from './socket-path.ts'
import { eventStream } from './sse.ts'

/** Pause before a wait is asked for again: a daemon that stops ends its waits early, and must not be asked in a loop. */
const ASK_AGAIN_MS = 50

/** Pause before a stream that broke off without an event is opened again, so that a failing one is no busy loop. */
const REOPEN_MS = 200

export interface DaemonClientInit {
  /** Path of the control socket. @default the socket of this user's daemon (`socketPath()`) */
  readonly socketPath?: string | undefined
}

export interface WaitOptions {
  /** Rejects with the signal's reason when it aborts; what is waited for goes on. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Typed calls to one daemon over its control socket. Connections are made when needed and kept; an idle client does not
 * keep its process alive.
 *
 * Every method rejects with a StarlingError: DAEMON_NOT_RUNNING when nobody listens or the daemon goes away before it
 * has answered, DENIED when the socket belongs to another user, else the code and hint of the daemon's problem. Ids may
 * be given as a unique prefix of at least four characters. Objects that are answered carry `apiVersion` and `kind` too.
 */
export class DaemonClient {
  readonly socketPath: string
  readonly #http: HttpConnection

  /** @throws StarlingError HOME_UNUSABLE when no path is given and the environment names none. */
  constructor(init: DaemonClientInit = {}) {
    this.socketPath = init.socketPath ?? socketPath()
    this.#http = new HttpConnection(this.socketPath)
  }

  version(): Promise<{ version: string; apiVersions: string[] }> {
    return this.#get('/version')
  }

  ready(): Promise<Ready> {
    return this.#get('/v1/ready')
  }

  status(): Promise<Status> {
    return this.#get('/v1/status')
  }

  async peers(): Promise<Peer[]> {
    return (await this.#get<{ items: Peer[] }>('/v1/peers')).items
  }

  async agents(): Promise<Agent[]> {
    return (await this.#get<{ items: Agent[] }>('/v1/agents')).items
  }

  /** Running jobs and those that are still remembered, newest first, without their results. */
  async jobs(): Promise<JobSummary[]> {
    return (await this.#get<{ items: JobSummary[] }>('/v1/jobs')).items
  }

  /** @throws NOT_FOUND, AMBIGUOUS_ID */
  job(id: string, options: { items?: boolean | undefined } = {}): Promise<Job> {
    return this.#get(`/v1/jobs/${segment(id)}${query({ items: options.items ? '1' : undefined })}`)
  }

  /**
   * Resolves when the job is durable at the daemon. Idempotent only with an `id`: then `existing` says that it was there.
   * @throws NO_CAPABLE_PEER, INPUT_TOO_LARGE, ID_REUSED, LIMIT_REACHED, DAEMON_STOPPING, STORAGE_FAILED
   */
  submit(request: SubmitRequest): Promise<{ id: string; existing: boolean }> {
    return this.#post('/v1/jobs', request)
  }

  /** Where the job's root task would go now, and why. Changes nothing. */
  plan(request: SubmitRequest): Promise<Placement> {
    return this.#post('/v1/plan', request)
  }

  /**
   * Resolves with the job when it is over, or as it stands (verdict `running`) when `timeoutMs` has passed.
   * @throws NOT_FOUND, AMBIGUOUS_ID, LIMIT_REACHED
   */
  async waitForJob(id: string, options: WaitOptions & { timeoutMs?: number | undefined } = {}): Promise<Job> {
    const end = performance.now() + (options.timeoutMs ?? Number.POSITIVE_INFINITY)
    for (;;) {
      const left = Math.max(0, end - performance.now())
      const path = `/v1/jobs/${segment(id)}${query({ wait: wait(left) })}`
      const job = await this.#get<Job>(path, { signal: options.signal })
      if (job.verdict !== 'running' || performance.now() >= end) return job
      await pause(Math.min(ASK_AGAIN_MS, left), options.signal)
    }
  }

  /** Asks the job to stop; it is over when `waitForJob` says so. Idempotent. */
  cancel(id: string): Promise<JobSummary> {
    return this.#post(`/v1/jobs/${segment(id)}/cancel`, undefined)
  }

  /**
   * Asks a peer (id, unique prefix or name; the daemon itself too) to take no new work, to give back what has not begun,
   * and to let the rest end; what still runs after `deadlineMs` is moved to other hosts. With `end` it takes work again.
   * Resolves as soon as it is asked, with the peer as it is seen now: its `drain` becomes `drained` when nothing is left
   * on it, which `peers` shows. Idempotent.
   * @throws NOT_FOUND (unknown, or no link to it), AMBIGUOUS_ID, DENIED (only admins may ask others), INVALID_INPUT
   */
  drain(peer: string, request: DrainRequest = {}): Promise<Peer> {
    return this.#post(`/v1/peers/${segment(peer)}/drain`, request)
  }

  /** Adds a child to the task that runs at this daemon. @throws NOT_FOUND, TASK_ENDED, NO_CAPABLE_PEER, LIMIT_REACHED */
  spawn(taskId: string, request: SpawnRequest): Promise<{ taskId: string }> {
    return this.#post(`/v1/tasks/${segment(taskId)}/children`, request)
  }

  /** Resolves when the child has settled, whatever its outcome; its parent's slot is free meanwhile. @throws NOT_FOUND */
  async waitForChild(taskId: string, childId: string, options: WaitOptions = {}): Promise<ChildOutcome> {
    const path = `/v1/tasks/${segment(taskId)}/children/${segment(childId)}${query({ wait: wait(WAIT_MS_MAX) })}`
    for (;;) {
      const child = await this.#get<Child>(path, { signal: options.signal })
      const { outcome, result, error } = child
      if (outcome !== null) return { taskId: child.taskId, outcome, result, error }
      await pause(ASK_AGAIN_MS, options.signal)
    }
  }

  /**
   * Events after `sinceId`, then live ones, for ever; without it only live ones. When the daemon cuts a reader that is
   * too slow, the stream is taken up again where it was; the daemon then reports what is lost as an event.
   * Ends when `signal` aborts. @throws DAEMON_NOT_RUNNING when the daemon goes away.
   */
  async *events(options: WaitOptions & { sinceId?: string | undefined } = {}): AsyncGenerator<Event, void, undefined> {
    let lastId = options.sinceId
    while (options.signal?.aborted !== true) {
      const headers: Record<string, string> = lastId === undefined ? {} : { 'last-event-id': lastId }
      const before = lastId
      for await (const message of eventStream(this.#http, '/v1/events', { signal: options.signal, headers })) {
        lastId = message.id ?? lastId
        yield JSON.parse(message.data) as Event
      }
      if (lastId === before) await pause(REOPEN_MS, options.signal)
    }
  }

  /**
   * Log of a task that ran or runs at this daemon: what there is, then with `follow` live until the task has ended.
   * Ends early when `signal` aborts. @throws NOT_FOUND; DAEMON_NOT_RUNNING when the daemon goes away.
   */
  async *logs(
    taskId: string,
    options: WaitOptions & { follow?: boolean | undefined } = {}
  ): AsyncGenerator<LogLine, void, undefined> {
    const path = `/v1/tasks/${segment(taskId)}/logs${query({ follow: options.follow ? '1' : undefined })}`
    for await (const message of eventStream(this.#http, path, { signal: options.signal, endRequired: true })) {
      yield JSON.parse(message.data) as LogLine
    }
  }

  createToken(request: TokenRequest = {}): Promise<Token> {
    return this.#post('/v1/tokens', request)
  }

  /** Joins the swarm of the token; resolves when the daemon is a member. @throws TOKEN_REFUSED, ALREADY_MEMBER, TIMED_OUT */
  join(token: string): Promise<Status> {
    return this.#post('/v1/join', { token })
  }

  async doctor(): Promise<Finding[]> {
    return (await this.#get<{ items: Finding[] }>('/v1/doctor')).items
  }

  /** The daemon's figures in the text format of Prometheus. */
  metrics(): Promise<string> {
    return this.#http.text('/metrics')
  }

  /** Resolves when the daemon has begun to stop; its socket goes away when it is done. */
  async stop(options: { now?: boolean | undefined } = {}): Promise<void> {
    await this.#post('/v1/stop', { now: options.now ?? false })
  }

  /** Closes all connections; calls that wait reject with DAEMON_NOT_RUNNING. Idempotent. */
  close(): void {
    this.#http.close()
  }

  #get<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.#http.request('GET', path, options) as Promise<T>
  }

  #post<T>(path: string, body: unknown): Promise<T> {
    return this.#http.request('POST', path, { body: body ?? {} }) as Promise<T>
  }
}

/** Answer about a child: `outcome` is null while it has not settled. */
type Child = Omit<ChildOutcome, 'outcome'> & { outcome: ChildOutcome['outcome'] | null }

function segment(id: string): string {
  return encodeURIComponent(id)
}

function wait(ms: number): string {
  return `${Math.ceil(Math.min(ms, WAIT_MS_MAX))}ms`
}

function query(values: Record<string, string | undefined>): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value !== undefined) parameters.set(name, value)
  return parameters.size === 0 ? '' : `?${parameters}`
}

/** Resolves after `ms`, or at once when `signal` aborts. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch((error: unknown) => {
    if (signal?.aborted !== true) throw error
  })
}
