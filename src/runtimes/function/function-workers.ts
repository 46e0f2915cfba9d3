import { CAPABILITIES_MAX, CAPABILITY_NAME_CHARS_MAX, SLOTS_MAX, StarlingError } from '../../core/index.ts'
import type { AttemptEnd, AttemptHandlers, Clock, Logger, TaskStart, WorkerConnection } from '../../ports/index.ts'
import { clipEnd, completed, failed } from '../attempt-end.ts'
import { FunctionAttempt } from './function-attempt.ts'

/** Worker processes connected to one daemon: some per core, with room. */
export const WORKERS_MAX = 256

/** A lease is renewed once a second; to tell of it more often would tell nothing. */
const LEASES_TOLD_MS = 900

export interface FunctionWorkersInit {
  readonly clock: Clock
  readonly logger: Logger
  /**
   * The sum of the slots of all workers of `capability` is now `slots`; 0: nobody serves it any more. Called inside the
   * call that changed it, and only when it has changed.
   */
  readonly slotsChanged: (capability: string, slots: number) => void
}

/**
 * The workers that are connected to this daemon, what they serve, and the attempts that they run. All methods are
 * synchronous and none calls handlers of an attempt inside its `start`.
 */
export class FunctionWorkers {
  readonly #init: FunctionWorkersInit
  /** Slots by capability of each worker that serves something. */
  readonly #workers = new Map<WorkerConnection, Map<string, number>>()
  readonly #attempts = new Map<string, FunctionAttempt>()
  #leasesToldAt = Number.NEGATIVE_INFINITY

  constructor(init: FunctionWorkersInit) {
    this.#init = init
  }

  /**
   * `connection` serves `capability` with up to `slots` attempts at a time; again: with that many from now on.
   * @throws StarlingError LIMIT_REACHED beyond WORKERS_MAX workers, CAPABILITIES_MAX capabilities of one worker or
   * SLOTS_MAX slots of a capability; INVALID_INPUT when `slots` is no whole number from 1 on
   */
  register(connection: WorkerConnection, capability: string, slots: number): void {
    if (!Number.isSafeInteger(slots) || slots < 1) {
      throw new StarlingError('INVALID_INPUT', `slots must be a whole number from 1 to ${SLOTS_MAX}`)
    }
    const served = this.#workers.get(connection)
    if (served === undefined && this.#workers.size >= WORKERS_MAX) {
      throw limit(`${WORKERS_MAX} workers are connected already`, 'close some of them')
    }
    if (served !== undefined && !served.has(capability) && served.size >= CAPABILITIES_MAX) {
      throw limit(`a worker serves at most ${CAPABILITIES_MAX} capabilities`, 'connect another worker')
    }
    const before = this.slots(capability)
    if (before - (served?.get(capability) ?? 0) + slots > SLOTS_MAX) {
      throw limit(`a capability has at most ${SLOTS_MAX} slots on one daemon`, 'ask for fewer slots')
    }
    if (served === undefined) this.#workers.set(connection, new Map([[capability, slots]]))
    else served.set(capability, slots)
    this.#tell(capability, before)
  }

  /** No new attempts of `capability` for `connection`; its running ones go on. Idempotent. */
  unregister(connection: WorkerConnection, capability: string): void {
    const served = this.#workers.get(connection)
    if (served === undefined) return
    const before = this.slots(capability)
    served.delete(capability)
    if (served.size === 0) this.#workers.delete(connection)
    this.#tell(capability, before)
  }

