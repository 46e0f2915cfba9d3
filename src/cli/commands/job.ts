import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { printJob } from '../output/job.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'job <job>', 'show one job: verdict, tasks, shares of the peers, placement, losses')
    .option('--all', 'list all tasks, however many')
    .action((id: string, options: ClientOptions & { all?: true }) =>
      cli.withClient(options, async client => {
        const job = await client.job(id, { items: true })
        if (options.json) cli.terminal.json('Job', job)
        else printJob(cli.terminal, job, { all: options.all === true, nowMs: Date.now() })
        return 0
      })
    )
}
