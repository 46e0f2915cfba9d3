import type { ChildOutcome } from '../ports/runtime.ts'
import {
  ERROR_MESSAGE_CHARS_MAX,
  INPUT_BYTES_MAX,
  LOG_LINE_CHARS_MAX,
  PROGRESS_NOTE_CHARS_MAX,
  RESULT_BYTES_MAX,
  TEXT_QUOTES_BYTES
} from '../wire/api/limits.ts'
import type { PolicyRequest } from '../wire/api/schemas.ts'
import type { DaemonMessage, WorkerMessage } from '../wire/api/session.ts'
import { type ErrorCode, isErrorCode, StarlingError } from '../wire/errors.ts'

/** The task that a handler is called with. `Input` is what the caller says it is: check what comes from elsewhere. */
export interface WorkerTask<Input = unknown> {
  readonly taskId: string
  readonly jobId: string
  readonly capability: string
  readonly input: Input
  /** Which try of this task it is, from 1. */
  readonly attempt: number
}

/** What a handler may do while it runs. */
export interface WorkerContext<Input = unknown> {
  readonly task: WorkerTask<Input>
  readonly attempt: number
  /**
   * Attempt numbers from the root task down to this one, joined by dots. Hand it to a store that this task writes to: of
   * two attempts of one task, the one with the lower token (compared number by number) is superseded, and a store that
   * remembers the highest can refuse it, although its process may still run somewhere.
   */
  readonly fencingToken: string
  /** Aborts when the task is cancelled or taken back, or when the daemon is gone. Nothing that is sent then counts. */
  readonly signal: AbortSignal
  /**
   * Adds a child task, which may run anywhere in the pool; resolves when it is accepted. The job is over only after the
   * child is. `options` say what is done about it when it fails, is lost or takes too long.
   * @throws StarlingError TASK_ENDED after the handler has returned, the signal's reason after it has aborted,
   *   NO_CAPABLE_PEER, INPUT_TOO_LARGE, INVALID_INPUT, LIMIT_REACHED
   */
  spawn(capability: string, input?: unknown, options?: PolicyRequest): Promise<ChildTask>
  /** Adds to the task's log; each line of `text` is cut at LOG_LINE_CHARS_MAX. Best effort: a flood is dropped. */
  log(text: string): void
  /** Reports how far the task is, from 0 to 1. @throws StarlingError INVALID_INPUT when it is no number. */
  progress(fraction: number, note?: string): void
}

export interface ChildTask {
  readonly taskId: string
  /**
   * Resolves with the child's result, whenever it has settled; the slot of this task is free while it waits.
   * @throws StarlingError with the child's code: TASK_FAILED, TASK_TIMEOUT, TASK_LOST, TASK_CANCELLED, ...; TASK_ENDED
   *   after this task's handler has returned
   */
  result<Result = unknown>(): Promise<Result>
}

/** Does the work of one task. What it resolves with is the task's result: JSON, or nothing for null. */
export type WorkHandler<Input = unknown> = (task: WorkerTask<Input>, context: WorkerContext<Input>) => unknown

/** The way of one attempt to the daemon; dead for good once its session is. */
export interface AttemptChannel {
  send(message: WorkerMessage): void
  /** Sends unless too much waits already. */
  sendLossy(message: WorkerMessage): void
  spawn(message: Omit<Extract<WorkerMessage, { kind: 'spawn' }>, 'kind' | 'ref'>): Promise<string>
}

type Start = Extract<DaemonMessage, { kind: 'start' }>['task']
type Outcome = Extract<WorkerMessage, { kind: 'ended' }>['outcome']

interface Waiter {
  resolve(result: unknown): void
  reject(error: unknown): void
}

/**
 * One attempt of one task in this process. Outcomes of its children are kept until it ends, since a handler may ask for
 * them late or twice; they are bounded by the children of one task and the size of a result.
 */
export class WorkerAttempt {
  readonly #start: Start
  readonly #handler: WorkHandler
  readonly #channel: AttemptChannel
  readonly #controller = new AbortController()
  readonly #spawns = new Set<Promise<unknown>>()
  readonly #outcomes = new Map<string, ChildOutcome>()
  readonly #waiters = new Map<string, Waiter[]>()
  #waiting = 0
  #ended = false

  constructor(start: Start, handler: WorkHandler, channel: AttemptChannel) {
    this.#start = start
    this.#handler = handler
    this.#channel = channel
  }

  get jobId(): string {
    return this.#start.jobId
  }

