import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { progressText, styledVerdict, tally } from '../output/job.ts'
import { printTable } from '../output/table.ts'
import { age, shortJobId } from '../output/text.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'jobs', 'list the jobs that were handed in here').action((options: ClientOptions) =>
    cli.withClient(options, async client => {
      const items = await client.jobs()
      if (options.json) {
        cli.terminal.json('JobList', { items })
        return 0
      }
      if (items.length === 0) cli.terminal.note('no job yet')
      else {
        printTable(
          cli.terminal,
          ['JOB', 'CAPABILITY', 'VERDICT', 'TASKS', 'PEERS', 'SUBMITTED'],
          items.map(job => [
            shortJobId(job.id),
            job.capability,
            styledVerdict(cli.terminal, job.verdict),
            job.progress === undefined ? tally(job) : progressText(job),
            job.peers.map(peer => peer.name).join(', '),
            age(job.timings.submittedAt, Date.now())
          ])
        )
      }
      return 0
    })
  )
}
