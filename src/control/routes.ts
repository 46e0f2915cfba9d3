import * as z from 'zod'
import { API_VERSION } from '../wire/api/document.ts'
import {
  agentSchema,
  childOutcomeSchema,
  drainRequestSchema,
  type Event,
  eventSchema,
  findingSchema,
  jobSchema,
  jobSummarySchema,
  joinRequestSchema,
  logLineSchema,
  peerSchema,
  placementSchema,
  readySchema,
  spawnRequestSchema,
  statusSchema,
  submitRequestSchema,
  tokenRequestSchema,
  tokenSchema
} from '../wire/api/schemas.ts'
import { StarlingError } from '../wire/errors.ts'
import { CHILD_LOOK_MS } from './limits.ts'
import { type Answer, type CheckedRequest, flagSchema, type Route, route, waitSchema } from './route.ts'

/** Position in the stream of events; events are named by the daemon, so only the form is known here. */
const EVENT_ID = /^[A-Za-z0-9.:-]{1,64}$/

/** A peer is named by its id, by a prefix of it, or by its name, which may have letters of all scripts. */
const PEER = /^[^\s\p{C}/:,]{1,300}$/u

const strict = z.strictObject({})

/** All operations but `/v1/openapi.json`, which describes them, and `/v1/session`, which is a WebSocket. */
export function routes(version: string): Route[] {
  return [...daemonRoutes(version), ...jobRoutes(), ...taskRoutes(), ...memberRoutes()]
}

function daemonRoutes(version: string): Route[] {
  const versionSchema = z.object({ version: z.string(), apiVersions: z.array(z.string()) })
  return [
    route('GET', '/version', {
      summary: 'Version of the daemon, and the versions of the API that it serves',
      answer: one('Version', versionSchema),
      handle: () => ({ version, apiVersions: [API_VERSION.replace('starling/', '')] })
    }),
    route('GET', '/v1/healthz', {
      summary: 'Answers while the daemon works',
      answer: one('Health', z.object({ status: z.literal('ok') })),
      handle: () => ({ status: 'ok' })
    }),
    route('GET', '/v1/ready', {
      summary: 'Who the daemon is and where it listens, once it is ready',
      answer: one('Ready', readySchema),
      handle: ({ api }) => api.ready()
    }),
    route('GET', '/v1/status', {
      summary: 'State of the daemon, its swarm and its discovery',
      answer: one('Status', statusSchema),
      handle: ({ api }) => api.status()
    }),
    route('GET', '/v1/doctor', {
      summary: 'Checks what commonly goes wrong',
      answer: list('FindingList', findingSchema),
      handle: async ({ api }) => ({ items: await api.doctor() })
    }),
    route('GET', '/v1/events', {
      summary: 'Events after `Last-Event-ID` (or `since`), then live ones; without either only live ones',
      query: z.strictObject({ since: z.string().regex(EVENT_ID).optional() }),
      answer: { form: 'stream', schema: eventSchema, id: (event: Event) => event.id },
      handle: ({ api, headers, query, signal }) =>
        api.events({ sinceId: lastEventId(headers['last-event-id']) ?? query.since, signal })
    }),
    route('POST', '/v1/stop', {
      summary: 'Begins to stop the daemon; the socket goes away when it is done',
      body: z.strictObject({ now: z.boolean().optional() }),
      answer: { ...one('Stopping', z.object({ now: z.boolean() })), status: 202 },
      handle: ({ api, body }) => {
        const now = body.now ?? false
        api.stop({ now })
        return { now }
      }
    }),
    route('GET', '/metrics', {
      summary: 'Metrics in the text format of Prometheus',
      answer: { form: 'text', contentType: 'text/plain; version=0.0.4; charset=utf-8' },
      handle: ({ api }) => api.metrics()
    })
  ]
}

function jobRoutes(): Route[] {
  return [
    route('GET', '/v1/jobs', {
      summary: 'Jobs that were submitted here, newest first, without results',
      answer: list('JobList', jobSummarySchema),
      handle: ({ api }) => ({ items: api.jobs().map(({ result: _, ...job }) => job) })
    }),
    route('POST', '/v1/jobs', {
      summary: 'Submits a job; answered when it is durable',
      body: submitRequestSchema,
      answer: { ...one('Submission', z.object({ id: z.string(), existing: z.boolean() })), status: 201 },
      handle: ({ api, body }) => api.submit(body)
    }),
    route('POST', '/v1/plan', {
      summary: 'Where the root task of such a job would go now, and why; changes nothing',
      body: submitRequestSchema,
      answer: one('Placement', placementSchema),
      handle: ({ api, body }) => api.plan(body)
    }),
    route('GET', '/v1/jobs/:id', {
      summary: 'One job; with `wait` when it is over or that time has passed, with `items` all its tasks',
      query: z.strictObject({ wait: waitSchema.optional(), items: flagSchema.optional() }),
      answer: one('Job', jobSchema),
      handle: ({ api, parameters, query, signal, waits }) => {
        const id = parameters.id ?? ''
        const items = query.items ?? false
        const timeoutMs = query.wait
        if (timeoutMs === undefined) return api.job(id, items)
        return waits.run(async () => {
          const job = await api.waitForJob(id, { timeoutMs, signal })
          return items ? api.job(job.id, true) : job
        })
      }
    }),
    route('POST', '/v1/jobs/:id/cancel', {
      summary: 'Asks a job to stop; it is over when its verdict says so',
      body: strict,
      answer: { ...one('Job', jobSummarySchema), status: 202 },
      handle: ({ api, parameters }) => api.cancel(parameters.id ?? '')
    })
  ]
}