  /** The worker is gone: it serves nothing, its attempts end as `returned`, aborted ones as they were meant to. Idempotent. */
  disconnect(connection: WorkerConnection): void {
    // First the slots, so that no attempt is put to this worker by what the end of another one sets off.
    for (const capability of [...(this.#workers.get(connection)?.keys() ?? [])]) this.unregister(connection, capability)
    for (const attempt of [...this.#attempts.values()]) if (attempt.connection === connection) attempt.lose()
  }

  /** Slots of `capability` over all workers. */
  slots(capability: string): number {
    let sum = 0
    for (const served of this.#workers.values()) sum += served.get(capability) ?? 0
    return sum
  }

  /**
   * The worker says that the attempt has ended. An end of an attempt that is over, unknown or another worker's is
   * ignored; so is what an aborted attempt ended with. Results are checked here: RESULT_TOO_LARGE, or TASK_FAILED when
   * they are no JSON; undefined counts as null.
   */
  ended(connection: WorkerConnection, attemptId: string, end: AttemptEnd): void {
    const attempt = this.#attemptOf(connection, attemptId, 'end')
    if (attempt === undefined) return
    if (end.kind === 'completed') attempt.end(completed(end.result))
    else if (end.kind === 'failed') {
      attempt.end(failed(clipEnd(end.error.code, CAPABILITY_NAME_CHARS_MAX), end.error.message))
    } else attempt.end(end)
  }

  /** A line of an attempt's log; bounded in length, in lines per second and in sum. */
  log(connection: WorkerConnection, attemptId: string, line: string): void {
    this.#attemptOf(connection, attemptId, 'log')?.line(line)
  }

  /** While blocked (it waits for a child) an attempt takes no slot of its worker. */
  blocked(connection: WorkerConnection, attemptId: string, blocked: boolean): void {
    this.#attemptOf(connection, attemptId, 'blocked')?.block(blocked)
  }

  /** Starts an attempt at the worker with most free slots; without one it ends as `returned`. */
  start(
    task: TaskStart,
    handlers: AttemptHandlers,
    over: (attempt: FunctionAttempt) => void
  ): FunctionAttempt | undefined {
    const connection = this.#choose(task.capability)
    if (connection === undefined || this.#attempts.has(task.attemptId)) {
      const reason = connection === undefined ? 'no worker has a free slot' : 'an attempt has this id already'
      queueMicrotask(() => handlers.ended({ kind: 'returned', reason }))
      return undefined
    }
    const attempt = new FunctionAttempt({
      task,
      connection,
      handlers,
      clock: this.#init.clock,
      over: ended => {
        this.#attempts.delete(ended.id)
        over(ended)
      }
    })
    this.#attempts.set(task.attemptId, attempt)
    queueMicrotask(() => attempt.run())
    return attempt
  }

  /** Tells each worker what is left of the leases under which it works, every LEASES_TOLD_MS at the most. */
  leases(left: ReadonlyMap<string, number>): void {
    const now = this.#init.clock.now()
    if (now - this.#leasesToldAt < LEASES_TOLD_MS) return
    this.#leasesToldAt = now
    const jobsOf = new Map<WorkerConnection, Set<string>>()
    for (const { connection, job } of this.#attempts.values()) {
      const jobs = jobsOf.get(connection) ?? new Set()
      jobsOf.set(connection, jobs.add(job))
    }
    for (const [connection, jobs] of jobsOf) {
      const leases = [...jobs].flatMap(jobId => {
        const leftMs = left.get(jobId)
        return leftMs === undefined ? [] : [{ jobId, leftMs }]
      })
      if (leases.length > 0) connection.leases(leases)
    }
  }

  #choose(capability: string): WorkerConnection | undefined {
    const occupied = new Map<WorkerConnection, number>()
    for (const attempt of this.#attempts.values()) {
      if (attempt.capability !== capability || !attempt.occupies) continue
      occupied.set(attempt.connection, (occupied.get(attempt.connection) ?? 0) + 1)
    }
    let best: WorkerConnection | undefined
    let bestFree = 0
    for (const [connection, served] of this.#workers) {
      const free = (served.get(capability) ?? 0) - (occupied.get(connection) ?? 0)
      if (free <= bestFree) continue
      best = connection
      bestFree = free
    }
    return best
  }

  #attemptOf(connection: WorkerConnection, attemptId: string, what: string): FunctionAttempt | undefined {
    const attempt = this.#attempts.get(attemptId)
    if (attempt?.connection === connection) return attempt
    this.#init.logger.debug('worker speaks of an attempt that is not its own or over', { attempt: attemptId, what })
    return undefined
  }

  #tell(capability: string, before: number): void {
    const now = this.slots(capability)
    if (now !== before) this.#init.slotsChanged(capability, now)
  }
}

function limit(message: string, hint: string): StarlingError {
  return new StarlingError('LIMIT_REACHED', message, { hint })
}
