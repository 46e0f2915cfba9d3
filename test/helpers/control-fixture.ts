import { type IncomingHttpHeaders, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { type ControlServer, type ControlTiming, controlServer } from '../../src/control/index.ts'
import { type Logger, silentLogger } from '../../src/ports/logger.ts'
import { FakeDaemonApi } from './fake-daemon-api.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const cleanups: (() => void | Promise<void>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Runs `cleanup` after the test, before what was registered earlier. */
export function afterTest(cleanup: () => void | Promise<void>): void {
  cleanups.push(cleanup)
}

export interface Fixture {
  readonly api: FakeDaemonApi
  readonly server: ControlServer
  readonly socketPath: string
}

/** A started control server over a fake daemon, stopped after the test. */
export async function serve(
  options: { api?: FakeDaemonApi; socketPath?: string; timing?: Partial<ControlTiming>; logger?: Logger } = {}
): Promise<Fixture> {
  const api = options.api ?? new FakeDaemonApi()
  const socketPath = options.socketPath ?? join(temporaryDirectory(), 'starling.sock')
  const logger = options.logger ?? silentLogger
  const server = controlServer({ api, socketPath, logger, version: '1.2.3', timing: options.timing })
  afterTest(() => server.stop())
  await server.start()
  return { api, server, socketPath }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Parsed body; undefined when it is no JSON. */
  readonly json: Record<string, unknown>
}

/** One HTTP request on the socket by Node's own client. */
export function call(
  socketPath: string,
  method: string,
  path: string,
  options: { body?: string | Buffer; headers?: Record<string, string> } = {}
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers: { host: 'localhost', ...options.headers } })
    outgoing.on('error', reject)
    outgoing.on('response', response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        const isJson = response.headers['content-type']?.includes('json')
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson ? JSON.parse(text) : {}
        })
      })
    })
    outgoing.end(options.body)
  })
}

/** A raw connection: writes bytes as they are and collects what comes back. */
export class RawConnection {
  readonly socket: Socket
  received = ''
  ended = false

  constructor(socketPath: string) {
    this.socket = connect(socketPath)
    this.socket.setEncoding('utf8')
    this.socket.on('data', (chunk: string) => {
      this.received += chunk
    })
    this.socket.on('close', () => {
      this.ended = true
    })
    // A cut connection is what several tests are about; they look at `ended`.
    this.socket.on('error', () => undefined)
    afterTest(() => {
      this.socket.destroy()
    })
  }

  write(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }
}
