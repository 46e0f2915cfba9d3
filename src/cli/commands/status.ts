import type { Command } from 'commander'
import type { Status } from '../../wire/api/schemas.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { printFields } from '../output/fields.ts'
import type { Terminal } from '../output/terminal.ts'
import { duration } from '../output/text.ts'

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'status', 'show this daemon, its swarm, and what is wrong').action((options: ClientOptions) =>
    cli.withClient(options, async client => {
      const status = await client.status()
      if (options.json) cli.terminal.json('Status', status)
      else printStatus(cli.terminal, status, client.socketPath)
      return 0
    })
  )
}

/** Prints one screen, warnings last so that they are above the next prompt. */
export function printStatus(terminal: Terminal, status: Status, socketPath: string): void {
  const { self, swarm, discovery, peers, jobs, agents } = status
  const { mdns } = discovery
  const mdnsText = `mdns ${mdns.state}${mdns.detail === undefined ? '' : ` (${mdns.detail})`}`
  printFields(terminal, [
    ['name', `${terminal.style('bold', self.name)}  ${self.peerId}`],
    ['daemon', `version ${self.version}, pid ${self.pid}, up ${duration(self.uptimeMs)}`],
    ['swarm', `${swarm.id}, role ${swarm.role}`],
    ['peers', `${peers.alive} alive, ${peers.suspect} suspect, ${peers.dead} dead`],
    ['jobs', `${jobs.running} running`],
    ['agents', `${agents.running} running, ${agents.paused} paused`],
    ['discovery', mdns.state === 'ok' || mdns.state === 'off' ? mdnsText : terminal.style('yellow', mdnsText)],
    ['listening', self.listen.join(' ') || 'nowhere'],
    ['socket', socketPath]
  ])
  for (const warning of status.warnings) terminal.out(`${terminal.style('yellow', 'warning:')} ${warning}`)
}
