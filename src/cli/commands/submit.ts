import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { printPlacement } from '../output/job.ts'
import { type SubmissionOptions, submissionCommand, submitRequest } from './submission.ts'

export function register(program: Command, cli: Cli): void {
  submissionCommand(program, 'submit', 'hand in a job and print its id').action(
    async (capability: string, input: string | undefined, options: SubmissionOptions) => {
      const request = await submitRequest(cli, capability, input, options)
      await cli.withClient(options, async client => {
        if (options.dryRun) {
          const placement = await client.plan(request)
          if (options.json) cli.terminal.json('Placement', placement)
          else printPlacement(cli.terminal, placement)
          return 0
        }
        const job = await client.submit(request)
        if (options.json) cli.terminal.json('Submission', job)
        else {
          cli.terminal.out(job.id)
          if (job.existing) cli.terminal.note('this job was handed in before; it is the same one')
        }
        return 0
      })
    }
  )
}
