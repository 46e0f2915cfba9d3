import { createHash } from 'node:crypto'
import {
  type BodyEnd,
  ERROR_MESSAGE_CHARS_MAX,
  type JobId,
  type NodeEffect,
  type ObligationId,
  RECORD_RESULT_BYTES_MAX,
  RESULT_BYTES_MAX,
  StarlingError,
  type TaskError,
  taskId
} from '../core/index.ts'
import type { AgentRuntime, Attempt, AttemptEnd, ChildOutcome } from '../ports/index.ts'
import type { Agent } from '../wire/api/index.ts'
import { fromBytes, toBytes } from './json-bytes.ts'
import type { TaskLogs } from './task-logs.ts'

/** Bytes of children's results kept for one attempt, which may ask for them late and again; beyond it they can only be watched live. */
export const CHILD_RESULTS_BYTES_MAX = 16 * 1024 * 1024

/** How a capability is run on this host. */
export interface ServedCapability {
  readonly runtime: AgentRuntime
  readonly timeoutMs: number | undefined
}

export interface AttemptsInit {
  readonly served: (capability: string) => ServedCapability | undefined
  readonly logs: TaskLogs
  readonly ended: (job: JobId, obligation: ObligationId, end: BodyEnd) => void
  readonly blocked: (job: JobId, obligation: ObligationId, blocked: boolean) => void
}

/** A body that executes on this host. */
export interface RunningAttempt {
  readonly attemptId: string
  readonly taskId: string
  readonly job: JobId
  readonly obligation: ObligationId
  readonly capability: string
  readonly attempt: number
  readonly traceparent: string
}

interface Entry extends RunningAttempt {
  readonly runtime: string
  handle: Attempt | undefined
  /** Settled children; undefined for one whose outcome is not kept. */
  readonly children: Map<string, ChildOutcome | undefined>
  childBytes: number
  readonly waiters: Map<string, Set<(outcome: ChildOutcome) => void>>
  waits: number
}

/** The bodies of this host: started and killed for the core, their ends and their children's told to those concerned. */
export class Attempts {
  readonly #init: AttemptsInit
  readonly #byId = new Map<string, Entry>()
  readonly #byTask = new Map<string, Entry>()

  constructor(init: AttemptsInit) {
    this.#init = init
  }

  get size(): number {
    return this.#byId.size
  }

