import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import type { DaemonApi } from '../ports/daemon-api.ts'
import type { Logger } from '../ports/logger.ts'
import { document } from '../wire/api/document.ts'
import { StarlingError } from '../wire/errors.ts'
import { sendEventStream } from './event-stream.ts'
import { readJson } from './json.ts'
import { type ControlTiming, STREAMS_MAX, WAITS_MAX } from './limits.ts'
import { openApi } from './openapi.ts'
import { PROBLEM_TYPE, problem } from './problem.ts'
import { Admission, type Route } from './route.ts'
import { routes } from './routes.ts'

export interface ControlAppInit {
  readonly api: DaemonApi
  readonly logger: Logger
  readonly version: string
  readonly timing: ControlTiming
  /** Aborts when the server stops: waits and streams end. */
  readonly closing: AbortSignal
}

type Env = { Bindings: HttpBindings }

/** The HTTP routes. Answers are written to the node response itself, for streams need its backpressure. */
export function controlApp(init: ControlAppInit): Hono<Env> {
  const app = new Hono<Env>()
  const waits = new Admission('waiting requests', WAITS_MAX)
  const streams = new Admission('streams', STREAMS_MAX)
  const table = routes(init.version)
  // Made when somebody asks: it costs more than all else that the server does at its start.
  let description: string | undefined

  for (const route of table) {
    app.on(route.method, route.path, context => answer(init, context, (call, outgoing) => run(route, call, outgoing)))
  }
  app.get('/v1/openapi.json', context =>
    answer(init, context, async (_, outgoing) => {
      description ??= JSON.stringify(openApi(table, init.version))
      send(outgoing, 200, 'application/json', description)
    })
  )
  app.notFound(context =>
    answer(init, context, async () => {
      throw new StarlingError('NOT_FOUND', `there is no ${context.req.method} ${context.req.path}`, {
        hint: 'GET /v1/openapi.json lists all routes'
      })
    })
  )
  return app

  async function run(route: Route, call: Call, outgoing: ServerResponse): Promise<void> {
    const { context, signal, requestId } = call
    const { incoming } = context.env
    const value = await route.run({
      api: init.api,
      signal,
      waits,
      parameters: context.req.param(),
      query: context.req.query(),
      headers: incoming.headers,
      body: route.method === 'POST' ? await readJson(incoming) : undefined
    })
    const { answer } = route
    if (answer.form === 'text') return send(outgoing, 200, answer.contentType, String(value))
    if (answer.form === 'document') {
      return send(outgoing, answer.status, 'application/json', JSON.stringify(document(answer.kind, value as object)))
    }
    const items = value as AsyncIterable<never>
    const { timing, logger } = init
    await streams.run(() => sendEventStream({ outgoing, items, id: answer.id, signal, timing, logger, requestId }))
  }
}

interface Call {
  readonly context: Context<Env>
  readonly requestId: string
  /** Aborts when the client is gone or the server stops. */
  readonly signal: AbortSignal
}

async function answer(
  init: ControlAppInit,
  context: Context<Env>,
  run: (call: Call, outgoing: ServerResponse) => Promise<void>
): Promise<Response> {
  const { incoming, outgoing } = context.env as { incoming: IncomingMessage; outgoing: ServerResponse }
  const requestId = randomUUID()
  outgoing.setHeader('x-request-id', requestId)
  const gone = new AbortController()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort()
  })
  outgoing.once('finish', () => {
    if (init.closing.aborted) incoming.socket.end()
  })
  const signal = AbortSignal.any([gone.signal, init.closing])
  try {
    checkOrigin(incoming)
    await run({ context, requestId, signal }, outgoing)
  } catch (error) {
    fail(init.logger, outgoing, error, { requestId, method: incoming.method, path: context.req.path })
    if (!incoming.complete) outgoing.once('finish', () => incoming.destroy())
  }
  return RESPONSE_ALREADY_SENT
}

/** Answers with the problem that `error` stands for; what is no StarlingError is a defect and is logged as one. */
export function fail(logger: Logger, outgoing: ServerResponse, error: unknown, fields: Record<string, unknown>): void {
  const value = problem(error, String(fields.requestId))
  if (value.code === 'INTERNAL' && !outgoing.destroyed) logger.error('request failed', { ...fields, error })
  else logger.debug('request refused', { ...fields, code: value.code, detail: value.detail })
  if (outgoing.headersSent || outgoing.destroyed) return
  if (!outgoing.req.complete) outgoing.setHeader('connection', 'close')
  send(outgoing, value.status, PROBLEM_TYPE, JSON.stringify(value))
}

/**
 * Programs on this machine name the socket `localhost` or by another single word. A name with dots, or an `Origin`, is a
 * web page's request that something has forwarded here. @throws StarlingError DENIED
 */
export function checkOrigin(incoming: IncomingMessage): void {
  const { host, origin } = incoming.headers
  if (origin === undefined && /^[A-Za-z0-9_-]*(?::\d{1,5})?$/.test(host ?? '')) return
  throw new StarlingError('DENIED', 'this request comes from a web page or names another host', {
    hint: 'use http://localhost as the address, without an Origin header'
  })
}

function send(outgoing: ServerResponse, status: number, contentType: string, body: string): void {
  if (outgoing.destroyed) return
  outgoing.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) })
  outgoing.end(body)
}
