import type { TaskError } from '../core/frames.ts'

/**
 * Runs attempts of the tasks of one capability. Adapters: `command` starts a process per task, `function` hands it to
 * an SDK worker.
 */
export interface AgentRuntime {
  /** Name for display: "command", "function". */
  readonly kind: string

  /**
   * Starts one attempt. Never throws: a failure to start is reported by `handlers.ended`. `handlers` are called
   * asynchronously, never inside `start`.
   */
  start(task: TaskStart, handlers: AttemptHandlers): Attempt

  /** Kills and reaps everything that this runtime has started; resolves when nothing of it is left. Idempotent. */
  stop(): Promise<void>
}

/**
 * Ends attempts at the end of their lease from outside the daemon's event loop, for a daemon that is stopped or stuck
 * cannot (termination.md 1.6.1, A4).
 */
export interface Watchdog {
  /** What is left of the lease of each job, in milliseconds; told several times a second. A job left out has none. */
  leases(left: ReadonlyMap<string, number>): void
}

/** One attempt as its runtime sees it. */
export interface TaskStart {
  /** Unique on this daemon while the attempt lives; names it in calls from the task (spawn, log). */
  readonly attemptId: string
  readonly taskId: string
  readonly jobId: string
  readonly capability: string
  /** Parsed JSON. */
  readonly input: unknown
  /** Which try of this task it is, from 1. */
  readonly attempt: number
  /**
   * Attempt numbers from the root task down to this one, joined by dots: of two attempts of one task, the one with the
   * lower token (number by number) is superseded, and a store that remembers the highest can refuse it.
   */
  readonly fencingToken: string
  readonly traceparent: string
  /** Nothing of the attempt may execute after so long unless its lease is renewed meanwhile (see `Watchdog`). */
  readonly leaseLeftMs: number
  /** Undefined: no timeout. */
  readonly timeoutMs: number | undefined
}

export interface AttemptHandlers {
  /** One line of the task's log, without its end of line. */
  log(line: string): void
  /** Exactly once. Every process of the attempt is gone when it is called. */
  ended(end: AttemptEnd): void
}

export type AttemptEnd =
  | { readonly kind: 'completed'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: TaskError }
  /** `kill` took effect. */
  | { readonly kind: 'killed' }
  /** The executor vanished through no fault of the task (worker disconnected): the attempt may be made elsewhere. */
  | { readonly kind: 'returned'; readonly reason: string }

export interface Attempt {
  /**
   * Ends the attempt by force; `ended` follows when all its processes are gone. Idempotent. `hard`: at once, without time
   * to clean up; it may follow one that is not.
   */
  kill(reason: string, hard: boolean): void
  /** A child that the task spawned and asked to be told about has settled. */
  childSettled(child: ChildOutcome): void
}

export interface ChildOutcome {
  readonly taskId: string
  readonly outcome: 'completed' | 'failed' | 'cancelled' | 'lost'
  /** Parsed JSON; undefined when there is none. */
  readonly result: unknown
  readonly error: TaskError | undefined
}
