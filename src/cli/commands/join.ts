import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { count } from '../output/text.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'join <token>', 'join the swarm that the token is from').action(
    (token: string, options: ClientOptions) =>
      cli.withClient(options, async client => {
        const status = await client.join(token)
        if (options.json) cli.terminal.json('Status', status)
        else {
          const { alive } = status.peers
          cli.terminal.out(`joined swarm ${status.swarm.id} as ${status.swarm.role}; ${count(alive, 'peer')} alive`)
        }
        return 0
      })
  )
}
