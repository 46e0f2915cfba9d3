import type { Event, Job } from '../wire/api/schemas.ts'
import { StarlingError } from '../wire/errors.ts'
import type { DaemonClient } from './daemon-client.ts'

/** Pauses between attempts to reach a daemon that is away; a job outlives the restart of its daemon. */
const RETRY_FIRST_MS = 50
const RETRY_LAST_MS = 2_000

/** Time for the last events of a job that is over to arrive. */
const LAST_EVENTS_MS = 1_000

/** Position before the first event. */
const FIRST_EVENT = '0'

/** Type of the event that says that a job is over, everywhere. Its subject is the job's id. */
const ANNOUNCED = 'starling.job.announced'

/** A job that was submitted at this daemon. It goes on without this object. */
export class MeshJob {
  readonly id: string
  /** The idempotency key was known: the job had been submitted before. */
  readonly existing: boolean
  readonly #client: DaemonClient
  /** Aborts when the mesh is closed. */
  readonly #closed: AbortSignal
  #completion: Promise<Job> | undefined

  constructor(client: DaemonClient, job: { id: string; existing: boolean }, closed: AbortSignal) {
    this.#client = client
    this.id = job.id
    this.existing = job.existing
    this.#closed = closed
  }

  /** The job as it stands. */
  status(): Promise<Job> {
    return this.#client.job(this.id)
  }

  /**
   * Resolves once, when everything that belongs to the job is over on every host, whatever its verdict. Outlasts restarts
   * of the daemon. @throws StarlingError NOT_FOUND when the daemon does not know the job; DAEMON_NOT_RUNNING when the
   * mesh is closed.
   */
  completion(): Promise<Job> {
    this.#completion ??= this.#complete()
    return this.#completion
  }

  /** Asks the job to stop; it is over when `completion` resolves. Idempotent. */
  async cancel(): Promise<void> {
    await this.#client.cancel(this.id)
  }

  /**
   * Events of this job that the daemon still has, then live ones until it is over.
   * @throws StarlingError DAEMON_NOT_RUNNING when the daemon goes away.
   */
  async *events(options: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<Event, void, undefined> {
    const over = new AbortController()
    const signals = [over.signal, this.#closed, ...(options.signal === undefined ? [] : [options.signal])]
    const end = () => over.abort()
    let timer: NodeJS.Timeout | undefined
    // The announcement may have been dropped from the daemon's memory of events; the job itself is not.
    this.completion().then(() => {
      timer = setTimeout(end, LAST_EVENTS_MS)
    }, end)
    try {
      for await (const event of this.#client.events({ sinceId: FIRST_EVENT, signal: AbortSignal.any(signals) })) {
        if (!this.#owns(event)) continue
        yield event
        if (event.type === ANNOUNCED) return
      }
    } finally {
      clearTimeout(timer)
    }
  }

  #owns(event: Event): boolean {
    return event.subject === this.id || event.subject?.startsWith(`${this.id}.`) === true
  }

  async #complete(): Promise<Job> {
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(2 * delayMs, RETRY_LAST_MS)) {
      try {
        return await this.#client.waitForJob(this.id)
      } catch (error) {
        const away =
          error instanceof StarlingError && (error.code === 'DAEMON_NOT_RUNNING' || error.code === 'DAEMON_STOPPING')
        if (!away || this.#closed.aborted) throw error
        await new Promise(resolve => setTimeout(resolve, delayMs))
      }
    }
  }
}
