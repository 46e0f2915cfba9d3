import type { ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'
import { ERROR_MESSAGE_CHARS_MAX } from '../../core/index.ts'
import type { Attempt, AttemptEnd, AttemptHandlers, Clock, Logger, TaskStart } from '../../ports/index.ts'
import { completed, failed, failedBy, resultTooLarge, timedOut } from '../attempt-end.ts'
import { AttemptLog } from '../attempt-log.ts'
import type { Jail, OutputPipe, ProcessJails } from '../jail/index.ts'
import { type ArgvTemplate, fillArgv } from './argv-template.ts'
import { taskEnvironment } from './environment.ts'
import { findProgram } from './find-program.ts'
import { LogReader, ResultCollector } from './output.ts'

/**
 * How long pipes may stay open when all processes are gone: somebody outside then holds them. In several waits, so that
 * a daemon that has been busy for longer still reads what is in the pipe before it gives up.
 */
const DRAIN_WAIT_MS = 250
const DRAIN_WAITS = 4

/** Errors of starting a process that are the machine's and not the task's. */
const HOST_ERRORS = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE'])

/** What all attempts of one capability share. */
export interface CommandSettings {
  readonly template: ArgvTemplate
  readonly cwd: string
  /** Configured variables. */
  readonly env: Readonly<Record<string, string>>
  /** The daemon's own environment. */
  readonly ownEnvironment: Readonly<Record<string, string | undefined>>
  readonly socket: string
  readonly jails: ProcessJails
  readonly clock: Clock
  readonly logger: Logger
}

/** Why it ended; the first one counts. */
type Cause = 'exited' | 'killed' | 'timeout' | 'too-large'

/** One process with its descendants, from start to the last of them. */
export class CommandAttempt implements Attempt {
  readonly #settings: CommandSettings
  readonly #task: TaskStart
  readonly #log: LogReader
  readonly #stdout = new ResultCollector()
  #jail: Jail | undefined
  #cause: Cause | undefined

  constructor(settings: CommandSettings, task: TaskStart, handlers: AttemptHandlers) {
    this.#settings = settings
    this.#task = task
    this.#log = new LogReader(new AttemptLog(settings.clock, line => handlers.log(line)))
  }

  kill(reason: string, hard: boolean): void {
    this.#settings.logger.debug('killing', { task: this.#task.taskId, attempt: this.#task.attemptId, reason, hard })
    this.#end('killed')
    if (hard) void this.#jail?.end(true)
  }

  /** Nothing to do: a command learns about its children by asking on the control socket. */
  childSettled(): void {}

  /** To be called once. Resolves when every process is gone; never rejects. */
  async run(): Promise<AttemptEnd> {
    // Also so that handlers are never called inside the caller's `start`.
    const pipes = await this.#pipes()
    if ('kind' in pipes) return pipes
    let child: ChildProcess
    let stdin: string
    try {
      // After the last wait before the start: who was killed meanwhile is never started.
      if (this.#cause !== undefined) {
        discard(pipes)
        return { kind: 'killed' }
      }
      stdin = stdinLine(this.#task)
      const started = this.#start(pipes)
      if ('kind' in started) {
        discard(pipes)
        return started
      }
      child = started
    } catch (error) {
      discard(pipes)
      await this.#jail?.end()
      return failedBy(error, 'TASK_FAILED')
    }
    const streams = this.#connect(child, pipes)
    child.stdin?.end(stdin)
    return this.#finish(child, streams)
  }

  /** Those for stdout and stderr; undefined where there are none. */
  async #pipes(): Promise<Pipes | AttemptEnd> {
    const { jails, logger } = this.#settings
    let stdout: OutputPipe | undefined
    try {
      stdout = await jails.pipes.take()
      return { stdout, stderr: await jails.pipes.take() }
    } catch (error) {
      stdout?.discard()
      logger.error('no pipes for a task', { task: this.#task.taskId, error })
      return { kind: 'returned', reason: error instanceof Error ? error.message : String(error) }
    }
  }

  #start({ stdout, stderr }: Pipes): ChildProcess | AttemptEnd {
    const { template, cwd, env, ownEnvironment, socket, jails, logger } = this.#settings
    const environment = taskEnvironment(ownEnvironment, env, this.#task, socket)
    const argv = fillArgv(template, this.#task.input)
    const program = findProgram(template.program, cwd, environment.PATH)
    try {
      this.#jail = jails.open(this.#task.jobId, this.#task.leaseLeftMs)
    } catch (error) {
      logger.error('no jail for a task', { task: this.#task.taskId, error })
      return { kind: 'returned', reason: error instanceof Error ? error.message : String(error) }
    }
    return this.#jail.spawn(program, argv, {
      cwd,
      env: environment,
      stdout: stdout?.writer ?? 'pipe',
      stderr: stderr?.writer ?? 'pipe'
    })
  }

  #connect(child: ChildProcess, pipes: Pipes): Streams {
    const stdout = readFrom(child.stdout, pipes.stdout, chunk => {
      this.#stdout.push(chunk)
      if (!this.#stdout.tooLarge) return
      this.#end('too-large')
      // Nobody reads on: what it still writes is refused by the system, and costs nothing here.
      stdout?.destroy()
    })
    const stderr = readFrom(child.stderr, pipes.stderr, chunk => this.#log.push(chunk))
    const streams = [child.stdin, stdout, stderr].filter(stream => stream !== null)
    for (const stream of streams) {
      // EPIPE of a command that does not read its input, above all.
      stream.on('error', error => this.#settings.logger.debug('pipe of a task', { task: this.#task.taskId, error }))
    }
    const outputs = [stdout, stderr].filter(stream => stream !== null)
    const closed = Promise.all(outputs.map(stream => new Promise<void>(resolve => stream.once('close', resolve))))
    return { all: streams, closed }
  }

  async #finish(child: ChildProcess, streams: Streams): Promise<AttemptEnd> {
    const { timeoutMs } = this.#task
    const timer =
      timeoutMs === undefined ? undefined : this.#settings.clock.after(timeoutMs, () => this.#end('timeout'))
    const exit = await this.#exit(child)
    timer?.cancel()
    this.#end('exited')
    await this.#jail?.end()
    await this.#drained(streams)
    this.#log.end()
    return this.#outcome(exit)
  }

  #exit(child: ChildProcess): Promise<Exit> {
    return new Promise(resolve => {
      child.once('exit', (code, signal) => resolve({ code, signal, error: undefined }))
      child.on('error', error => {
        if (child.pid === undefined) resolve({ code: null, signal: null, error })
        else this.#settings.logger.warn('process of a task', { task: this.#task.taskId, error })
      })
    })
  }

  #end(cause: Cause): void {
    if (this.#cause !== undefined) return
    this.#cause = cause
    void this.#jail?.end()
  }

  async #drained({ all, closed }: Streams): Promise<void> {
    let open = true
    void closed.then(() => {
      open = false
    })
    for (let waits = 0; open && waits < DRAIN_WAITS; waits += 1) {
      const waited = Promise.withResolvers<void>()
      const timer = this.#settings.clock.after(DRAIN_WAIT_MS, waited.resolve)
      await Promise.race([closed, waited.promise])
      timer.cancel()
    }
    if (open) this.#settings.logger.warn('pipe of a task held open from outside', { task: this.#task.taskId })
    for (const stream of all) stream.destroy()
  }

  #outcome({ code, signal, error }: Exit): AttemptEnd {
    if (error !== undefined) {
      const reason = 'code' in error ? String(error.code) : ''
      if (HOST_ERRORS.has(reason)) return { kind: 'returned', reason: `cannot start a process: ${reason}` }
      return failed('TASK_FAILED', `cannot start ${this.#settings.template.program}: ${error.message}`)
    }
    if (this.#cause === 'killed') return { kind: 'killed' }
    if (this.#cause === 'timeout') return timedOut(this.#task.timeoutMs ?? 0)
    // What the process wrote last may be read only after its exit.
    if (this.#stdout.tooLarge) return resultTooLarge()
    if (code === 0) return completed(this.#stdout.result())
    const what = signal === null ? `exit code ${code}` : `ended by ${signal}`
    // Its end says most: the beginning is left out when it is too long.
    const tail = this.#log.tail().slice(what.length + 2 - ERROR_MESSAGE_CHARS_MAX)
    return failed('TASK_FAILED', tail === '' ? what : `${what}: ${tail}`)
  }
}

interface Pipes {
  readonly stdout: OutputPipe | undefined
  readonly stderr: OutputPipe | undefined
}

interface Streams {
  readonly all: readonly { destroy(): unknown }[]
  /** All outputs are at their end. */
  readonly closed: Promise<unknown>
}

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** It was never started. */
  readonly error: Error | undefined
}

/** What a task reads: one line of JSON. @throws RangeError when the input is nested deeper than the stack */
function stdinLine({ taskId, jobId, capability, input, attempt }: TaskStart): string {
  return `${JSON.stringify({ taskId, jobId, capability, input: input ?? null, attempt, artifacts: [] })}\n`
}

function discard({ stdout, stderr }: Pipes): void {
  stdout?.discard()
  stderr?.discard()
}

function readFrom(
  stream: Readable | null,
  pipe: OutputPipe | undefined,
  chunk: (bytes: Buffer) => void
): Readable | null {
  if (pipe !== undefined) return pipe.read(chunk)
  stream?.on('data', chunk)
  return stream
}
