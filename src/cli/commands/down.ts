import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { DaemonClient } from '../../sdk/daemon-client.ts'
import { StarlingError } from '../../wire/errors.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import { count } from '../output/text.ts'

/** Longest wait for the daemon to be gone: it hands queued work back and says farewell, which takes seconds. */
const DOWN_WAIT_MS = 60_000

/** Pause between two looks whether it is gone. */
const DOWN_POLL_MS = 25

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'down', 'stop the daemon and wait until it is gone')
    .option('--now', 'give the tasks that run here no time to end')
    .addHelpText(
      'after',
      `
Tasks that run here get 5 s to end. What is left then goes back, with what waits here, to the daemons that had
handed it out, which have it done on other hosts. To let long tasks end first: starling drain NAME, then starling down.
Jobs that were handed in here wait for the next start of this daemon, and then go on.`
    )
    .action((options: ClientOptions & { now?: true }) =>
      cli.withClient(options, async client => {
        const { pid, name, peerId } = await client.ready()
        if (!options.json) await noteTasks(cli, client, options.now === true)
        await client.stop({ now: options.now === true })
        await Promise.race([untilGone(client, pid), tooLong(pid, options.now === true)])
        if (options.json) cli.terminal.json('Stopped', { peerId, name, pid })
        else cli.terminal.out(`${name} has stopped (pid ${pid})`)
        return 0
      })
    )
}

/** Says what becomes of the work that is here. */
async function noteTasks(cli: Cli, client: DaemonClient, now: boolean): Promise<void> {
  const running = (await client.peers()).find(({ self }) => self)?.load.running ?? 0
  if (running === 0) return
  const fate = now ? 'other hosts do it again' : 'up to 5 s to end; what is left then, other hosts do again'
  cli.terminal.note(`${count(running, 'task')} ${running === 1 ? 'runs' : 'run'} here: ${fate}`)
}

async function untilGone(client: DaemonClient, pid: number): Promise<void> {
  while ((await listens(client)) || (await runs(pid))) await sleep(DOWN_POLL_MS)
}

/** @throws StarlingError TIMED_OUT after DOWN_WAIT_MS */
async function tooLong(pid: number, now: boolean): Promise<never> {
  await sleep(DOWN_WAIT_MS)
  throw new StarlingError('TIMED_OUT', `the daemon (pid ${pid}) is still stopping after ${DOWN_WAIT_MS / 1_000} s`, {
    hint: now ? `end it by force: kill -9 ${pid}` : 'end it at once: starling down --now'
  })
}

async function listens(client: DaemonClient): Promise<boolean> {
  try {
    await client.version()
    return true
  } catch (error) {
    if (error instanceof StarlingError && error.code === 'DAEMON_NOT_RUNNING') return false
    throw error
  }
}

/** Whether the process is there. One that has ended and was not collected by its parent does not count. */
async function runs(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  if (process.platform !== 'linux') return true
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
  } catch (error) {
    // ESRCH: it went between the opening and the reading of the file.
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return false
    throw error
  }
}
