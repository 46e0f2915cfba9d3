import type { Command } from 'commander'
import type { ChildOutcome } from '../../sdk/index.ts'
import type { SpawnRequest } from '../../wire/api/schemas.ts'
import { StarlingError } from '../../wire/errors.ts'
import { type Cli, EXIT_INTERRUPTED } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { parseCount } from '../input/duration.ts'
import { taskInput } from '../input/task-input.ts'
import { printResult } from '../output/job.ts'
import { type PolicyOptions, policyFlags, policyRequest } from './task-policy.ts'

const OUTCOME_EXIT = { completed: 0, failed: 4, cancelled: 4, lost: 5 } as const satisfies Record<
  ChildOutcome['outcome'],
  number
>

interface SpawnOptions extends ClientOptions, PolicyOptions {
  readonly wait?: true
}

export function register(program: Command, cli: Cli): void {
  policyFlags(clientCommand(program, 'spawn <capability> [input]', 'inside a task: add a child task to it'))
    .option('--wait', 'wait for the child and print its result')
    .addHelpText('after', '\nExample:\n  starling spawn fetch https://example.org/ --retry 3 --wait')
    .action(async (capability: string, input: string | undefined, options: SpawnOptions) => {
      const parent = parentTask(cli.env)
      const policy = policyRequest(options)
      const value = await taskInput(input, cli.stdin)
      const request: SpawnRequest = { capability, input: value, ...policy, ...parent.attempt }
      await cli.withClient(options, async client => {
        const { taskId } = await client.spawn(parent.taskId, request)
        if (!options.wait) {
          if (options.json) cli.terminal.json('Child', { taskId })
          else cli.terminal.out(taskId)
          return 0
        }
        return cli.interruptible(async signal => {
          try {
            return printChild(cli, await client.waitForChild(parent.taskId, taskId, { signal }), options)
          } catch (error) {
            if (!signal.aborted) throw error
            cli.terminal.note(`interrupted: task ${taskId} goes on`)
            return EXIT_INTERRUPTED
          }
        })
      })
    })
}

function printChild(cli: Cli, child: ChildOutcome, options: ClientOptions): number {
  if (options.json) cli.terminal.json('Child', child)
  else {
    printResult(cli.terminal, child.result)
    if (child.outcome !== 'completed') {
      const reason = child.error === undefined ? '' : `: ${child.error.code}: ${child.error.message}`
      cli.terminal.note(`${cli.terminal.noteStyle('red', 'error:')} task ${child.taskId} ${child.outcome}${reason}`)
    }
  }
  return OUTCOME_EXIT[child.outcome]
}

/** The task that this process works on, from what the daemon gave it. @throws StarlingError INVALID_INPUT outside one */
function parentTask(env: NodeJS.ProcessEnv): { taskId: string; attempt: { attempt?: number } } {
  const { STARLING_TASK: taskId, STARLING_ATTEMPT: attempt } = env
  if (!taskId) {
    throw new StarlingError('INVALID_INPUT', 'this is no task: STARLING_TASK is not set', {
      hint: 'spawn adds a child to the task that calls it; from outside hand in a job: starling submit CAPABILITY'
    })
  }
  if (!attempt) return { taskId, attempt: {} }
  return { taskId, attempt: { attempt: parseCount(attempt, 'STARLING_ATTEMPT', 1, Number.MAX_SAFE_INTEGER) } }
}
