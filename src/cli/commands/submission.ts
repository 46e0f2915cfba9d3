import type { Command } from 'commander'
import type { SubmitRequest } from '../../wire/api/schemas.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { taskInput } from '../input/task-input.ts'

/** Flags that `run` and `submit` share. */
export interface SubmissionOptions extends ClientOptions {
  readonly on?: string
  readonly id?: string
  readonly dryRun?: true
}

/** Declares a command that hands in a job. */
export function submissionCommand(program: Command, verb: string, summary: string): Command {
  return clientCommand(program, `${verb} <capability> [input]`, summary)
    .option('--on <peer>', 'only this peer (name, id or prefix of an id)')
    .option('--id <key>', 'hand in once: the same key gives the same job again')
    .option('--dry-run', 'only show where it would go, and why')
    .addHelpText(
      'after',
      '\nINPUT that begins with {, [ or " is JSON; anything else is text; - reads it from stdin (at most 1 MiB).'
    )
}

/** What is sent to the daemon. @throws StarlingError INVALID_JSON, INPUT_TOO_LARGE, INVALID_INPUT */
export async function submitRequest(
  cli: Cli,
  capability: string,
  input: string | undefined,
  options: SubmissionOptions
): Promise<SubmitRequest> {
  const value = await taskInput(input, cli.stdin)
  return {
    capability,
    input: value,
    ...(options.on === undefined ? {} : { on: options.on }),
    ...(options.id === undefined ? {} : { id: options.id })
  }
}
