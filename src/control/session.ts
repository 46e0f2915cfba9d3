import type { RawData, WebSocket } from 'ws'
import type { DaemonApi, WorkerConnection, WorkerSession } from '../ports/daemon-api.ts'
import type { Logger } from '../ports/logger.ts'
import type { ChildOutcome, TaskStart } from '../ports/runtime.ts'
import { type DaemonMessage, type WorkerMessage, workerMessageSchema } from '../wire/api/session.ts'
import { StarlingError } from '../wire/errors.ts'
import { parseJson } from './json.ts'
import { type ControlTiming, SESSION_BUFFER_BYTES_MAX, SESSION_SPAWNS_MAX } from './limits.ts'
import { problem, validationError } from './problem.ts'

export interface WorkerSocketInit {
  readonly api: DaemonApi
  readonly socket: WebSocket
  readonly logger: Logger
  readonly timing: ControlTiming
  readonly sessionId: string
  readonly version: string
}

/** WebSocket close codes (RFC 6455, section 7.4.1). */
const UNSUPPORTED_DATA = 1003
const POLICY_VIOLATION = 1008
const INTERNAL_ERROR = 1011
const TRY_AGAIN_LATER = 1013

/** Longest reason in a close frame, in bytes (RFC 6455, section 5.5). */
const CLOSE_REASON_BYTES_MAX = 123

/**
 * One connected SDK worker: its messages become calls of the daemon's session, the daemon's calls become messages, in
 * order. A request that is wrong is refused by its reply; anything else that is wrong ends the session.
 */
export class WorkerSocket implements WorkerConnection {
  readonly #init: WorkerSocketInit
  #session: WorkerSession | undefined
  #ping: NodeJS.Timeout | undefined
  #heardAt = performance.now()
  #spawns = 0
  #closed = false

  constructor(init: WorkerSocketInit) {
    this.#init = init
  }

