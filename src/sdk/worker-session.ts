import { connect } from 'node:net'
import type { WebSocket } from 'ws'
import type { Logger } from '../ports/logger.ts'
import { SESSION_MESSAGE_BYTES_MAX } from '../wire/api/limits.ts'
import type { DaemonMessage, WorkerMessage } from '../wire/api/session.ts'
import { isErrorCode, StarlingError } from '../wire/errors.ts'
import { type AttemptChannel, WorkerAttempt, type WorkHandler } from './attempt.ts'
import { DaemonNotRunningError } from './errors.ts'
import { connectionError, problemError } from './http-connection.ts'

/** Time for which the daemon may take to welcome a worker; it answers in milliseconds unless it is frozen. */
const WELCOME_MS_MAX = 10_000

/**
 * Silence after which the daemon counts as gone, and what is worked on as taken back: less than a lease (6 s), at the end
 * of which others may take the work up. It pings every second.
 */
export const DAEMON_SILENCE_MS_MAX = 5_000

/** How often the ends of leases are looked at: attempts are aborted at most so long after. */
const LEASE_CHECK_MS = 100

/** Bytes waiting for the daemon beyond which lines of logs and progress are dropped, as they are best effort. */
export const LOSSY_BUFFER_BYTES_MAX = 4 * 1024 * 1024

/** Longest answer to a refused handshake that is read: a problem is a few hundred characters. */
const REFUSAL_CHARS_MAX = 64 * 1024

export interface WorkerSessionInit {
  readonly socketPath: string
  readonly logger: Logger
  readonly silenceMs: number
  /** Handler of a capability; undefined when it is served no more. */
  handler(capability: string): WorkHandler | undefined
  /** Once, when the session is lost or closed. Its attempts have been aborted. */
  closed(session: WorkerSession, reason: string): void
}

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** One WebSocket session with the daemon, from its welcome to its end; never opened again. */
export class WorkerSession implements AttemptChannel {
  readonly #init: WorkerSessionInit
  readonly #socket: WebSocket
  readonly #pending = new Map<number, Pending>()
  readonly #attempts = new Map<string, WorkerAttempt>()
  /** When the lease of each job that is worked for ends, by this process's clock. */
  readonly #leaseEnds = new Map<string, number>()
  readonly #watch: NodeJS.Timeout
  #lastRef = 0
  #heardAt = performance.now()
  #checkedAt = performance.now()
  #closed = false

  /** Resolves when the daemon has welcomed this worker. @throws the errors of `DaemonClient` */
  static async open(init: WorkerSessionInit): Promise<WorkerSession> {
    const socket = await openSocket(init.socketPath)
    const session = new WorkerSession(init, socket)
    await session.#welcome()
    return session
  }

  private constructor(init: WorkerSessionInit, socket: WebSocket) {
    this.#init = init
    this.#socket = socket
    this.#watch = setInterval(() => this.#check(), Math.min(LEASE_CHECK_MS, init.silenceMs / 4))
  }

  get alive(): boolean {
    return !this.#closed
  }

  /** Registers a capability. @throws StarlingError LIMIT_REACHED, CONFIG_INVALID, INVALID_INPUT, DAEMON_NOT_RUNNING */
  async work(capability: string, slots: number): Promise<void> {
    await this.#request(ref => ({ kind: 'work', ref, capability, slots }))
  }

  async spawn(message: Parameters<AttemptChannel['spawn']>[0]): Promise<string> {
    const value = await this.#request(ref => ({ kind: 'spawn', ref, ...message }))
    return (value as { taskId: string }).taskId
  }

