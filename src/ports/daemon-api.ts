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
import type { AttemptHandlers, ChildOutcome, TaskStart } from './runtime.ts'

/**
 * What the daemon offers to local programs; the control server puts it on the socket. Every method rejects with a
 * StarlingError. Ids may be given as a unique prefix of at least four characters.
 */
export interface DaemonApi {
  ready(): Ready
  status(): Status
  peers(): Peer[]
  agents(): Agent[]

  jobs(): JobSummary[]
  /** With all its tasks when `items`. @throws NOT_FOUND, AMBIGUOUS_ID */
  job(id: string, items: boolean): Job

  /**
   * Resolves when the job is durable here. `existing` when its idempotency key was known.
   * @throws NO_CAPABLE_PEER, INPUT_TOO_LARGE, ID_REUSED, LIMIT_REACHED, DAEMON_STOPPING, STORAGE_FAILED
   */
  submit(request: SubmitRequest): Promise<{ id: string; existing: boolean }>
  /** Where the job's root task would go now, and why. Changes nothing. */
  plan(request: SubmitRequest): Placement
  /** Resolves with the job when it is over, or as it stands when `timeoutMs` has passed or `signal` aborts. */
  waitForJob(id: string, options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined }): Promise<Job>
  /** Asks the job to stop; it is over when `waitForJob` says so. Idempotent. */
  cancel(id: string): Promise<JobSummary>

  /**
   * Asks a peer (id, unique prefix or name; this daemon too) to take no new work, give back what has not begun and let the
   * rest end. Returns it as it is shown now; its `drain` says `drained` when nothing is left. Idempotent.
   * @throws NOT_FOUND (unknown, or no link to it), AMBIGUOUS_ID, DENIED (only admins may ask others)
   */
  drain(peer: string, request: DrainRequest): Peer

  /** Adds a child to the attempt that runs here for this task id. @throws NOT_FOUND, TASK_ENDED, NO_CAPABLE_PEER, LIMIT_REACHED */
  spawn(taskId: string, request: SpawnRequest): Promise<{ taskId: string }>
  /** Resolves when the child (spawned by an attempt that runs here) has settled; its parent's slot is free meanwhile. */
  waitForChild(taskId: string, childId: string, signal?: AbortSignal): Promise<ChildOutcome>

  /** Events after `sinceId`, then live ones. First item is a gap event when older ones are no longer kept. */
  events(options: { sinceId?: string | undefined; signal: AbortSignal }): AsyncIterable<Event>
  /** Log of a task that ran or runs here. Ends when the task has ended, or after what there is when not `follow`. */
  logs(taskId: string, options: { follow: boolean; signal: AbortSignal }): AsyncIterable<LogLine>

  createToken(request: TokenRequest): Promise<Token>
  /** Joins the swarm of the token. @throws TOKEN_REFUSED, ALREADY_MEMBER, TIMED_OUT */
  join(token: string): Promise<Status>

  doctor(): Promise<Finding[]>
  /** Prometheus text. */
  metrics(): Promise<string>

  /** Connects a worker process; the control server calls it for each `/v1/session`. */
  openSession(worker: WorkerConnection): WorkerSession

  /** Begins to stop; the socket goes away when it is done. */
  stop(options: { now: boolean }): void
}

/** The daemon's way to one connected SDK worker. Never throws; calls after the connection is gone do nothing. */
export interface WorkerConnection {
  start(task: TaskStart): void
  abort(attemptId: string, reason: string): void
  /** What is left of the leases of its jobs; the worker keeps the time itself, for the daemon may be stopped by then. */
  leases(leases: readonly { readonly jobId: string; readonly leftMs: number }[]): void
  childSettled(attemptId: string, child: ChildOutcome): void
}

/** One connected SDK worker's way to the daemon. */
export interface WorkerSession {
  /** @throws LIMIT_REACHED, CONFIG-declared capability of another runtime: CONFIG_INVALID */
  work(capability: string, slots: number): void
  unwork(capability: string): void
  spawn(attemptId: string, request: SpawnRequest & { watch: boolean }): Promise<{ taskId: string }>
  blocked(attemptId: string, blocked: boolean): void
  log(attemptId: string, line: string): void
  progress(attemptId: string, fraction: number, note: string | undefined): void
  ended(attemptId: string, end: Parameters<AttemptHandlers['ended']>[0]): void
  /** The connection is gone: its attempts are taken back. Idempotent. */
  close(): void
}
