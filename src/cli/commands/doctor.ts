import type { Command } from 'commander'
import type { Finding } from '../../wire/api/schemas.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import type { Terminal } from '../output/terminal.ts'

const SYMBOLS = {
  ok: { unicode: '✓', ascii: 'ok  ', colour: 'green' },
  warning: { unicode: '!', ascii: 'warn', colour: 'yellow' },
  failed: { unicode: '✗', ascii: 'FAIL', colour: 'red' },
  unknown: { unicode: '?', ascii: '?   ', colour: 'dim' }
} as const satisfies Record<Finding['state'], object>

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'doctor', 'check this machine and say what to repair; exit 1 when a check failed').action(
    (options: ClientOptions) =>
      cli.withClient(options, async client => {
        const items = await client.doctor()
        if (options.json) cli.terminal.json('FindingList', { items })
        else for (const finding of items) printFinding(cli.terminal, finding)
        return items.some(finding => finding.state === 'failed') ? 1 : 0
      })
  )
}

function printFinding(terminal: Terminal, finding: Finding): void {
  const symbol = SYMBOLS[finding.state]
  const mark = terminal.style(symbol.colour, terminal.unicode ? symbol.unicode : symbol.ascii)
  terminal.out(`${mark} ${terminal.style('bold', finding.check)}: ${finding.detail}`)
  if (finding.hint !== undefined) terminal.out(`     ${terminal.style('cyan', 'hint:')} ${finding.hint}`)
}
