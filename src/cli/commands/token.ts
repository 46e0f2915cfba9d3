import type { Command } from 'commander'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { parseCount, parseDuration } from '../input/duration.ts'
import { count } from '../output/text.ts'

/** Machines that one token can let in: the bound of the control API. */
const USES_MAX = 1_000

interface TokenOptions extends ClientOptions {
  readonly ttl?: string
  readonly uses?: string
}

export function register(program: Command, cli: Cli): void {
  const token = program.command('token').description('let other machines into the swarm')
  clientCommand(token, 'create', 'make a token; it is a secret until it is used up')
    .option('--ttl <duration>', 'how long it can be redeemed (default: 15m)')
    .option('--uses <number>', 'how many machines it lets in (default: 1)')
    .action(async (options: TokenOptions) => {
      const request = {
        ...(options.ttl === undefined ? {} : { ttlMs: parseDuration(options.ttl, '--ttl') }),
        ...(options.uses === undefined ? {} : { uses: parseCount(options.uses, '--uses', 1, USES_MAX) })
      }
      await cli.withClient(options, async client => {
        const created = await client.createToken(request)
        if (options.json) cli.terminal.json('Token', created)
        else {
          cli.terminal.out(created.token)
          cli.terminal.note(`lets ${count(created.uses, 'machine')} in until ${created.expiresAt}; run there:`)
          cli.terminal.note(`  starling up --join ${created.token}`)
        }
        return 0
      })
    })
}