  /** Calls the handler and reports its end. Never rejects. */
  async run(): Promise<void> {
    const outcome = await this.#work()
    this.#ended = true
    this.#rejectWaiters(ended())
    // A child that the handler has not waited for must be accepted before its parent ends.
    await Promise.allSettled(this.#spawns)
    this.#outcomes.clear()
    this.#channel.send({ kind: 'ended', attemptId: this.#start.attemptId, outcome })
  }

  /** The attempt is over for the daemon, or the daemon for the attempt. */
  abort(reason: StarlingError): void {
    this.#controller.abort(reason)
    this.#rejectWaiters(reason)
  }

  childSettled(child: ChildOutcome): void {
    if (this.#ended) return
    this.#outcomes.set(child.taskId, child)
    const waiters = this.#waiters.get(child.taskId) ?? []
    this.#waiters.delete(child.taskId)
    for (const waiter of waiters) settle(waiter, child)
    this.#waitsChanged(-waiters.length)
  }

  async #work(): Promise<Outcome> {
    const { taskId, jobId, capability, input, attempt, fencingToken } = this.#start
    const task = Object.freeze({ taskId, jobId, capability, input, attempt })
    const context: WorkerContext = {
      task,
      attempt,
      fencingToken,
      signal: this.#controller.signal,
      spawn: (name, childInput, options) => this.#spawn(name, childInput, options),
      log: text => this.#log(text),
      progress: (fraction, note) => this.#progress(fraction, note)
    }
    try {
      return completed(await this.#handler(task, context))
    } catch (error) {
      if (error instanceof Error && error.stack !== undefined) this.#log(error.stack)
      return failed(error)
    }
  }

  async #spawn(capability: string, input: unknown, options: PolicyRequest = {}): Promise<ChildTask> {
    this.#checkRunning()
    const { attemptId } = this.#start
    const { exclusive, retry, deadlineMs } = options
    const policy = { exclusive, retry, deadlineMs }
    const accepted = this.#channel.spawn({ attemptId, capability, input: checkedInput(input), ...policy, watch: true })
    this.#spawns.add(accepted)
    try {
      const taskId = await accepted
      return { taskId, result: <Result>() => this.#result(taskId) as Promise<Result> }
    } finally {
      this.#spawns.delete(accepted)
    }
  }

  #result(taskId: string): Promise<unknown> {
    const result = new Promise<unknown>((resolve, reject) => {
      this.#checkRunning()
      const child = this.#outcomes.get(taskId)
      if (child !== undefined) return settle({ resolve, reject }, child)
      const waiters = this.#waiters.get(taskId) ?? []
      waiters.push({ resolve, reject })
      this.#waiters.set(taskId, waiters)
      this.#waitsChanged(1)
    })
    // Whoever awaits it sees the rejection; a handler that has stopped to wait must not bring its process down.
    result.catch(() => undefined)
    return result
  }

  /** Tells the daemon when the first wait begins and when the last one ends: its slot is free meanwhile. */
  #waitsChanged(change: number): void {
    const before = this.#waiting
    this.#waiting += change
    if (this.#ended || before > 0 === this.#waiting > 0) return
    this.#channel.send({ kind: 'blocked', attemptId: this.#start.attemptId, blocked: this.#waiting > 0 })
  }

  #rejectWaiters(reason: StarlingError): void {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(reason)
    this.#waiters.clear()
    this.#waitsChanged(-this.#waiting)
  }

  #log(text: string): void {
    if (this.#ended) return
    for (const line of text.split(/\r?\n/)) {
      this.#channel.sendLossy({
        kind: 'log',
        attemptId: this.#start.attemptId,
        line: line.slice(0, LOG_LINE_CHARS_MAX)
      })
    }
  }

  #progress(fraction: number, note: string | undefined): void {
    if (!Number.isFinite(fraction)) throw new StarlingError('INVALID_INPUT', 'progress takes a number from 0 to 1')
    if (this.#ended) return
    this.#channel.sendLossy({
      kind: 'progress',
      attemptId: this.#start.attemptId,
      fraction: Math.min(1, Math.max(0, fraction)),
      note: note?.slice(0, PROGRESS_NOTE_CHARS_MAX)
    })
  }

  #checkRunning(): void {
    if (this.#ended) throw ended()
    this.#controller.signal.throwIfAborted()
  }
}

function ended(): StarlingError {
  return new StarlingError('TASK_ENDED', 'the task has ended: its handler has returned', {
    hint: 'await what the handler starts before it returns'
  })
}

function settle(waiter: Waiter, child: ChildOutcome): void {
  if (child.outcome === 'completed') waiter.resolve(child.result ?? null)
  else waiter.reject(childError(child))
}

const OUTCOME_CODES = { failed: 'TASK_FAILED', cancelled: 'TASK_CANCELLED', lost: 'TASK_LOST' } as const

function childError(child: ChildOutcome): StarlingError {
  if (child.outcome === 'completed') return new StarlingError('INTERNAL', 'a completed child is no error')
  const code = child.error?.code
  const known: ErrorCode = code !== undefined && isErrorCode(code) ? code : OUTCOME_CODES[child.outcome]
  return new StarlingError(known, child.error?.message ?? `task ${child.taskId} ended as ${child.outcome}`)
}

function completed(value: unknown): Outcome {
  if (value === undefined) return { kind: 'completed', result: null }
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    return failed(new StarlingError('TASK_FAILED', `the handler's result is no JSON: ${messageOf(error)}`))
  }
  if (text === undefined) {
    return failed(new StarlingError('TASK_FAILED', `the handler's result is no JSON: it is a ${typeof value}`))
  }
  const length = Buffer.byteLength(text)
  if (length <= RESULT_BYTES_MAX) return { kind: 'completed', result: value }
  return failed(new StarlingError('RESULT_TOO_LARGE', `the result is ${length} bytes, more than ${RESULT_BYTES_MAX}`))
}

function failed(error: unknown): Outcome {
  const code = error instanceof StarlingError ? error.code : 'TASK_FAILED'
  return { kind: 'failed', error: { code, message: messageOf(error).slice(0, ERROR_MESSAGE_CHARS_MAX) } }
}

/** @throws StarlingError INVALID_INPUT, INPUT_TOO_LARGE */
function checkedInput(input: unknown): unknown {
  if (input === undefined) return null
  let text: string | undefined
  try {
    text = JSON.stringify(input)
  } catch (error) {
    throw new StarlingError('INVALID_INPUT', `the input is no JSON: ${messageOf(error)}`, { cause: error })
  }
  if (text === undefined) throw new StarlingError('INVALID_INPUT', `the input is no JSON: it is a ${typeof input}`)
  const quotes = typeof input === 'string' ? TEXT_QUOTES_BYTES : 0
  if (Buffer.byteLength(text) - quotes > INPUT_BYTES_MAX) {
    throw new StarlingError('INPUT_TOO_LARGE', `the input is longer than ${INPUT_BYTES_MAX} bytes`, {
      hint: 'pass a path or a reference instead of the data'
    })
  }
  return input
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
