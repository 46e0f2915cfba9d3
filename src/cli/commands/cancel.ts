import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'cancel <job>', 'ask a job to stop, everywhere').action((id: string, options: ClientOptions) =>
    cli.withClient(options, async client => {
      const job = await client.cancel(id)
      if (options.json) cli.terminal.json('Job', job)
      else if (job.verdict === 'running') {
        cli.terminal.out(`job ${job.id} is stopping`)
        cli.terminal.note(`${cli.terminal.noteStyle('cyan', 'hint:')} until it is over: starling wait ${job.id}`)
      } else cli.terminal.out(`job ${job.id} is over: ${job.verdict}`)
      return 0
    })
  )
}
