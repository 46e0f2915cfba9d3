import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { DaemonClient } from '../../sdk/daemon-client.ts'
import type { Peer } from '../../wire/api/schemas.ts'
import { StarlingError } from '../../wire/errors.ts'
import { type Cli, EXIT_INTERRUPTED } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { parseDuration } from '../input/duration.ts'
import { PROGRESS_INTERVAL_MS, progressStyle, progressView } from '../output/progress.ts'
import { count } from '../output/text.ts'

/** Pause between two looks at the peer; what it says about itself arrives once a second at most. */
const DRAIN_POLL_MS = 250

/** A peer that was asked says so within a second or two; one that has not after this long has refused, or cannot. */
const DRAIN_SEEN_MS = 10_000

interface DrainOptions extends ClientOptions {
  readonly deadline?: string
  readonly end?: true
  /** False with --no-wait. */
  readonly wait: boolean
}

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'drain <peer>', 'have a machine take no new work, and wait until it holds none')
    .option('--deadline <duration>', 'what still runs there after so long is moved to other hosts')
    .option('--end', 'have it take work again')
    .option('--no-wait', 'ask, and do not wait until it is drained')
    .addHelpText(
      'after',
      `
PEER is a name, an id or the beginning of one; it may be this machine. What waits there goes to other hosts at once; what
runs there may end, for as long as it takes unless there is a --deadline. It stays drained until --end, or until its
daemon is started again. Ctrl-C ends the waiting, not the draining.

Examples:
  starling drain bob --deadline 10m && ssh bob starling down
  starling drain bob --end`
    )
    .action(async (peer: string, options: DrainOptions) => {
      if (options.end && (options.deadline !== undefined || !options.wait)) {
        throw new StarlingError(
          'INVALID_INPUT',
          '--end takes effect at once: it goes with no --deadline and no --no-wait'
        )
      }
      const deadlineMs = options.deadline === undefined ? undefined : parseDuration(options.deadline, '--deadline')
      await cli.withClient(options, async client => {
        const asked = await client.drain(peer, options.end ? { end: true } : { deadlineMs })
        if (!options.end && options.wait) return untilDrained(cli, client, asked, options)
        if (options.json) cli.terminal.json('Peer', asked)
        else cli.terminal.out(`${nameOf(asked)} ${options.end ? 'takes work again' : 'takes no new work'}`)
        return 0
      })
    })
}

async function untilDrained(cli: Cli, client: DaemonClient, asked: Peer, options: ClientOptions): Promise<number> {
  const { terminal } = cli
  const name = nameOf(asked)
  const end = await cli.interruptible(signal => watch(cli, client, asked, signal))
  if (end === 'interrupted') {
    terminal.note(`interrupted: ${name} goes on draining`)
    terminal.note(
      `${terminal.noteStyle('cyan', 'hint:')} look at it: starling peers; have it work again: starling drain ${name} --end`
    )
    return EXIT_INTERRUPTED
  }
  if (options.json) terminal.json('Peer', end)
  else if (end.state === 'left') terminal.out(`${name} has been stopped: it holds no work`)
  else terminal.out(`${name} is drained: it holds no work`)
  return 0
}

/** The peer when it is drained, or has left. @throws StarlingError TIMED_OUT when it never will be */
async function watch(cli: Cli, client: DaemonClient, asked: Peer, signal: AbortSignal): Promise<Peer | 'interrupted'> {
  const style = progressStyle(cli.terminal, { verbose: true })
  const view = await progressView(cli.terminal, style)
  const seenUntil = performance.now() + DRAIN_SEEN_MS
  let began = asked.drain !== 'no'
  let shownAt = Number.NEGATIVE_INFINITY
  let shown = ''
  try {
    for (let peer: Peer | undefined = asked; ; peer = await look(client, asked)) {
      if (signal.aborted) return 'interrupted'
      if (peer === undefined || peer.state === 'dead') throw gone(asked)
      if (peer.drain === 'drained' || peer.state === 'left') return peer
      if (peer.drain === 'draining') began = true
      else if (began) throw ended(asked)
      else if (performance.now() > seenUntil) throw deaf(asked)
      const line = progressLine(peer)
      if (line !== shown && performance.now() - shownAt >= PROGRESS_INTERVAL_MS[style]) {
        view.update(line)
        shown = line
        shownAt = performance.now()
      }
      await sleep(DRAIN_POLL_MS, undefined, { signal })
    }
  } catch (error) {
    if (signal.aborted) return 'interrupted'
    throw error
  } finally {
    view.clear()
  }
}

async function look(client: DaemonClient, { peerId }: Peer): Promise<Peer | undefined> {
  return (await client.peers()).find(peer => peer.peerId === peerId)
}

function progressLine(peer: Peer): string {
  const { running, queued } = peer.load
  if (peer.drain === 'no') return `${nameOf(peer)} has been asked to take no new work`
  return `${nameOf(peer)} takes no new work; ${count(running, 'task')} running, ${queued} queued`
}

function nameOf({ name, peerId }: Peer): string {
  return name === '' ? peerId : name
}

function gone(peer: Peer): StarlingError {
  return new StarlingError('TIMED_OUT', `${nameOf(peer)} does not answer any more`, {
    hint: 'what ran there is done again by other hosts; see: starling peers, starling jobs'
  })
}

function ended(peer: Peer): StarlingError {
  return new StarlingError('TIMED_OUT', `${nameOf(peer)} takes work again: somebody has ended the draining`, {
    hint: `ask again: starling drain ${nameOf(peer)}`
  })
}

function deaf(peer: Peer): StarlingError {
  return new StarlingError('TIMED_OUT', `${nameOf(peer)} was asked, but does not say that it drains`, {
    hint: `its version may not know how to, or it holds this host for no admin; run it on ${nameOf(peer)} itself`
  })
}
