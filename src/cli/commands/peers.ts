import type { Command } from 'commander'
import type { Peer } from '../../wire/api/schemas.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { printTable } from '../output/table.ts'
import type { Terminal } from '../output/terminal.ts'
import { age, shortPeerId } from '../output/text.ts'

const STATE_COLOUR = { alive: 'green', suspect: 'yellow', dead: 'red', left: 'dim' } as const

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'peers', 'list the machines of the swarm and what they offer').action(
    (options: ClientOptions) =>
      cli.withClient(options, async client => {
        const items = await client.peers()
        if (options.json) cli.terminal.json('PeerList', { items })
        else printPeers(cli.terminal, items, Date.now())
        return 0
      })
  )
}

/** A peer that is there and takes no work is shown as what keeps work away from it. */
function styledState(terminal: Terminal, { state, drain }: Peer): string {
  if (state !== 'alive' || drain === 'no') return terminal.style(STATE_COLOUR[state], state)
  return terminal.style('yellow', drain)
}

function printPeers(terminal: Terminal, peers: readonly Peer[], nowMs: number): void {
  printTable(
    terminal,
    ['NAME', 'PEER', 'STATE', 'CAPABILITIES (FREE/SLOTS)', 'RUNNING', 'QUEUED', 'RTT', 'SEEN'],
    peers.map(peer => [
      peer.self ? `${peer.name} (this)` : peer.name,
      shortPeerId(peer.peerId),
      styledState(terminal, peer),
      peer.capabilities.map(({ name, slots, free }) => `${name} ${free}/${slots}`).join(', ') || 'none',
      peer.load.running.toString(),
      peer.load.queued.toString(),
      peer.self ? '' : peer.rttMs === null ? 'unknown' : `${peer.rttMs.toFixed(1)} ms`,
      peer.self ? 'now' : age(peer.asOf, nowMs)
    ])
  )
  if (peers.every(peer => peer.self)) {
    terminal.note(`${terminal.noteStyle('cyan', 'hint:')} alone so far; let a machine in: starling token create`)
  }
}
