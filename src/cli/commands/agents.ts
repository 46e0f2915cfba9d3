import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { printTable } from '../output/table.ts'
import { shortPeerId } from '../output/text.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'agents', 'list what works on tasks now').action((options: ClientOptions) =>
    cli.withClient(options, async client => {
      const items = await client.agents()
      if (options.json) {
        cli.terminal.json('AgentList', { items })
        return 0
      }
      if (items.length === 0) cli.terminal.note('no agent is at work')
      else {
        printTable(
          cli.terminal,
          ['AGENT', 'PEER', 'RUNTIME', 'CAPABILITY', 'STATE', 'TASK'],
          items.map(agent => [
            agent.id,
            shortPeerId(agent.peerId),
            agent.runtime,
            agent.capability,
            agent.state,
            agent.taskId ?? ''
          ])
        )
      }
      return 0
    })
  )
}
