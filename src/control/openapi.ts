import * as z from 'zod'
import { API_VERSION } from '../wire/api/document.ts'
import { problemSchema } from '../wire/api/schemas.ts'
import { daemonMessageSchema, workerMessageSchema } from '../wire/api/session.ts'
import { PROBLEM_TYPE } from './problem.ts'
import type { Answer, Route } from './route.ts'

/** Description of the API by OpenAPI 3.1, from the same table and schemas that the server runs on. */
export function openApi(routes: readonly Route[], version: string): object {
  const schemas: Record<string, unknown> = {
    Problem: jsonSchema(envelope('Problem', problemSchema), 'output'),
    WorkerMessage: jsonSchema(workerMessageSchema, 'input'),
    DaemonMessage: jsonSchema(daemonMessageSchema, 'output')
  }
  const paths: Record<string, Record<string, unknown>> = {
    '/v1/session': { get: session },
    '/v1/openapi.json': {
      get: {
        summary: 'This description',
        responses: { 200: { description: 'OpenAPI document', content: { 'application/json': {} } } }
      }
    }
  }
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, schemas) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Starling control API', version, description: 'HTTP/1.1 on the unix socket of one daemon.' },
    servers: [{ url: 'http://localhost' }],
    paths,
    components: { schemas }
  }
}

const session = {
  summary: 'Session of a worker: a WebSocket with one JSON object per text message',
  description: 'The worker sends WorkerMessage, the daemon DaemonMessage.',
  responses: { 101: { description: 'The session is open' }, default: problemResponse() }
}

function operation(route: Route, schemas: Record<string, unknown>): object {
  return {
    summary: route.summary,
    parameters: [...pathParameters(route.path), ...queryParameters(route.query)],
    ...(route.body === undefined
      ? {}
      : { requestBody: { content: { 'application/json': { schema: jsonSchema(route.body, 'input') } } } }),
    responses: { ...response(route.answer, schemas), default: problemResponse() }
  }
}

function response(answer: Answer, schemas: Record<string, unknown>): object {
  if (answer.form === 'text') return { 200: { description: 'Text', content: { [answer.contentType]: {} } } }
  if (answer.form === 'stream') {
    const schema = jsonSchema(answer.schema, 'output')
    const description = 'Server-sent events; `data` is JSON of this schema'
    return { 200: { description, content: { 'text/event-stream': { itemSchema: schema } } } }
  }
  schemas[answer.kind] ??= jsonSchema(envelope(answer.kind, answer.schema), 'output')
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${answer.kind}` } } }
  return { [answer.status]: { description: answer.kind, content } }
}

function problemResponse(): object {
  const schema = { $ref: '#/components/schemas/Problem' }
  return { description: 'What went wrong', content: { [PROBLEM_TYPE]: { schema } } }
}

function pathParameters(path: string): object[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' }
  }))
}

function queryParameters(query: z.ZodObject | undefined): object[] {
  return Object.entries(query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    schema: jsonSchema(schema as z.ZodType, 'input')
  }))
}

function envelope(kind: string, schema: z.ZodObject): z.ZodObject {
  return z.object({ apiVersion: z.literal(API_VERSION), kind: z.literal(kind) }).extend(schema.shape)
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return json
}
