import { SLOTS_MAX } from '../../core/index.ts'
import type { AgentRuntime, Attempt, AttemptHandlers, Clock, Logger, TaskStart } from '../../ports/index.ts'
import type { ProcessJails } from '../jail/index.ts'
import { parseArgvTemplate } from './argv-template.ts'
import { CommandAttempt, type CommandSettings } from './command-attempt.ts'
import { checkConfiguredEnvironment } from './environment.ts'

export interface CommandRuntimeInit {
  /** Program and arguments; arguments may hold `{input}` and `{input.key}`, see `fillArgv`. */
  readonly command: readonly string[]
  /** Working directory. @default that of the daemon */
  readonly cwd?: string | undefined
  /** Variables beside the clean environment; names beginning with STARLING_ are refused. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Path of the control socket, for the task. */
  readonly socket: string
  /** Shared by all runtimes of a daemon. */
  readonly jails: ProcessJails
  readonly clock: Clock
  readonly logger: Logger
  /** Where PATH, HOME and the like are taken from. @default process.env */
  readonly ownEnvironment?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * Runs one process per attempt. It gets one line of JSON on stdin, `{ taskId, jobId, capability, input, attempt,
 * artifacts }`, and then its end; stdout is the result, stderr the log, exit code 0 success. An attempt ends with all
 * that it has started: what is left when its process exits is killed too.
 *
 * Not on Linux: processes that leave their process group are not found.
 * @throws StarlingError CONFIG_INVALID
 */
export function commandRuntime(init: CommandRuntimeInit): AgentRuntime {
  const env = init.env ?? {}
  checkConfiguredEnvironment(env)
  return new CommandRuntime({
    template: parseArgvTemplate(init.command),
    cwd: init.cwd ?? process.cwd(),
    env,
    ownEnvironment: init.ownEnvironment ?? process.env,
    socket: init.socket,
    jails: init.jails,
    clock: init.clock,
    logger: init.logger
  })
}

class CommandRuntime implements AgentRuntime {
  readonly kind = 'command'
  readonly #settings: CommandSettings
  readonly #running = new Map<CommandAttempt, Promise<void>>()
  #stopped = false

  constructor(settings: CommandSettings) {
    this.#settings = settings
  }

  start(task: TaskStart, handlers: AttemptHandlers): Attempt {
    if (this.#stopped || this.#running.size >= SLOTS_MAX) {
      const reason = this.#stopped ? 'the daemon stops' : `${SLOTS_MAX} attempts run already`
      queueMicrotask(() => handlers.ended({ kind: 'returned', reason }))
      return { kill() {}, childSettled() {} }
    }
    const attempt = new CommandAttempt(this.#settings, task, handlers)
    const over = attempt.run().then(end => {
      this.#running.delete(attempt)
      handlers.ended(end)
    })
    this.#running.set(attempt, over)
    return attempt
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const attempt of this.#running.keys()) attempt.kill('the daemon stops', false)
    await Promise.all(this.#running.values())
  }
}