  agents(peerId: string): Agent[] {
    return [...this.#byId.values()].map(entry => ({
      id: entry.attemptId,
      peerId,
      runtime: entry.runtime,
      capability: entry.capability,
      taskId: entry.taskId,
      state: entry.waits > 0 ? 'waiting' : 'working',
      usage: { source: 'unknown' }
    }))
  }

  byAttempt(attemptId: string): RunningAttempt | undefined {
    return this.#byId.get(attemptId)
  }

  byTask(id: string): RunningAttempt | undefined {
    return this.#byTask.get(id)
  }

  tasks(): IterableIterator<string> {
    return this.#byTask.keys()
  }

  start(effect: NodeEffect & { kind: 'start' }, leaseLeftMs: number): void {
    const { job, obligation, task, attempts } = effect
    const attempt = attempts.at(-1) ?? 1
    const served = this.#init.served(task.capability)
    if (served === undefined) return this.#init.ended(job, obligation, { kind: 'returned' })
    const input = fromBytes(task.input)
    if ('error' in input) return this.#init.ended(job, obligation, { kind: 'failed', error: input.error })
    const attemptId = attemptIdOf(job, obligation)
    const id = taskId(job, task.path)
    const { capability, traceparent } = task
    const entry: Entry = {
      attemptId,
      taskId: id,
      job,
      obligation,
      capability,
      attempt,
      traceparent,
      runtime: served.runtime.kind,
      handle: undefined,
      children: new Map(),
      childBytes: 0,
      waiters: new Map(),
      waits: 0
    }
    this.#byId.set(attemptId, entry)
    this.#byTask.set(id, entry)
    this.#init.logs.open(id)
    const fencingToken = attempts.join('.')
    const names = { attemptId, taskId: id, jobId: job, capability, attempt, fencingToken, traceparent }
    entry.handle = served.runtime.start(
      { ...names, input: input.value ?? null, leaseLeftMs, timeoutMs: served.timeoutMs },
      {
        log: line => this.#init.logs.append(id, line),
        ended: end => this.#ended(entry, end)
      }
    )
  }

  kill({ job, obligation, reason, hard }: NodeEffect & { kind: 'kill' }): void {
    const entry = this.#byId.get(attemptIdOf(job, obligation))
    if (entry === undefined) this.#init.ended(job, obligation, { kind: 'killed' })
    else entry.handle?.kill(reason, hard)
  }

  childSettled(effect: NodeEffect & { kind: 'child-settled' }): void {
    const entry = this.#byId.get(attemptIdOf(effect.job, effect.parent))
    if (entry === undefined) return
    const child = childOutcome(effect)
    entry.handle?.childSettled(child)
    this.#keep(entry, child, effect.result.length)
    const waiters = entry.waiters.get(child.taskId)
    entry.waiters.delete(child.taskId)
    for (const resolve of waiters ?? []) resolve(child)
  }

  /** SDK workers are told of every child, and keep what they want themselves. */
  #keep(entry: Entry, child: ChildOutcome, bytes: number): void {
    const kept = entry.runtime !== 'function' && entry.childBytes + bytes <= CHILD_RESULTS_BYTES_MAX
    entry.children.set(child.taskId, kept ? child : undefined)
    if (kept) entry.childBytes += bytes
  }

  /**
   * Resolves when the child has settled; until then its parent's slot is free. Rejects when `signal` aborts.
   * @throws StarlingError TASK_ENDED; LIMIT_REACHED when it has settled and its outcome is not kept.
   */
  waitForChild(parent: RunningAttempt, child: string, signal: AbortSignal | undefined): Promise<ChildOutcome> {
    const entry = this.#byId.get(parent.attemptId)
    const settled = entry?.children.get(child)
    if (settled !== undefined) return Promise.resolve(settled)
    if (entry === undefined) return Promise.reject(new StarlingError('TASK_ENDED', 'the waiting task is over'))
    if (entry.children.has(child)) {
      const message = `${child} has settled, but its outcome is not kept: children hold ${CHILD_RESULTS_BYTES_MAX} bytes`
      const hint = 'wait for a child before many others have settled, or let children return references'
      return Promise.reject(new StarlingError('LIMIT_REACHED', message, { hint }))
    }
    if (signal?.aborted) return Promise.reject(signal.reason)
    this.#waits(entry, 1)
    return new Promise<ChildOutcome>((resolve, reject) => {
      const waiters = entry.waiters.get(child) ?? new Set()
      entry.waiters.set(child, waiters)
      const settle = (outcome: ChildOutcome) => {
        signal?.removeEventListener('abort', abort)
        this.#waits(entry, -1)
        resolve(outcome)
      }
      const abort = () => {
        waiters.delete(settle)
        this.#waits(entry, -1)
        reject(signal?.reason)
      }
      waiters.add(settle)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  #waits(entry: Entry, change: 1 | -1): void {
    entry.waits += change
    if (!this.#byId.has(entry.attemptId)) return
    if (entry.waits === (change === 1 ? 1 : 0)) this.#init.blocked(entry.job, entry.obligation, change === 1)
  }

  /** The runtime's own count of waits (SDK workers), beside the one above. */
  blocked(attemptId: string, blocked: boolean): void {
    const entry = this.#byId.get(attemptId)
    if (entry !== undefined) this.#waits(entry, blocked ? 1 : -1)
  }

  #ended(entry: Entry, end: AttemptEnd): void {
    this.#byId.delete(entry.attemptId)
    if (this.#byTask.get(entry.taskId) === entry) this.#byTask.delete(entry.taskId)
    this.#init.logs.close(entry.taskId)
    const over: TaskError = { code: 'TASK_ENDED', message: 'the waiting task is over' }
    for (const [child, waiters] of entry.waiters) {
      for (const resolve of waiters) resolve({ taskId: child, outcome: 'cancelled', result: undefined, error: over })
    }
    this.#init.ended(entry.job, entry.obligation, bodyEndOf(end))
  }
}

function childOutcome(effect: NodeEffect & { kind: 'child-settled' }): ChildOutcome {
  const { job, path, outcome, error } = effect
  const result = fromBytes(effect.result)
  if ('error' in result) return { taskId: taskId(job, path), outcome: 'failed', result: undefined, error: result.error }
  return { taskId: taskId(job, path), outcome, result: result.value, error }
}

export function attemptIdOf(job: JobId, obligation: ObligationId): string {
  return `${job}/${obligation}`
}

function bodyEndOf(end: AttemptEnd): BodyEnd {
  switch (end.kind) {
    case 'killed':
      return { kind: 'killed' }
    case 'returned':
      return { kind: 'returned' }
    case 'failed':
      return { kind: 'failed', error: { ...end.error, message: end.error.message.slice(0, ERROR_MESSAGE_CHARS_MAX) } }
    case 'completed': {
      const result = toBytes(end.result)
      if (result.length > RESULT_BYTES_MAX) {
        const message = `The result is ${result.length} bytes long; at most ${RESULT_BYTES_MAX} are carried.`
        return { kind: 'failed', error: { code: 'RESULT_TOO_LARGE', message } }
      }
      const digest = createHash('sha256').update(result).digest('hex')
      const recorded = result.length <= RECORD_RESULT_BYTES_MAX ? result : new Uint8Array(0)
      return { kind: 'completed', result, digest, recorded }
    }
  }
}
