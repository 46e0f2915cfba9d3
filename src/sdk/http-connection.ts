import type { IncomingMessage } from 'node:http'
import { BODY_BYTES_MAX } from '../wire/api/limits.ts'
import type { Problem } from '../wire/api/schemas.ts'
import { isErrorCode, StarlingError } from '../wire/errors.ts'
import { DaemonNotRunningError } from './errors.ts'

/**
 * Not by an import: that reads every export of the module, and one of them loads a whole WebSocket client, which takes
 * five times as long as all else that a short command does.
 */
const { Agent, request } = process.getBuiltinModule('node:http')

/** Longest answer that is read: a job with all its tasks, at the bound of obligations and a few hundred bytes each. */
export const RESPONSE_BYTES_MAX = 256 * 1024 * 1024

/** Errors of a connection that say that nobody is there, or that somebody was and went away. */
const GONE = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTSOCK'])

export interface RequestOptions {
  /** Sent as JSON when it is there. */
  readonly body?: unknown
  readonly headers?: Record<string, string> | undefined
  readonly signal?: AbortSignal | undefined
}

/** HTTP to one unix socket, with kept connections. Errors are those of `DaemonClient`. */
export class HttpConnection {
  readonly #socketPath: string
  readonly #agent = new Agent({ keepAlive: true })
  #closed = false

  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  /**
   * One exchange; resolves with the parsed body. A GET whose kept connection turns out to be dead is sent once more;
   * any other request is never sent twice.
   */
  async request(method: 'GET' | 'POST', path: string, options: RequestOptions): Promise<unknown> {
    return parseBody(await this.#readText(await this.open(method, path, options)))
  }

  /** A GET that is answered with text. */
  async text(path: string): Promise<string> {
    return this.#readText(await this.open('GET', path, {}))
  }

  /** Sends a request and resolves with the response, its body unread, if its status is a success. */
  async open(method: 'GET' | 'POST', path: string, options: RequestOptions, again = true): Promise<IncomingMessage> {
    options.signal?.throwIfAborted()
    if (this.#closed) throw this.lost(undefined)
    const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body))
    if (body !== undefined && body.length > BODY_BYTES_MAX) {
      throw new StarlingError('INPUT_TOO_LARGE', `the request is ${body.length} bytes, more than ${BODY_BYTES_MAX}`, {
        hint: 'pass a path or a reference instead of the data'
      })
    }
    const sent = this.#send(method, path, body, options)
    let response: IncomingMessage
    try {
      response = await sent.response
    } catch (error) {
      options.signal?.throwIfAborted()
      if (again && method === 'GET' && sent.reused() && isGone(error)) return this.open(method, path, options, false)
      throw this.#translate(error)
    }
    if (isSuccess(response.statusCode)) return response
    throw problemError(await this.#readText(response), response.statusCode)
  }

  /** Turns a failure of the connection into the error that callers see. */
  lost(error: unknown): StarlingError {
    return this.#translate(error)
  }

  close(): void {
    this.#closed = true
    // Also what is under way: its sockets belong to the agent.
    this.#agent.destroy()
  }

  #send(method: string, path: string, body: Buffer | undefined, options: RequestOptions) {
    const outgoing = request({
      socketPath: this.#socketPath,
      agent: this.#agent,
      method,
      path,
      signal: options.signal,
      headers: {
        host: 'localhost',
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(body.length) }),
        ...options.headers
      }
    })
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve)
      outgoing.on('error', reject)
    })
    outgoing.end(body)
    return { response, reused: () => outgoing.reusedSocket }
  }

  async #readText(response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = []
    let length = 0
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        length += chunk.length
        if (length > RESPONSE_BYTES_MAX) break
        chunks.push(chunk)
      }
    } catch (error) {
      throw this.#translate(error)
    }
    if (length > RESPONSE_BYTES_MAX) {
      throw new StarlingError('LIMIT_REACHED', `the daemon's answer is longer than ${RESPONSE_BYTES_MAX} bytes`)
    }
    return Buffer.concat(chunks).toString('utf8')
  }

  #translate(error: unknown): StarlingError {
    if (this.#closed) return new DaemonNotRunningError('this client is closed', { cause: error })
    return connectionError(error, this.#socketPath)
  }
}

/** The error that callers see for a failure to connect, or of a connection. */
export function connectionError(error: unknown, socketPath: string): StarlingError {
  if (error instanceof StarlingError) return error
  const code = codeOf(error)
  if (code === 'EACCES' || code === 'EPERM') {
    return new StarlingError('DENIED', `the control socket ${socketPath} belongs to another user`, {
      hint: 'run the command as the user who runs the daemon, or set STARLING_HOME to a home of your own',
      cause: error
    })
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') {
    return new DaemonNotRunningError(`no daemon listens on ${socketPath}`, { cause: error })
  }
  if (isGone(error)) return new DaemonNotRunningError('the daemon went away before it had answered', { cause: error })
  return new StarlingError('INTERNAL', `the request to the daemon failed: ${messageOf(error)}`, { cause: error })
}

function isSuccess(status: number | undefined): boolean {
  return status !== undefined && status >= 200 && status < 300
}

function isGone(error: unknown): boolean {
  return GONE.has(codeOf(error) ?? '') || messageOf(error) === 'aborted'
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new StarlingError('INTERNAL', 'the answer on the control socket is no JSON', {
      hint: 'see whether another program listens on this socket',
      cause: error
    })
  }
}

/** The error that a problem document stands for. A code that this version does not know counts as INTERNAL. */
export function problemError(text: string, status: number | undefined): StarlingError {
  const problem = parseBody(text) as Partial<Problem>
  const known = typeof problem.code === 'string' && isErrorCode(problem.code)
  return new StarlingError(known ? (problem.code as never) : 'INTERNAL', problem.detail ?? `HTTP status ${status}`, {
    hint: problem.hint
  })
}