function taskRoutes(): Route[] {
  return [
    route('POST', '/v1/tasks/:id/children', {
      summary: 'Adds a child to a task that runs here',
      body: spawnRequestSchema,
      answer: { ...one('Spawned', z.object({ taskId: z.string() })), status: 201 },
      handle: ({ api, body, parameters }) => api.spawn(parameters.id ?? '', body)
    }),
    route('GET', '/v1/tasks/:id/children/:child', {
      summary: 'Outcome of a child when it has settled or `wait` has passed; null while it has not',
      query: z.strictObject({ wait: waitSchema.optional() }),
      answer: one('Child', childOutcomeSchema.extend({ outcome: childOutcomeSchema.shape.outcome.nullable() })),
      handle: request => request.waits.run(() => child(request, request.query.wait ?? 0))
    }),
    route('GET', '/v1/tasks/:id/logs', {
      summary: 'Log of a task that ran or runs here; with `follow` until it has ended',
      query: z.strictObject({ follow: flagSchema.optional() }),
      answer: { form: 'stream', schema: logLineSchema, id: undefined },
      handle: ({ api, parameters, query, signal }) =>
        api.logs(parameters.id ?? '', { follow: query.follow ?? false, signal })
    })
  ]
}

function memberRoutes(): Route[] {
  return [
    route('GET', '/v1/peers', {
      summary: 'Members of the swarm, this daemon among them',
      answer: list('PeerList', peerSchema),
      handle: ({ api }) => ({ items: api.peers() })
    }),
    route('POST', '/v1/peers/:id/drain', {
      summary:
        'Asks a peer to take no new work until it is asked to `end` that; `drain` says when nothing is left on it',
      idPattern: PEER,
      body: drainRequestSchema,
      answer: { ...one('Peer', peerSchema), status: 202 },
      handle: ({ api, body, parameters }) => api.drain(parameters.id ?? '', body)
    }),
    route('GET', '/v1/agents', {
      summary: 'Agents that run on this daemon',
      answer: list('AgentList', agentSchema),
      handle: ({ api }) => ({ items: api.agents() })
    }),
    route('POST', '/v1/tokens', {
      summary: 'Makes a token by which another machine joins the swarm',
      body: tokenRequestSchema,
      answer: { ...one('Token', tokenSchema), status: 201 },
      handle: ({ api, body }) => api.createToken(body)
    }),
    route('POST', '/v1/join', {
      summary: 'Joins the swarm of a token; answered when this daemon is a member',
      body: joinRequestSchema,
      answer: one('Status', statusSchema),
      handle: ({ api, body }) => api.join(body.token)
    })
  ]
}

function one(kind: string, schema: z.ZodObject): Extract<Answer, { form: 'document' }> {
  return { form: 'document', kind, status: 200, schema }
}

function list(kind: string, item: z.ZodType): Answer {
  return one(kind, z.object({ items: z.array(item) }))
}

/** Waits at most `timeoutMs`; the daemon is told to stop waiting then, so that the parent's slot is taken again. */
async function child(request: CheckedRequest<unknown, unknown>, timeoutMs: number): Promise<unknown> {
  const { api, parameters, signal } = request
  const childId = parameters.child ?? ''
  signal.throwIfAborted()
  const ended = new AbortController()
  const timeout = setTimeout(() => ended.abort(), Math.max(timeoutMs, CHILD_LOOK_MS))
  try {
    return await api.waitForChild(parameters.id ?? '', childId, AbortSignal.any([signal, ended.signal]))
  } catch (error) {
    // An abort is no failure, unless the daemon had more to say than that.
    if (ended.signal.aborted && !(error instanceof StarlingError)) return { taskId: childId, outcome: null }
    throw error
  } finally {
    clearTimeout(timeout)
  }
}

function lastEventId(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  if (typeof header === 'string' && EVENT_ID.test(header)) return header
  throw new StarlingError('INVALID_INPUT', 'the header Last-Event-ID is no id of an event')
}