  send(message: WorkerMessage): void {
    if (!this.#closed) this.#socket.send(JSON.stringify(message))
  }

  sendLossy(message: WorkerMessage): void {
    if (this.#socket.bufferedAmount <= LOSSY_BUFFER_BYTES_MAX) this.send(message)
  }

  /** Ends the session; the daemon gives its attempts to others. Idempotent. */
  close(reason: string): void {
    if (this.#closed) return
    this.#socket.close(1000, 'the worker leaves')
    this.#lost(reason)
  }

  #welcome(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#socket.terminate()
        reject(new StarlingError('TIMED_OUT', 'the daemon does not welcome this worker', { hint: 'starling doctor' }))
      }, WELCOME_MS_MAX)
      const done = (error?: StarlingError) => {
        clearTimeout(timer)
        if (error === undefined) resolve()
        else reject(error)
      }
      this.#socket.on('ping', () => this.#heard())
      this.#socket.on('error', error => this.#init.logger.debug('connection to the daemon failed', { error }))
      this.#socket.on('close', (code, reason) => {
        const why = reason.length === 0 ? `close code ${code}` : reason.toString()
        done(new DaemonNotRunningError(`the daemon has closed the session: ${why}`))
        this.#lost(why)
      })
      this.#socket.on('message', data => {
        this.#heard()
        const message = JSON.parse(String(data)) as DaemonMessage
        if (message.kind === 'welcome') done()
        else this.#handle(message)
      })
      this.#socket.resume()
    })
  }

  #handle(message: DaemonMessage): void {
    if (this.#closed) return
    switch (message.kind) {
      case 'start':
        return this.#start(message.task)
      case 'lease':
        for (const { jobId, leftMs } of message.leases) this.#leaseEnds.set(jobId, performance.now() + leftMs)
        return
      case 'abort':
        return this.#attempts.get(message.attemptId)?.abort(new StarlingError('TASK_CANCELLED', message.reason))
      case 'child': {
        const { taskId, outcome, result, error } = message.child
        return this.#attempts.get(message.attemptId)?.childSettled({ taskId, outcome, result, error })
      }
      case 'reply':
        return this.#reply(message)
      case 'welcome':
        return
    }
  }

  #start(task: Extract<DaemonMessage, { kind: 'start' }>['task']): void {
    const handler = this.#init.handler(task.capability) ?? notServed(task.capability)
    this.#leaseEnds.set(task.jobId, performance.now() + task.leaseLeftMs)
    const attempt = new WorkerAttempt(task, handler, this)
    this.#attempts.set(task.attemptId, attempt)
    attempt.run().finally(() => this.#attempts.delete(task.attemptId))
  }

  #reply({ ref, value, problem }: Extract<DaemonMessage, { kind: 'reply' }>): void {
    const pending = this.#pending.get(ref)
    this.#pending.delete(ref)
    if (problem === undefined) return pending?.resolve(value)
    const code = isErrorCode(problem.code) ? problem.code : 'INTERNAL'
    pending?.reject(new StarlingError(code, problem.detail, { hint: problem.hint }))
  }

  #request(message: (ref: number) => WorkerMessage): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new DaemonNotRunningError('the session with the daemon is lost'))
      this.#lastRef += 1
      this.#pending.set(this.#lastRef, { resolve, reject })
      this.send(message(this.#lastRef))
    })
  }

  #lost(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#watch)
    const error = new DaemonNotRunningError(`the session with the daemon is lost: ${reason}`)
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
    for (const attempt of this.#attempts.values()) attempt.abort(error)
    this.#init.closed(this, reason)
  }

  #heard(): void {
    this.#heardAt = performance.now()
  }

  #check(): void {
    this.#checkLeases(performance.now())
    this.#checkDaemon(performance.now())
  }

  /** The daemon would say so itself, unless it is stopped; others may take the work up from now on. */
  #checkLeases(now: number): void {
    for (const [jobId, end] of this.#leaseEnds) {
      const attempts = [...this.#attempts.values()].filter(attempt => attempt.jobId === jobId)
      if (now < end && attempts.length > 0) continue
      this.#leaseEnds.delete(jobId)
      for (const attempt of attempts) attempt.abort(new StarlingError('TASK_CANCELLED', 'the lease of its job is over'))
    }
  }

  #checkDaemon(now: number): void {
    // When this process itself was busy or stopped, what the daemon has sent meanwhile is still unread.
    if (now - this.#checkedAt > this.#init.silenceMs / 2) this.#heardAt = now
    this.#checkedAt = now
    if (now - this.#heardAt <= this.#init.silenceMs) return
    this.#socket.terminate()
    this.#lost('the daemon does not answer')
  }
}

/** Loads the WebSocket library only when a worker connects: it costs other programs their start time. */
async function openSocket(socketPath: string): Promise<WebSocket> {
  const { WebSocket } = await import('ws')
  const socket = new WebSocket('ws://localhost/v1/session', {
    createConnection: () => connect(socketPath),
    maxPayload: SESSION_MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handshakeTimeout: WELCOME_MS_MAX
  })
  // Messages that come in the same read as the handshake must not be lost before their handler is there.
  socket.once('open', () => socket.pause())
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket))
    socket.once('error', error => reject(connectionError(error, socketPath)))
    socket.once('unexpected-response', (_, response) => {
      response.setEncoding('utf8')
      let text = ''
      response.on('data', (chunk: string) => {
        if (text.length < REFUSAL_CHARS_MAX) text += chunk
      })
      response.once('close', () => reject(refusal(text, response.statusCode)))
    })
  })
}

function refusal(text: string, status: number | undefined): unknown {
  try {
    return problemError(text, status)
  } catch (error) {
    return error
  }
}

function notServed(capability: string): WorkHandler {
  return () => {
    throw new StarlingError('TASK_FAILED', `this worker does not serve ${capability}`)
  }
}
