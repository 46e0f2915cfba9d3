import type { Command } from 'commander'
import { StarlingError } from '../../wire/errors.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { programVersion } from '../version.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(
    program,
    'version',
    'print the versions of this program, of Node, and of the daemon when it runs'
  ).action((options: ClientOptions) =>
    cli.withClient(options, async client => {
      const version = programVersion()
      const daemon = await client.version().catch((error: unknown) => {
        // Not running is an answer here; anything else about the daemon is worth an error.
        if (error instanceof StarlingError && error.code === 'DAEMON_NOT_RUNNING') return undefined
        throw error
      })
      if (options.json) {
        cli.terminal.json('Version', { version, node: process.versions.node, daemon: daemon?.version ?? null })
      } else {
        cli.terminal.out(`starling ${version} (Node ${process.versions.node})`)
        cli.terminal.out(`daemon ${daemon?.version ?? 'not running'}`)
      }
      return 0
    })
  )
}
