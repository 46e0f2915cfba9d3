import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { StarlingError } from '../../core/index.ts'
import type { Clock, Logger } from '../../ports/index.ts'
import { machineTime, type SupervisorTask } from './supervisor-task.ts'

/** Before a supervisor that has died is started again, so that a machine without memory is not kept busy by it. */
const RESTART_DELAY_MS = 1_000

/** How long `close` waits for a process that is killed. */
const CLOSE_WAIT_MS = 3_000

/** Its heap stays small, since it sleeps all its life: 10 MB are its own, the rest is the program, shared with the daemon. */
const NODE_FLAGS = ['--max-old-space-size=16', '--max-semi-space-size=1', '--no-warnings']

/** What is kept of its stderr, for the log when it dies. */
const STDERR_CHARS_MAX = 2_000

/**
 * A process of its own beside the daemon that kills the daemon's jails when the daemon is gone, also by SIGKILL. There
 * is one per daemon, from the first jail on; in its own session, so that nothing sent to the daemon's group reaches it.
 */
export class Supervisor {
  readonly #task: SupervisorTask
  readonly #clock: Clock
  readonly #logger: Logger
  /** Job of each leader. */
  readonly #leaders = new Map<number, string>()
  readonly #deadlines = new Map<string, number>()
  #process: ChildProcess | undefined
  #closed = false

  constructor(task: SupervisorTask, clock: Clock, logger: Logger) {
    this.#task = task
    this.#clock = clock
    this.#logger = logger
  }

  /** Pid for display and tests; undefined while none runs. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Starts it when it does not run. @throws StarlingError LIMIT_REACHED when the system gives no process */
  ensure(): void {
    if (this.#process !== undefined || this.#closed) return
    const child = spawn(process.execPath, [...NODE_FLAGS, mainFile(), JSON.stringify(this.#task)], {
      cwd: '/',
      detached: true,
      env: {},
      stdio: ['pipe', 'ignore', 'pipe']
    })
    // Without it an error of the start would be thrown as uncaught.
    child.once('error', error => this.#logger.error('supervisor failed', { error }))
    if (child.pid === undefined) {
      throw new StarlingError('LIMIT_REACHED', 'cannot start the supervisor of command tasks', {
        hint: 'raise the limit of processes (ulimit -u) or free memory'
      })
    }
    this.#process = child
    let stderr = ''
    child.stderr.on('data', chunk => {
      if (stderr.length < STDERR_CHARS_MAX) stderr += String(chunk)
    })
    child.once('exit', (exitCode, signal) => this.#exited({ exitCode, signal, stderr }))
    child.stdin.on('error', error => this.#logger.debug('supervisor does not read', { error }))
    child.unref()
    for (const stream of [child.stdin, child.stderr]) {
      // Pipes are sockets; as such they would keep the daemon from ending by itself.
      if (stream instanceof Socket) stream.unref()
    }
    for (const [job, deadline] of this.#deadlines) this.#tell(`~${deadline} ${job}`)
    for (const [pid, job] of this.#leaders) this.#tell(`+${pid} ${job}`)
  }

  add(pid: number, job: string): void {
    this.#leaders.set(pid, job)
    this.#tell(`+${pid} ${job}`)
  }

  /** The lease of a job that has jails ends after `leftMs`, unless this is called again. */
  lease(job: string, leftMs: number): void {
    const deadline = machineTime() + leftMs
    this.#deadlines.set(job, deadline)
    this.#tell(`~${deadline} ${job}`)
  }

  /** The job has no jail any more. */
  forget(job: string): void {
    this.#deadlines.delete(job)
  }

  remove(pid: number): void {
    this.#leaders.delete(pid)
    this.#tell(`-${pid}`)
  }

  /** Ends it, to be called when no jail is left; resolves when it has gone, or after CLOSE_WAIT_MS. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    const child = this.#process
    if (child === undefined) return
    const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
    child.kill('SIGKILL')
    const late = Promise.withResolvers<void>()
    const timer = this.#clock.after(CLOSE_WAIT_MS, late.resolve)
    child.ref()
    await Promise.race([gone, late.promise])
    timer.cancel()
    child.unref()
  }

  #tell(line: string): void {
    this.#process?.stdin?.write(`${line}\n`)
  }

  #exited(how: { exitCode: number | null; signal: NodeJS.Signals | null; stderr: string }): void {
    this.#process = undefined
    if (this.#closed) return
    this.#logger.warn('supervisor of command tasks ended; starting another', how)
    this.#clock.after(RESTART_DELAY_MS, () => {
      try {
        this.ensure()
      } catch (error) {
        this.#logger.error('no supervisor: tasks would outlive a killed daemon until its next start', { error })
      }
    })
  }
}

/** Beside this file, as source or compiled. */
function mainFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`./supervisor-main.${extension}`, import.meta.url))
}
