import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type FollowOptions, followJob } from '../follow-job.ts'
import { parseDuration } from '../input/duration.ts'
import { printPlacement } from '../output/job.ts'
import { type SubmissionOptions, submissionCommand, submitRequest } from './submission.ts'

interface RunOptions extends SubmissionOptions, FollowOptions {
  readonly timeout?: string
}

export function register(program: Command, cli: Cli): void {
  submissionCommand(program, 'run', 'hand in a job, wait until all of it is over, print its result')
    .option('--timeout <duration>', 'wait at most so long (30s, 10m, 2h); the job goes on')
    .option('-q, --quiet', 'no progress and no verdict on stderr')
    .option('-v, --verbose', 'progress lines also when stderr is no terminal')
    .action(async (capability: string, input: string | undefined, options: RunOptions) => {
      const timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout, '--timeout')
      const request = await submitRequest(cli, capability, input, options)
      await cli.withClient(options, async client => {
        if (options.dryRun) {
          const placement = await client.plan(request)
          if (options.json) cli.terminal.json('Placement', placement)
          else printPlacement(cli.terminal, placement)
          return 0
        }
        return cli.interruptible(async interrupted => {
          const job = await client.submit(request)
          if (job.existing && !options.quiet) cli.terminal.note(`job ${job.id} was handed in before; waiting for it`)
          return followJob(cli, client, job.id, { ...options, timeoutMs, interrupted })
        })
      })
    })
}
