import { availableParallelism } from 'node:os'
import type { Logger } from '../ports/logger.ts'
import type { Agent, DrainRequest, Event, Peer, PolicyRequest } from '../wire/api/schemas.ts'
import type { WorkHandler } from './attempt.ts'
import { DaemonClient } from './daemon-client.ts'
import { MeshJob } from './job.ts'
import { WorkerLink } from './worker-link.ts'

export interface ConnectOptions {
  /** Path of the daemon's control socket. @default the socket of this user's daemon */
  readonly socket?: string | undefined
  /** Gets what a long-lived worker has to say. @default warnings and errors become process warnings */
  readonly logger?: Logger | undefined
}

export interface WorkOptions {
  /** Tasks of the capability that this process works on at a time. @default the number of CPU cores */
  readonly slots?: number | undefined
}

/**
 * What is done about a task that fails, is lost with its host, or takes too long. It is for that task alone, not for its
 * children. A task whose host is lost is tried again elsewhere without being asked to, unless it is `exclusive`: then only
 * when the lost host can no more be running it.
 */
export type TaskOptions = PolicyRequest

/** `exclusive`, `retry` and `deadlineMs` are about the job's root task; a deadline of it ends the whole job. */
export interface SubmitOptions extends TaskOptions {
  /** Makes the submission idempotent: the same id and the same submission give the same job. */
  readonly id?: string | undefined
  /** Id, unique prefix or name of the only peer that may run the job's root task. */
  readonly on?: string | undefined
}

/** Connects to this machine's daemon. @throws DaemonNotRunningError; StarlingError DENIED, HOME_UNUSABLE */
export async function connect(options: ConnectOptions = {}): Promise<Mesh> {
  const client = new DaemonClient({ socketPath: options.socket })
  try {
    await client.version()
  } catch (error) {
    client.close()
    throw error
  }
  return new Mesh(client, options.logger ?? processWarnings)
}

/** The pool, through this machine's daemon. Methods reject with a StarlingError as `DaemonClient` says. */
export class Mesh {
  readonly #client: DaemonClient
  readonly #worker: WorkerLink
  readonly #closed = new AbortController()

  /** Use `connect`. */
  constructor(client: DaemonClient, logger: Logger) {
    this.#client = client
    this.#worker = new WorkerLink({ socketPath: client.socketPath, logger })
  }

  /**
   * Makes this process serve `capability`; resolves when the daemon offers it to the pool. It goes on until `close`, also
   * over restarts of the daemon, and keeps the process alive. A handler that throws fails its task.
   * @throws StarlingError INVALID_INPUT, LIMIT_REACHED, CONFIG_INVALID, DAEMON_NOT_RUNNING: then it is not served
   */
  work<Input = unknown>(capability: string, handler: WorkHandler<Input>, options: WorkOptions = {}): Promise<void> {
    return this.#worker.work(capability, handler as WorkHandler, options.slots ?? availableParallelism())
  }

  /**
   * Submits a job; resolves when it is durable.
   * @throws StarlingError NO_CAPABLE_PEER, INPUT_TOO_LARGE, ID_REUSED, LIMIT_REACHED; INVALID_INPUT for options out of range
   */
  async submit(capability: string, input: unknown = null, options: SubmitOptions = {}): Promise<MeshJob> {
    return this.#job(await this.#client.submit({ ...options, capability, input }))
  }

  /** A job that was submitted at this daemon, by its id or a unique prefix. @throws NOT_FOUND, AMBIGUOUS_ID */
  async job(id: string): Promise<MeshJob> {
    const job = await this.#client.job(id)
    return this.#job({ id: job.id, existing: true })
  }

  peers(): Promise<Peer[]> {
    return this.#client.peers()
  }

  /**
   * Asks a peer (its name, id, or a unique prefix of it; this machine too) to take no new work and to let what runs there
   * end; what still runs after `deadlineMs` is moved to other hosts. Until `end` is asked for, or its daemon is started
   * again. Resolves with the peer as it is seen now; `peers` shows it as `drained` when nothing is left there. Idempotent.
   * @throws StarlingError NOT_FOUND (unknown, or no link to it), AMBIGUOUS_ID, DENIED (only admins may ask others)
   */
  drain(peer: string, options: DrainRequest = {}): Promise<Peer> {
    return this.#client.drain(peer, options)
  }

  /** Agents that run on this daemon. */
  agents(): Promise<Agent[]> {
    return this.#client.agents()
  }

  /** Events of the daemon after `sinceId`, then live ones, until `signal` aborts. @throws DAEMON_NOT_RUNNING */
  events(options: { sinceId?: string | undefined; signal?: AbortSignal | undefined } = {}): AsyncIterable<Event> {
    return this.#client.events(options)
  }

  /**
   * Leaves: what this process works on is aborted and done by others, what waits rejects. Jobs go on. Idempotent.
   */
  async close(): Promise<void> {
    this.#closed.abort()
    this.#worker.close()
    this.#client.close()
  }

  #job(job: { id: string; existing: boolean }): MeshJob {
    return new MeshJob(this.#client, job, this.#closed.signal)
  }
}

const processWarnings: Logger = {
  error: (message, fields) => warn(message, fields),
  warn: (message, fields) => warn(message, fields),
  info() {},
  debug() {},
  child: () => processWarnings
}

function warn(message: string, fields: Record<string, unknown> = {}): void {
  process.emitWarning(`${message} ${JSON.stringify(fields)}`, { type: 'StarlingWarning' })
}