  /** Connects the worker to the daemon and welcomes it; a daemon that refuses it ends the session. Call once. */
  open(): void {
    const { api, logger, socket, timing, version } = this.#init
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    socket.on('pong', () => this.#heard())
    socket.on('close', (code, reason) => this.#onClose(code, reason.toString()))
    socket.on('error', error => logger.warn('worker connection failed', { ...this.#fields(), error }))
    this.#ping = setInterval(() => this.#checkAlive(), timing.sessionPingMs)
    try {
      const { peerId, name } = api.ready()
      this.#session = api.openSession(this)
      this.#send({ kind: 'welcome', peerId, name, version })
      logger.info('worker is connected', this.#fields())
    } catch (error) {
      this.#close(TRY_AGAIN_LATER, error instanceof Error ? error.message : 'the daemon takes no workers')
    }
  }

  start(task: TaskStart): void {
    const { timeoutMs: _, ...shown } = task
    this.#send({ kind: 'start', task: shown })
  }

  leases(leases: readonly { readonly jobId: string; readonly leftMs: number }[]): void {
    this.#send({ kind: 'lease', leases: [...leases] })
  }

  abort(attemptId: string, reason: string): void {
    this.#send({ kind: 'abort', attemptId, reason })
  }

  childSettled(attemptId: string, child: ChildOutcome): void {
    const { taskId, outcome, result, error } = child
    this.#send({ kind: 'child', attemptId, child: { taskId, outcome, result, error } })
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#heard()
    if (this.#closed) return
    if (isBinary || !(data instanceof Buffer)) return this.#close(UNSUPPORTED_DATA, 'messages are JSON text')
    let value: unknown
    try {
      value = parseJson(data)
    } catch (error) {
      return this.#refuse(error)
    }
    const checked = workerMessageSchema.safeParse(value)
    if (checked.success) return this.#handle(checked.data)
    const error = validationError(checked.error, 'message')
    const ref = requestRef(value)
    if (ref === undefined) this.#refuse(error)
    else this.#reject(ref, error)
  }

  #handle(message: WorkerMessage): void {
    try {
      this.#call(message)
    } catch (error) {
      if ('ref' in message) return this.#reject(message.ref, error)
      this.#init.logger.error('message of a worker failed', { ...this.#fields(), message: message.kind, error })
      this.#close(INTERNAL_ERROR, 'the daemon failed to handle a message')
    }
  }

  #call(message: WorkerMessage): void {
    const session = this.#session
    if (session === undefined) return
    switch (message.kind) {
      case 'work':
        session.work(message.capability, message.slots)
        return this.#send({ kind: 'reply', ref: message.ref })
      case 'unwork':
        session.unwork(message.capability)
        return this.#send({ kind: 'reply', ref: message.ref })
      case 'spawn':
        return this.#spawn(session, message)
      case 'blocked':
        return session.blocked(message.attemptId, message.blocked)
      case 'log':
        return session.log(message.attemptId, message.line)
      case 'progress':
        return session.progress(message.attemptId, message.fraction, message.note)
      case 'ended': {
        const { outcome } = message
        const end = outcome.kind === 'completed' ? { ...outcome, result: outcome.result ?? null } : outcome
        return session.ended(message.attemptId, end)
      }
    }
  }

  #spawn(session: WorkerSession, message: Extract<WorkerMessage, { kind: 'spawn' }>): void {
    if (this.#spawns >= SESSION_SPAWNS_MAX) {
      throw new StarlingError('LIMIT_REACHED', `this worker has ${SESSION_SPAWNS_MAX} spawns that are not answered yet`)
    }
    this.#spawns += 1
    this.#answer(session, message).finally(() => {
      this.#spawns -= 1
    })
  }

  async #answer(session: WorkerSession, message: Extract<WorkerMessage, { kind: 'spawn' }>): Promise<void> {
    const { kind: _, ref, attemptId, ...request } = message
    try {
      const value = await session.spawn(attemptId, request)
      this.#send({ kind: 'reply', ref, value })
    } catch (error) {
      this.#reject(ref, error)
    }
  }

  #reject(ref: number, error: unknown): void {
    const { code, detail, hint } = problem(error, this.#init.sessionId)
    const fields = { ...this.#fields(), ref, code }
    if (code === 'INTERNAL') this.#init.logger.error('request of a worker failed', { ...fields, error })
    else this.#init.logger.debug('request of a worker refused', { ...fields, detail })
    this.#send({ kind: 'reply', ref, problem: { code, detail, hint } })
  }

  #refuse(error: unknown): void {
    this.#close(POLICY_VIOLATION, error instanceof Error ? error.message : 'malformed message')
  }

  /** Sends unless the worker is so far behind that what waits for it has reached its bound: then it is cut off. */
  #send(message: DaemonMessage): void {
    const { socket, logger } = this.#init
    if (this.#closed || socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount > SESSION_BUFFER_BYTES_MAX) {
      logger.warn('worker takes too little and was cut', {
        ...this.#fields(),
        code: 'LIMIT_REACHED',
        bufferedBytes: socket.bufferedAmount
      })
      return socket.terminate()
    }
    socket.send(JSON.stringify(message))
  }

  #heard(): void {
    this.#heardAt = performance.now()
  }

  #checkAlive(): void {
    const { socket, timing, logger } = this.#init
    const silentMs = performance.now() - this.#heardAt
    if (silentMs <= timing.sessionSilenceMs) return socket.ping()
    logger.warn('worker does not answer and was cut', { ...this.#fields(), code: 'TIMED_OUT', silentMs })
    socket.terminate()
  }

  #close(code: number, reason: string): void {
    this.#init.logger.warn('worker session is ended', { ...this.#fields(), closeCode: code, reason })
    this.#init.socket.close(code, Buffer.from(reason).subarray(0, CLOSE_REASON_BYTES_MAX).toString('utf8'))
    this.#onClose(code, reason)
  }

  #onClose(code: number, reason: string): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#ping)
    this.#init.logger.info('worker is gone', { ...this.#fields(), closeCode: code, reason })
    this.#session?.close()
  }

  #fields(): Record<string, unknown> {
    return { session: this.#init.sessionId }
  }
}

/** Number of a request whose envelope is right, so that it can be refused by its reply alone. */
function requestRef(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value) || !('ref' in value)) return undefined
  const { kind, ref } = value
  const isRequest = kind === 'work' || kind === 'unwork' || kind === 'spawn'
  return isRequest && typeof ref === 'number' && Number.isSafeInteger(ref) ? ref : undefined
}
