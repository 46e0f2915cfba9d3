import type { Command } from 'commander'
import type { LogLine } from '../../wire/api/schemas.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'logs <task>', 'print the log of a task that ran or runs on this machine')
    .option('-f, --follow', 'go on until the task has ended')
    .action((task: string, options: ClientOptions & { follow?: true }) =>
      cli.withClient(options, client =>
        cli.printStream<LogLine>(
          signal => client.logs(task, { follow: options.follow === true, signal }),
          line => (options.json ? cli.terminal.jsonLine('LogLine', line) : cli.terminal.out(line.line))
        )
      )
    )
}
