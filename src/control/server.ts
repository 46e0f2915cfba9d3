import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { WebSocketServer } from 'ws'
import type { DaemonApi } from '../ports/daemon-api.ts'
import type { Logger } from '../ports/logger.ts'
import { SESSION_MESSAGE_BYTES_MAX } from '../wire/api/limits.ts'
import { StarlingError } from '../wire/errors.ts'
import { checkOrigin, controlApp } from './app.ts'
import { CONNECTIONS_MAX, CONTROL_TIMING, type ControlTiming, SESSIONS_MAX, STOP_GRACE_MS } from './limits.ts'
import { PROBLEM_TYPE, problem, rawProblem } from './problem.ts'
import { WorkerSocket } from './session.ts'
import { listenPrivately } from './socket-file.ts'

export interface ControlServerInit {
  readonly api: DaemonApi
  /** Where to listen: in a directory that exists and is private. */
  readonly socketPath: string
  readonly logger: Logger
  /** Version of the program. */
  readonly version: string
  /** @default CONTROL_TIMING */
  readonly timing?: Partial<ControlTiming> | undefined
}

export interface ControlServer {
  /** Resolves when the socket accepts. @throws StarlingError HOME_UNUSABLE, ALREADY_RUNNING */
  start(): Promise<void>
  /** Ends streams, waits and sessions, and removes the socket. Resolves when all connections are closed. Idempotent. */
  stop(): Promise<void>
}

/** Close code of a session when the daemon stops: the worker may come back (RFC 6455: going away). */
const GOING_AWAY = 1001

/** Serves the control API of one daemon on its socket. */
export function controlServer(init: ControlServerInit): ControlServer {
  return new SocketServer(init)
}

class SocketServer implements ControlServer {
  readonly #init: ControlServerInit
  readonly #logger: Logger
  readonly #timing: ControlTiming
  readonly #closing = new AbortController()
  readonly #server: Server
  readonly #sessions: WebSocketServer
  #stopped: Promise<void> | undefined

  constructor(init: ControlServerInit) {
    this.#init = init
    this.#logger = init.logger.child('control')
    this.#timing = { ...CONTROL_TIMING, ...init.timing }
    this.#sessions = new WebSocketServer({
      noServer: true,
      clientTracking: true,
      maxPayload: SESSION_MESSAGE_BYTES_MAX,
      perMessageDeflate: false
    })
    this.#server = createServer({ requireHostHeader: false }, this.#listener())
    this.#server.maxConnections = CONNECTIONS_MAX
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
    this.#server.on('clientError', (error, socket) => this.#onMalformed(error, socket))
    this.#server.on('drop', () => this.#logger.warn('connection refused', { code: 'LIMIT_REACHED', CONNECTIONS_MAX }))
  }

  async start(): Promise<void> {
    await listenPrivately(this.#server, this.#init.socketPath)
    this.#server.on('error', error => this.#logger.error('control socket failed', { error }))
    this.#logger.info('control socket listens', { socket: this.#init.socketPath })
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const closed = new Promise<void>(resolve => {
      this.#server.close(() => resolve())
    })
    this.#closing.abort()
    for (const socket of this.#sessions.clients) socket.close(GOING_AWAY, 'the daemon stops')
    this.#server.closeIdleConnections()
    const grace = setTimeout(() => {
      for (const socket of this.#sessions.clients) socket.terminate()
      this.#server.closeAllConnections()
    }, STOP_GRACE_MS)
    await closed
    clearTimeout(grace)
  }

  #listener(): ReturnType<typeof getRequestListener> {
    const app = controlApp({
      api: this.#init.api,
      logger: this.#logger,
      version: this.#init.version,
      timing: this.#timing,
      closing: this.#closing.signal
    })
    return getRequestListener((request, env) => app.fetch(request, env as HttpBindings), {
      hostname: 'localhost',
      overrideGlobalObjects: false,
      autoCleanupIncoming: false,
      errorHandler: error => this.#unreadable(error)
    })
  }

  /** What the HTTP parser lets through but has no valid URL or host. */
  #unreadable(error: unknown): Response {
    this.#logger.debug('unreadable request', { code: 'INVALID_INPUT', error })
    const value = problem(new StarlingError('INVALID_INPUT', 'the request has no valid address'), randomUUID())
    return Response.json(value, { status: value.status, headers: { 'content-type': PROBLEM_TYPE } })
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const sessionId = randomUUID()
    socket.on('error', error => this.#logger.debug('connection of a worker failed', { session: sessionId, error }))
    try {
      checkOrigin(request)
      this.#admit(request)
    } catch (error) {
      this.#logger.warn('worker refused', { session: sessionId, error })
      socket.end(rawProblem(error, sessionId))
      return
    }
    const { api, version } = this.#init
    this.#sessions.handleUpgrade(request, socket, head, connection => {
      const logger = this.#logger
      new WorkerSocket({ api, socket: connection, logger, timing: this.#timing, sessionId, version }).open()
    })
  }

  #admit(request: IncomingMessage): void {
    if (request.url?.split('?')[0] !== '/v1/session') {
      throw new StarlingError('NOT_FOUND', `there is no WebSocket at ${request.url}`, { hint: 'use /v1/session' })
    }
    if (this.#closing.signal.aborted) throw new StarlingError('DAEMON_STOPPING', 'the daemon is stopping')
    if (this.#sessions.clients.size >= SESSIONS_MAX) {
      throw new StarlingError('LIMIT_REACHED', `this daemon serves ${SESSIONS_MAX} workers at a time`)
    }
  }

  /** What is no HTTP at all is answered once and cut. */
  #onMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
    this.#logger.debug('malformed request', { code: error.code ?? 'INVALID_INPUT' })
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
    socket.end(rawProblem(new StarlingError('INVALID_INPUT', 'the request is no valid HTTP/1.1'), randomUUID()))
  }
}
