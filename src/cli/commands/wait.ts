import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { type FollowOptions, followJob } from '../follow-job.ts'
import { parseDuration } from '../input/duration.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'wait <job>', 'wait until a job is over and print its result')
    .option('--timeout <duration>', 'wait at most so long (30s, 10m, 2h); the job goes on')
    .option('-q, --quiet', 'no progress and no verdict on stderr')
    .option('-v, --verbose', 'progress lines also when stderr is no terminal')
    .action(async (id: string, options: ClientOptions & FollowOptions & { timeout?: string }) => {
      const timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout, '--timeout')
      await cli.withClient(options, client => followJob(cli, client, id, { ...options, timeoutMs }))
    })
}
