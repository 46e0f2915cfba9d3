import type { Command } from 'commander'

/** Flags that every command has that asks the daemon. */
export interface ClientOptions {
  readonly json?: true
  readonly socket?: string
}

/** Declares a command that asks the daemon: `usage` is its name and arguments as commander reads them. */
export function clientCommand(program: Command, usage: string, summary: string): Command {
  return program
    .command(usage)
    .description(summary)
    .option('--json', 'print JSON')
    .option('--socket <path>', 'control socket of the daemon (default: STARLING_SOCKET, else in STARLING_HOME)')
}
