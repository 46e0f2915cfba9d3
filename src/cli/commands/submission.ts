import type { Command } from 'commander'
import type { SubmitRequest } from '../../wire/api/schemas.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { taskInput } from '../input/task-input.ts'
import { type PolicyOptions, policyFlags, policyRequest } from './task-policy.ts'

/** Flags that `run` and `submit` share. */
export interface SubmissionOptions extends ClientOptions, PolicyOptions {
  readonly on?: string
  readonly id?: string
  readonly dryRun?: true
}

/** Declares a command that hands in a job. */
export function submissionCommand(program: Command, verb: string, summary: string): Command {
  return policyFlags(clientCommand(program, `${verb} <capability> [input]`, summary))
    .option('--on <peer>', 'only this peer (name, id or prefix of an id)')
    .option('--id <key>', 'hand in once: the same key gives the same job again')
    .option('--dry-run', 'only show where it would go, and why')
    .addHelpText(
      'after',
      `
INPUT that begins with {, [ or " is JSON; anything else is text; - reads it from stdin (at most 1 MiB).

Example:
  starling ${verb} lint '{"dir": "src"}' --retry 3 --backoff 10s --deadline 1h`
    )
}

/** What is sent to the daemon. @throws StarlingError INVALID_JSON, INPUT_TOO_LARGE, INVALID_INPUT */
export async function submitRequest(
  cli: Cli,
  capability: string,
  input: string | undefined,
  options: SubmissionOptions
): Promise<SubmitRequest> {
  const policy = policyRequest(options)
  const value = await taskInput(input, cli.stdin)
  return {
    capability,
    input: value,
    ...policy,
    ...(options.on === undefined ? {} : { on: options.on }),
    ...(options.id === undefined ? {} : { id: options.id })
  }
}
