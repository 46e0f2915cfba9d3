import type { Command } from 'commander'
import { Option } from 'commander'
import type { Ready } from '../../wire/api/schemas.ts'
import { StarlingError } from '../../wire/errors.ts'
import type { Cli } from '../cli.ts'
import { detachedOptions, reportDetached, startDetached } from '../detached.ts'
import { asStarlingError } from '../output/problem.ts'
import { count, shortPeerId } from '../output/text.ts'

interface UpOptions {
  readonly detach?: true
  readonly name?: string
  readonly listen?: string[]
  readonly peer?: string[]
  readonly mdns: boolean
  readonly join?: string
  readonly json?: true
  /** Set by `--detach` for the process that it starts; the other options then come over its channel. */
  readonly background?: true
}

/** Signals that ask for a stop: from the keyboard, from a service manager, from a terminal that is closed. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export function register(program: Command, cli: Cli): void {
  program
    .command('up')
    .description('start the daemon; in the foreground until Ctrl-C')
    .option('-d, --detach', 'return when it is ready; it goes on in the background')
    .option('--name <name>', 'name of this machine in the swarm (default: host name)')
    .option('--listen <address>', 'multiaddr to listen on; may be given again', collect)
    .option('--peer <address>', 'multiaddr of a peer to try as well; may be given again', collect)
    .option('--no-mdns', 'do not look for peers on the local network')
    .option('--join <token>', 'join the swarm that this token is from (starling token create)')
    .option('--json', 'print one line of JSON when ready')
    .addOption(new Option('--background').hideHelp())
    .action(async (options: UpOptions) => {
      if (options.detach) await detach(cli, options)
      else if (options.background) await runInBackground(cli)
      else await run(cli, options, ready => report(cli, ready, options))
    })
}

async function detach(cli: Cli, options: UpOptions): Promise<void> {
  const { prepareHome, resolveHome } = await import('../../daemon/home.ts')
  const home = resolveHome(cli.env, process.getuid?.(), process.platform)
  // Before anything is written there: the log must not go where others can put links.
  prepareHome(home)
  const { detach: _, json: __, ...rest } = options
  const ready = await startDetached({
    argv: [...process.execArgv, process.argv[1] ?? '', 'up', '--background'],
    options: rest,
    logPath: home.logs,
    env: cli.env
  })
  await report(cli, ready, options)
}

async function runInBackground(cli: Cli): Promise<void> {
  const options = await detachedOptions<UpOptions>()
  try {
    await run(cli, { ...options, background: true }, ready => reportDetached({ kind: 'ready', ready }))
  } catch (thrown) {
    const error = asStarlingError(thrown)
    await reportDetached({ kind: 'failed', code: error.code, message: error.message, hint: error.hint })
    throw thrown
  }
}

/** Runs a daemon until it has stopped. The first signal lets it end its work, the second does not. */
async function run(cli: Cli, options: UpOptions, onReady: (ready: Ready) => Promise<void>): Promise<void> {
  const { startDaemon } = await import('../../daemon/index.ts')
  const daemon = await startDaemon({
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.listen === undefined ? {} : { listen: options.listen }),
    ...(options.peer === undefined ? {} : { peers: options.peer }),
    ...(options.mdns ? {} : { mdns: false }),
    ...(options.join === undefined ? {} : { join: options.join }),
    ...(options.background ? { logToFile: true } : {}),
    env: cli.env
  })
  let signals = 0
  const onSignal = (): void => {
    signals += 1
    if (signals === 1) cli.terminal.note('stopping; once more to stop at once')
    daemon.stop({ now: signals > 1 })
  }
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal)
  try {
    await onReady(daemon.ready)
    cli.exitCode = (await daemon.stopped).exitCode
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, onSignal)
  }
}

async function report(cli: Cli, ready: Ready, options: UpOptions): Promise<void> {
  const { terminal } = cli
  if (options.json) {
    terminal.jsonLine('Ready', ready)
    return
  }
  terminal.out(`${terminal.style('bold', ready.name)} is up: peer ${shortPeerId(ready.peerId)}, pid ${ready.pid}`)
  terminal.out(`  listening  ${ready.listen.join('\n             ') || 'nowhere'}`)
  terminal.out(`  socket     ${ready.socket}`)
  const swarm = await swarmOf(cli, ready.socket)
  terminal.out(`  swarm      ${swarm.text}`)
  if (swarm.mayAdmit) {
    terminal.out('To add a machine, run here:   starling token create')
    terminal.out('and there, with what it says: starling up --join TOKEN')
  }
  terminal.out(options.detach ? 'To stop: starling down' : 'To stop: Ctrl-C, or starling down')
}

/** Size of the swarm as the daemon sees it now; peers may still be on their way. */
async function swarmOf(cli: Cli, socket: string): Promise<{ text: string; mayAdmit: boolean }> {
  const client = await cli.client(socket)
  try {
    const [{ swarm }, peers] = await Promise.all([client.status(), client.peers()])
    const alive = peers.filter(peer => peer.self || peer.state === 'alive').length
    const text = `${swarm.id}, ${count(alive, 'machine')} so far, role ${swarm.role}`
    return { text, mayAdmit: swarm.role === 'admin' }
  } catch (error) {
    // The daemon is ready, whatever this question came to.
    if (!(error instanceof StarlingError)) throw error
    cli.terminal.note(`the swarm cannot be shown: ${error.code}: ${error.message}`)
    return { text: 'unknown', mayAdmit: false }
  } finally {
    client.close()
  }
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}
