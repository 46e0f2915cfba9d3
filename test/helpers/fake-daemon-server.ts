import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ERROR_CODES, type ErrorCode } from '../../src/wire/errors.ts'

/** A request as a route sees it; `body` is parsed JSON, or undefined. */
export interface FakeRequest {
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
  /** Aborts when the client has gone away. */
  readonly gone: AbortSignal
}

/** What a route answers: a JSON body, a server-sent event stream, a broken connection, or nothing for ever. */
export type FakeAnswer =
  | { readonly status?: number; readonly body: unknown }
  | { readonly events: AsyncIterable<FakeEvent> | Iterable<FakeEvent>; readonly open?: true }
  | 'break'
  | 'hang'

export interface FakeEvent {
  readonly id?: string
  readonly event?: string
  readonly data: unknown
}

export type FakeRoute = FakeAnswer | ((request: FakeRequest) => FakeAnswer | Promise<FakeAnswer>)

/** A control socket that answers from a table; it knows nothing about daemons. Routes may be changed while it runs. */
export interface FakeDaemonServer {
  readonly socketPath: string
  /** Keys are "GET /v1/status", without the query; `*` stands for one segment of the path. */
  readonly routes: Record<string, FakeRoute>
  /** Every request so far, oldest first, as "POST /v1/jobs" with its body. */
  readonly requests: { readonly route: string; readonly query: string; readonly body: unknown }[]
  close(): Promise<void>
}

export async function fakeDaemonServer(routes: Record<string, FakeRoute> = {}): Promise<FakeDaemonServer> {
  const directory = await mkdtemp(join(tmpdir(), 'starling-cli-'))
  const socketPath = join(directory, 's.sock')
  const requests: FakeDaemonServer['requests'] = []
  const table = { ...routes }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const route = `${request.method} ${url.pathname}`
    const body = await readBody(request)
    requests.push({ route, query: url.search, body })
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const answer = find(table, route) ?? fakeProblem('NOT_FOUND', `no route ${route}`)
    const query = url.searchParams
    const asked = { path: url.pathname, query, headers: request.headers, body, gone: gone.signal }
    await send(response, typeof answer === 'function' ? await answer(asked) : answer, gone.signal)
  })
  await new Promise<void>(resolve => server.listen(socketPath, resolve))
  return {
    socketPath,
    routes: table,
    requests,
    async close() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      await rm(directory, { recursive: true, force: true })
    }
  }
}

/** The answer that a real daemon gives for an error. */
export function fakeProblem(code: ErrorCode, detail: string, hint?: string): FakeAnswer {
  const { status, title } = ERROR_CODES[code]
  const type = `urn:starling:problem:${code}`
  return {
    status,
    body: { type, title, status, detail, code, ...(hint === undefined ? {} : { hint }), requestId: 'r1' }
  }
}

function find(routes: Record<string, FakeRoute>, route: string): FakeRoute | undefined {
  const parts = route.split('/')
  return Object.entries(routes).find(([key]) => {
    const pattern = key.split('/')
    return pattern.length === parts.length && pattern.every((part, index) => part === '*' || part === parts[index])
  })?.[1]
}

async function send(response: ServerResponse, answer: FakeAnswer, gone: AbortSignal): Promise<void> {
  if (answer === 'hang') return
  if (answer === 'break') {
    response.socket?.destroy()
    return
  }
  if ('body' in answer) {
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(answer.body))
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  for await (const { id, event, data } of answer.events) {
    if (gone.aborted) return
    const lines = [id === undefined ? '' : `id: ${id}\n`, event === undefined ? '' : `event: ${event}\n`]
    response.write(`${lines.join('')}data: ${JSON.stringify(data)}\n\n`)
  }
  if (!answer.open) response.end()
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  const text = Buffer.concat(parts).toString()
  return text === '' ? undefined : JSON.parse(text)
}
