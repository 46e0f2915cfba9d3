import { StarlingError } from '../../src/core/errors.ts'
import type {
  AgentRuntime,
  Attempt,
  AttemptEnd,
  AttemptHandlers,
  ChildOutcome,
  TaskStart
} from '../../src/ports/runtime.ts'
import type { SpawnRequest } from '../../src/wire/api/index.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What a body does: its value is the result, a StarlingError its failure; it may end itself otherwise with `body.end`. */
export type Behaviour = (body: Body) => unknown

export interface Body {
  readonly task: TaskStart
  readonly host: string
  readonly input: unknown
  /** Path of the task in its job. */
  readonly path: string
  /** Resolves after virtual time; never when the body has been killed meanwhile. */
  sleep(ms: number): Promise<void>
  /** Returns the child's id. */
  spawn(capability: string, input?: unknown): Promise<string>
  waitForChild(child: string, signal?: AbortSignal): Promise<ChildOutcome>
  log(line: string): void
  /** Ends the attempt in any way; what comes later does not count. */
  end(end: AttemptEnd): void
  /** A kill takes so long from now on; `Infinity`: it is never reaped. */
  reapMs: number
}

/** One attempt that was started. */
export interface Execution {
  readonly host: string
  readonly task: TaskStart
  readonly startedAt: number
  endedAt: number | undefined
  /** "died" with its host. */
  end: AttemptEnd | { readonly kind: 'died' } | undefined
  readonly killedFor: string[]
  readonly children: ChildOutcome[]
}

interface ScriptedRuntimeInit {
  readonly kind: string
  readonly host: string
  readonly time: VirtualTime
  readonly executions: Execution[]
  readonly behaviour: (capability: string) => Behaviour | undefined
  readonly calls: {
    spawn(taskId: string, request: SpawnRequest): Promise<{ taskId: string }>
    waitForChild(taskId: string, child: string, signal?: AbortSignal): Promise<ChildOutcome>
  }
}

/** A runtime whose bodies are functions of the test, on virtual time. */
export class ScriptedRuntime implements AgentRuntime {
  readonly kind: string
  readonly #init: ScriptedRuntimeInit
  readonly #living = new Set<(end: { kind: 'died' }) => void>()

  constructor(init: ScriptedRuntimeInit) {
    this.#init = init
    this.kind = init.kind
  }

  start(task: TaskStart, handlers: AttemptHandlers): Attempt {
    const { time, host, executions, calls } = this.#init
    const [killedFor, children]: [string[], ChildOutcome[]] = [[], []]
    const execution: Execution = {
      host,
      task,
      startedAt: time.now,
      endedAt: undefined,
      end: undefined,
      killedFor,
      children
    }
    executions.push(execution)
    const over = () => execution.end !== undefined
    const finish = (end: NonNullable<Execution['end']>) => {
      if (over()) return
      execution.end = end
      execution.endedAt = time.now
      this.#living.delete(finish)
      if (end.kind !== 'died') handlers.ended(end)
    }
    this.#living.add(finish)
    const body: Body = {
      task,
      host,
      input: task.input,
      path: task.taskId.slice(task.jobId.length + 1),
      reapMs: 0,
      sleep: ms =>
        new Promise(resolve => {
          time.later(ms, () => {
            if (!over() && killedFor.length === 0) resolve()
          })
        }),
      spawn: async (capability, input) =>
        (await calls.spawn(task.taskId, { capability, input, attempt: task.attempt })).taskId,
      waitForChild: (child, signal) => calls.waitForChild(task.taskId, child, signal),
      log: line => {
        if (!over()) handlers.log(line)
      },
      end: finish
    }
    time.later(0, () => {
      if (!over() && killedFor.length === 0) void this.#run(body, finish)
    })
    return {
      kill: reason => {
        killedFor.push(reason)
        if (killedFor.length > 1 || body.reapMs === Number.POSITIVE_INFINITY) return
        time.later(body.reapMs, () => finish({ kind: 'killed' }))
      },
      childSettled: child => {
        children.push(child)
      }
    }
  }

  /** The process of the daemon is gone, and with it all bodies. */
  die(): void {
    for (const finish of [...this.#living]) finish({ kind: 'died' })
  }

  async stop(): Promise<void> {
    this.die()
  }

  async #run(body: Body, finish: (end: AttemptEnd) => void): Promise<void> {
    try {
      finish({ kind: 'completed', result: await this.#init.behaviour(body.task.capability)?.(body) })
    } catch (error) {
      const code = error instanceof StarlingError ? error.code : 'TASK_FAILED'
      finish({ kind: 'failed', error: { code, message: error instanceof Error ? error.message : String(error) } })
    }
  }
}
