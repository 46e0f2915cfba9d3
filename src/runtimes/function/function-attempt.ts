import type {
  Attempt,
  AttemptEnd,
  AttemptHandlers,
  ChildOutcome,
  Clock,
  TaskStart,
  Timer,
  WorkerConnection
} from '../../ports/index.ts'
import { timedOut } from '../attempt-end.ts'
import { AttemptLog } from '../attempt-log.ts'

/** How long a worker may take to end an aborted attempt; then it is over for the daemon, whatever the worker does. */
export const ABORT_GRACE_MS = 2_000

export interface FunctionAttemptInit {
  readonly task: TaskStart
  readonly connection: WorkerConnection
  readonly handlers: AttemptHandlers
  readonly clock: Clock
  /** Called once, before `handlers.ended`. */
  readonly over: (attempt: FunctionAttempt) => void
}

/**
 * One attempt at a worker. Waiting (`end` undefined), then aborting (`#aborted` says how it will end), then over; only
 * the first end counts.
 */
export class FunctionAttempt implements Attempt {
  readonly #init: FunctionAttemptInit
  readonly #log: AttemptLog
  #started = false
  #over = false
  #blocked = false
  /** How it ends when the worker has ended it or the grace is over. */
  #aborted: AttemptEnd | undefined
  #timer: Timer | undefined

  constructor(init: FunctionAttemptInit) {
    this.#init = init
    this.#log = new AttemptLog(init.clock, line => init.handlers.log(line))
  }

  get id(): string {
    return this.#init.task.attemptId
  }

  get job(): string {
    return this.#init.task.jobId
  }

  get capability(): string {
    return this.#init.task.capability
  }

  get connection(): WorkerConnection {
    return this.#init.connection
  }

  /** Takes one of its worker's slots now. */
  get occupies(): boolean {
    return !this.#over && !this.#blocked
  }

  get over(): boolean {
    return this.#over
  }

  /** Hands the task to the worker. Not to be called inside the caller's `start`. */
  run(): void {
    if (this.#over) return
    if (this.#aborted !== undefined) {
      this.#finish(this.#aborted)
      return
    }
    const { task, connection, clock } = this.#init
    this.#started = true
    if (task.timeoutMs !== undefined) {
      const timeoutMs = task.timeoutMs
      this.#timer = clock.after(timeoutMs, () =>
        this.#abort('the task ran longer than its timeout', timedOut(timeoutMs))
      )
    }
    connection.start(task)
  }

  kill(reason: string): void {
    this.#abort(reason, { kind: 'killed' })
  }

  childSettled(child: ChildOutcome): void {
    if (this.#started && !this.#over) this.#init.connection.childSettled(this.id, child)
  }

  /** The worker waits for a child of this attempt, or goes on. */
  block(blocked: boolean): void {
    this.#blocked = blocked
  }

  line(line: string): void {
    if (!this.#over) this.#log.line(line)
  }

  /** The worker has ended it: with `end`, unless it had been aborted before. */
  end(end: AttemptEnd): void {
    this.#finish(this.#aborted ?? end)
  }

  /** The worker is gone. */
  lose(): void {
    this.#finish(this.#aborted ?? { kind: 'returned', reason: 'the worker has disconnected' })
  }

  #abort(reason: string, end: AttemptEnd): void {
    if (this.#over || this.#aborted !== undefined) return
    this.#aborted = end
    // Not handed over yet: `run` ends it.
    if (!this.#started) return
    this.#timer?.cancel()
    this.#timer = this.#init.clock.after(ABORT_GRACE_MS, () => this.#finish(end))
    this.#init.connection.abort(this.id, reason)
  }

  #finish(end: AttemptEnd): void {
    if (this.#over) return
    this.#log.end()
    this.#over = true
    this.#timer?.cancel()
    this.#init.over(this)
    this.#init.handlers.ended(end)
  }
}
