import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { controlApp } from '../../src/control/app.ts'
import { CONTROL_TIMING } from '../../src/control/limits.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import { BODY_BYTES_MAX } from '../../src/wire/api/limits.ts'
import { type DrainRequest, problemSchema, type SubmitRequest } from '../../src/wire/api/schemas.ts'
import { StarlingError } from '../../src/wire/errors.ts'
import { call, RawConnection, serve } from '../helpers/control-fixture.ts'
import { FakeDaemonApi, READY } from '../helpers/fake-daemon-api.ts'

const JSON_HEADERS = { 'content-type': 'application/json' }

describe('documents', () => {
  test.each([
    ['GET', '/version', 200, 'Version', { version: '1.2.3', apiVersions: ['v1'] }],
    ['GET', '/v1/healthz', 200, 'Health', { status: 'ok' }],
    ['GET', '/v1/ready', 200, 'Ready', READY],
    ['GET', '/v1/status', 200, 'Status', { warnings: [] }],
    ['GET', '/v1/peers', 200, 'PeerList', { items: [] }],
    ['GET', '/v1/agents', 200, 'AgentList', { items: [] }],
    ['GET', '/v1/doctor', 200, 'FindingList', { items: [{ check: 'clock', state: 'ok', detail: 'in step' }] }],
    ['GET', '/v1/jobs/job1', 200, 'Job', { id: 'job1', result: { done: true } }],
    ['GET', '/v1/jobs/job1?items=1', 200, 'Job', { items: [] }],
    ['POST', '/v1/jobs/job1/cancel', 202, 'Job', { id: 'job1', verdict: 'running' }],
    ['GET', '/v1/tasks/job1.0/children/job1.0.1', 200, 'Child', { outcome: 'completed', result: { n: 1 } }],
    ['GET', '/v1/tasks/job1.0/children/job1.0.9', 200, 'Child', { taskId: 'job1.0.9', outcome: null }],
    ['POST', '/v1/peers/bob/drain', 202, 'Peer', { drain: 'draining' }],
    ['POST', '/v1/tokens', 201, 'Token', { token: 'starling1-abc' }],
    ['POST', '/v1/stop', 202, 'Stopping', { now: false }]
  ])('%s %s answers %i with a %s', async (method, path, status, kind, fields) => {
    const { socketPath } = await serve()
    const answer = await call(socketPath, method, path)
    expect(answer.status).toBe(status)
    expect(answer.json).toMatchObject({ apiVersion: 'starling/v1', kind, ...fields })
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('a list of jobs leaves the results out', async () => {
    const { socketPath } = await serve()
    const { json } = await call(socketPath, 'GET', '/v1/jobs')
    expect(json).toMatchObject({ kind: 'JobList', items: [{ id: 'job1' }] })
    expect(JSON.stringify(json)).not.toContain('result')
  })

  test('a submission reaches the daemon as it was sent', async () => {
    const { api, socketPath } = await serve()
    const submit = vi.spyOn(api, 'submit')
    const request: SubmitRequest = { capability: 'build', input: { dirs: ['a'], n: null }, id: 'nightly', on: 'bob' }
    const answer = await call(socketPath, 'POST', '/v1/jobs', { body: JSON.stringify(request), headers: JSON_HEADERS })
    expect(answer).toMatchObject({ status: 201, json: { kind: 'Submission', id: 'job1', existing: false } })
    expect(submit).toHaveBeenCalledExactlyOnceWith(request)
  })

  test('what is wanted when a task fails, is lost or takes too long reaches the daemon', async () => {
    const { api, socketPath } = await serve()
    const policy = { exclusive: true, retry: { attempts: 3, backoffMs: 250 }, deadlineMs: 60_000 }
    const body = JSON.stringify({ capability: 'build', ...policy })
    expect((await call(socketPath, 'POST', '/v1/jobs', { body })).status).toBe(201)
    expect(api.submissions).toEqual([{ capability: 'build', ...policy }])
    expect((await call(socketPath, 'POST', '/v1/tasks/job1.0/children', { body })).status).toBe(201)
    expect(api.spawns).toEqual([{ parent: 'job1.0', request: { capability: 'build', ...policy } }])
  })

  test.each<[string, string, DrainRequest]>([
    ['bob', 'bob', { deadlineMs: 1_000 }],
    ['%C5%BEofie%2B1', 'žofie+1', {}],
    ['12D3KooW', '12D3KooW', { end: true }]
  ])('a request to drain %s reaches the daemon', async (segment, peer, request) => {
    const { api, socketPath } = await serve()
    const body = JSON.stringify(request)
    expect((await call(socketPath, 'POST', `/v1/peers/${segment}/drain`, { body })).status).toBe(202)
    expect(api.drains).toEqual([{ peer, request }])
  })

  test('a plan submits nothing', async () => {
    const { api, socketPath } = await serve()
    const submit = vi.spyOn(api, 'submit')
    const answer = await call(socketPath, 'POST', '/v1/plan', { body: '{"capability":"build"}' })
    expect(answer.json).toMatchObject({ kind: 'Placement', reason: 'free slot' })
    expect(submit).not.toHaveBeenCalled()
  })

  test('stop hands on whether it is urgent', async () => {
    const { api, socketPath } = await serve()
    await call(socketPath, 'POST', '/v1/stop', { body: '{"now":true}' })
    expect(api.stops).toEqual([{ now: true }])
  })

  test('metrics are plain text', async () => {
    const { socketPath } = await serve()
    const answer = await call(socketPath, 'GET', '/metrics')
    expect(answer.text).toBe('starling_peers 1\n')
    expect(answer.headers['content-type']).toContain('text/plain')
  })

  test('curl works, with its default content type', async () => {
    const { socketPath } = await serve()
    const base = ['-sS', '--unix-socket', socketPath]
    const run = async (...args: string[]) => JSON.parse((await promisify(execFile)('curl', [...base, ...args])).stdout)
    expect(await run('http://localhost/v1/status')).toMatchObject({ kind: 'Status' })
    expect(await run('-d', '{"capability":"build"}', 'http://starling/v1/jobs')).toMatchObject({ kind: 'Submission' })
  })
})

describe('waiting', () => {
  test('for a job ends when the time has passed', async () => {
    const { api, socketPath } = await serve()
    const wait = vi.spyOn(api, 'waitForJob')
    const { json } = await call(socketPath, 'GET', '/v1/jobs/job-slow?wait=30ms')
    expect(json).toMatchObject({ kind: 'Job', verdict: 'running' })
    expect(wait.mock.calls[0]?.[1].timeoutMs).toBe(30)
  })

  test.each([
    ['2s', 2_000],
    ['3m', 180_000],
    ['99m', 600_000]
  ])('for %s is %i ms, at most ten minutes', async (text, timeoutMs) => {
    const { api, socketPath } = await serve()
    const wait = vi.spyOn(api, 'waitForJob')
    await call(socketPath, 'GET', `/v1/jobs/job1?wait=${text}`)
    expect(wait.mock.calls[0]?.[1].timeoutMs).toBe(timeoutMs)
  })

  test('stops at the daemon when the client goes away', async () => {
    const { api, socketPath } = await serve()
    const wait = vi.spyOn(api, 'waitForJob')
    const raw = new RawConnection(socketPath)
    raw.write('GET /v1/jobs/job-slow?wait=5m HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await vi.waitFor(() => expect(wait).toHaveBeenCalled())
    raw.socket.destroy()
    await vi.waitFor(() => expect(wait.mock.calls[0]?.[1].signal?.aborted).toBe(true))
  })

  test('for a child tells the daemon when it gives up', async () => {
    const { api, socketPath } = await serve()
    const wait = vi.spyOn(api, 'waitForChild')
    const answer = await call(socketPath, 'GET', '/v1/tasks/job1.0/children/job1.0.9?wait=30ms')
    expect(answer.json).toMatchObject({ taskId: 'job1.0.9', outcome: null })
    expect(wait.mock.calls[0]?.[2]?.aborted).toBe(true)
  })

  test('is refused beyond the bound, and possible again when a waiter has left', async () => {
    const { api, socketPath } = await serve()
    const wait = vi.spyOn(api, 'waitForJob')
    const raws: RawConnection[] = []
    for (let count = 0; count < 512; count += 1) {
      const raw = new RawConnection(socketPath)
      raw.write('GET /v1/jobs/job-slow?wait=5m HTTP/1.1\r\nhost: localhost\r\n\r\n')
      raws.push(raw)
    }
    await vi.waitFor(() => expect(wait).toHaveBeenCalledTimes(512), 10_000)
    const refused = await call(socketPath, 'GET', '/v1/jobs/job1?wait=1s')
    expect(refused).toMatchObject({ status: 429, json: { code: 'LIMIT_REACHED' } })
    raws[0]?.socket.destroy()
    await vi.waitFor(async () => {
      expect((await call(socketPath, 'GET', '/v1/jobs/job1?wait=1s')).status).toBe(200)
    })
  })
})

describe('problems', () => {
  const nested = (levels: number) => `{"capability":"build","input":${'['.repeat(levels)}${']'.repeat(levels)}}`

  test.each<[string, string, string, string | Buffer | undefined, number, string, string]>([
    ['a body that is no JSON', 'POST', '/v1/jobs', '{"capability":', 400, 'INVALID_JSON', 'no valid JSON'],
    ['a body that is no UTF-8', 'POST', '/v1/jobs', Buffer.from([0x22, 0xff, 0x22]), 400, 'INVALID_JSON', 'UTF-8'],
    ['a body that is no object', 'POST', '/v1/jobs', '[]', 400, 'INVALID_INPUT', 'body'],
    ['a body that is null', 'POST', '/v1/jobs', 'null', 400, 'INVALID_INPUT', 'body'],
    ['no body', 'POST', '/v1/jobs', undefined, 400, 'INVALID_INPUT', 'capability'],
    ['a missing field', 'POST', '/v1/jobs', '{"input":1}', 400, 'INVALID_INPUT', 'capability'],
    ['a field of the wrong type', 'POST', '/v1/jobs', '{"capability":7}', 400, 'INVALID_INPUT', 'capability'],
    ['an unknown field', 'POST', '/v1/jobs', '{"capability":"a","topologie":1}', 400, 'INVALID_INPUT', 'topologie'],
    ['a prototype as a field', 'POST', '/v1/jobs', '{"capability":"a","__proto__":{}}', 400, 'INVALID_INPUT', 'proto'],
    ['a bad capability', 'POST', '/v1/jobs', '{"capability":"../a b"}', 400, 'INVALID_INPUT', 'capability'],
    ['a value nested too deep', 'POST', '/v1/jobs', nested(256), 400, 'INVALID_INPUT', 'nested'],
    ['a value nested by a million', 'POST', '/v1/jobs', nested(1_000_000), 400, 'INVALID_INPUT', 'nested'],
    ['an unknown query', 'GET', '/v1/jobs/job1?wiat=1s', undefined, 400, 'INVALID_INPUT', 'wiat'],
    ['a wait without unit', 'GET', '/v1/jobs/job1?wait=30', undefined, 400, 'INVALID_INPUT', 'wait'],
    ['a negative wait', 'GET', '/v1/jobs/job1?wait=-1s', undefined, 400, 'INVALID_INPUT', 'wait'],
    ['a switch that is none', 'GET', '/v1/jobs/job1?items=maybe', undefined, 400, 'INVALID_INPUT', 'items'],
    ['an id that is none', 'GET', '/v1/jobs/..%2F..%2Fetc', undefined, 400, 'INVALID_INPUT', 'id'],
    ['an id of 301 characters', 'GET', `/v1/jobs/${'a'.repeat(301)}`, undefined, 400, 'INVALID_INPUT', 'id'],
    ['a peer of two words', 'POST', '/v1/peers/a%20b/drain', undefined, 400, 'INVALID_INPUT', 'id'],
    ['a peer with a path in it', 'POST', '/v1/peers/..%2Fjobs/drain', undefined, 400, 'INVALID_INPUT', 'id'],
    ['an unknown peer', 'POST', '/v1/peers/nobody/drain', undefined, 404, 'NOT_FOUND', 'nobody'],
    ['no time to drain', 'POST', '/v1/peers/bob/drain', '{"deadlineMs":0}', 400, 'INVALID_INPUT', 'deadlineMs'],
    ['a typing error', 'POST', '/v1/peers/bob/drain', '{"deadline":5}', 400, 'INVALID_INPUT', 'deadline'],
    ['no attempt', 'POST', '/v1/jobs', '{"capability":"a","retry":{"attempts":0}}', 400, 'INVALID_INPUT', 'attempts'],
    [
      '101 attempts',
      'POST',
      '/v1/jobs',
      '{"capability":"a","retry":{"attempts":101}}',
      400,
      'INVALID_INPUT',
      'attempts'
    ],
    ['a retry that is none', 'POST', '/v1/jobs', '{"capability":"a","retry":3}', 400, 'INVALID_INPUT', 'retry'],
    [
      'a deadline that is past',
      'POST',
      '/v1/jobs',
      '{"capability":"a","deadlineMs":0}',
      400,
      'INVALID_INPUT',
      'deadline'
    ],
    ['an unknown job', 'GET', '/v1/jobs/nope', undefined, 404, 'NOT_FOUND', 'no job nope'],
    ['an unknown task of logs', 'GET', '/v1/tasks/nope/logs', undefined, 404, 'NOT_FOUND', 'no task nope'],
    ['an unknown route', 'GET', '/v2/jobs', undefined, 404, 'NOT_FOUND', '/v2/jobs'],
    ['a wrong method', 'DELETE', '/v1/jobs/job1', undefined, 404, 'NOT_FOUND', 'DELETE'],
    ['a refused token', 'POST', '/v1/join', '{"token":"bad"}', 403, 'TOKEN_REFUSED', 'used up']
  ])('%s', async (_, method, path, body, status, code, detail) => {
    const { socketPath } = await serve()
    const answer = await call(socketPath, method, path, body === undefined ? {} : { body })
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(problemSchema.parse(answer.json)).toMatchObject({ status, code })
    expect(answer).toMatchObject({ status, json: { apiVersion: 'starling/v1', kind: 'Problem' } })
    expect(answer.json.detail).toContain(detail)
    expect(answer.json.requestId).toBe(answer.headers['x-request-id'])
    expect((await call(socketPath, 'GET', '/v1/healthz')).status).toBe(200)
  })

  test.each([
    ['a page of another host', { host: 'evil.example' }],
    ['a web page', { origin: 'http://localhost' }]
  ])('%s is denied', async (_, headers) => {
    const { socketPath } = await serve()
    const answer = await call(socketPath, 'GET', '/v1/status', { headers })
    expect(answer).toMatchObject({ status: 403, json: { code: 'DENIED' } })
  })

  test('the deepest value that is allowed is taken', async () => {
    const { socketPath } = await serve()
    expect((await call(socketPath, 'POST', '/v1/jobs', { body: nested(255) })).status).toBe(201)
  })

  test('the hint of the daemon is handed on', async () => {
    const { socketPath } = await serve()
    expect((await call(socketPath, 'GET', '/v1/jobs/nope')).json.hint).toBe('starling jobs')
  })

  test('an error that is nobody’s fault but ours is INTERNAL, and its text stays in the log', async () => {
    const error = vi.fn()
    const logger = { ...silentLogger, error, child: () => logger }
    const { api, socketPath } = await serve({ logger })
    vi.spyOn(api, 'status').mockImplementation(() => {
      throw new Error('secret detail')
    })
    const answer = await call(socketPath, 'GET', '/v1/status')
    expect(answer).toMatchObject({ status: 500, json: { code: 'INTERNAL' } })
    expect(answer.text).not.toContain('secret')
    expect(error).toHaveBeenCalledExactlyOnceWith(
      'request failed',
      expect.objectContaining({ requestId: answer.json.requestId, error: new Error('secret detail') })
    )
  })

  test.each(['LIMIT_REACHED', 'STORAGE_FAILED', 'ID_REUSED', 'NO_CAPABLE_PEER', 'DAEMON_STOPPING'] as const)(
    'the daemon’s %s keeps its code',
    async code => {
      const { api, socketPath } = await serve()
      vi.spyOn(api, 'submit').mockRejectedValue(new StarlingError(code, 'no'))
      const answer = await call(socketPath, 'POST', '/v1/jobs', { body: '{"capability":"build"}' })
      expect(answer.json).toMatchObject({ code, status: answer.status })
    }
  )

  test.each([
    ['no HTTP at all', 'hello\r\n\r\n'],
    ['two lengths', 'POST /v1/jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx'],
    [
      'a length and chunks',
      'POST /v1/jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n'
    ],
    ['a bad host', 'GET /v1/status HTTP/1.1\r\nhost: a b\r\n\r\n'],
    ['a bad target', 'GET http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n'],
    ['headers without end', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(40_000)}`]
  ])('%s is answered with a problem', async (_, bytes) => {
    const { socketPath } = await serve()
    const raw = new RawConnection(socketPath)
    raw.write(bytes)
    await vi.waitFor(() => expect(raw.received).toMatch(/^HTTP\/1.1 4\d\d [\s\S]*"kind":"Problem"/))
    expect((await call(socketPath, 'GET', '/v1/healthz')).status).toBe(200)
  })

  test('HTTP/1.1 without a host is served: on a socket there is none', async () => {
    const { socketPath } = await serve()
    const raw = new RawConnection(socketPath)
    raw.write('GET /v1/healthz HTTP/1.1\r\n\r\n')
    await vi.waitFor(() => expect(raw.received).toContain('"status":"ok"'))
  })
})

describe('the bound of bodies', () => {
  const body = (bytes: number) => `{"capability":"build","input":"${'a'.repeat(bytes - 33)}"}`

  test('a body of exactly the bound is taken', async () => {
    const { socketPath } = await serve()
    expect(Buffer.byteLength(body(BODY_BYTES_MAX))).toBe(BODY_BYTES_MAX)
    expect((await call(socketPath, 'POST', '/v1/jobs', { body: body(BODY_BYTES_MAX) })).status).toBe(201)
  })

  test.each([
    ['with its length', {}],
    ['in chunks', { 'transfer-encoding': 'chunked' }]
  ])('one byte more is refused, sent %s', async (_, headers) => {
    const { socketPath } = await serve()
    const answer = await call(socketPath, 'POST', '/v1/jobs', { body: body(BODY_BYTES_MAX + 1), headers })
    expect(answer).toMatchObject({ status: 413, json: { code: 'INPUT_TOO_LARGE' } })
  })

  test('an announced flood is refused before it is sent', async () => {
    const { socketPath } = await serve()
    const raw = new RawConnection(socketPath)
    raw.write('POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000000\r\n\r\n{')
    await vi.waitFor(() => expect(raw.received).toContain('INPUT_TOO_LARGE'))
    await vi.waitFor(() => expect(raw.ended).toBe(true))
  })

  test('an endless body is not read on', async () => {
    const { socketPath } = await serve()
    const raw = new RawConnection(socketPath)
    raw.write('POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n')
    const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, 0x20), Buffer.from('\r\n')])
    const pump = () => {
      while (!raw.socket.destroyed && raw.socket.writable && raw.socket.write(chunk));
    }
    raw.socket.on('drain', pump)
    pump()
    await vi.waitFor(() => expect(raw.ended).toBe(true), 5_000)
    expect(raw.socket.bytesWritten).toBeLessThan(BODY_BYTES_MAX + 4 * 1024 * 1024)
  })
})

describe('the description', () => {
  test('has every registered route, and nothing else', async () => {
    const { socketPath } = await serve()
    const app = controlApp({
      api: new FakeDaemonApi(),
      logger: silentLogger,
      version: '1.2.3',
      timing: CONTROL_TIMING,
      closing: new AbortController().signal
    })
    const registered = app.routes.map(route => `${route.method} ${route.path.replace(/:(\w+)/g, '{$1}')}`)
    const { json } = await call(socketPath, 'GET', '/v1/openapi.json')
    const paths = json.paths as Record<string, Record<string, object>>
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`)
    )
    expect(registered.length).toBeGreaterThan(18)
    expect(described.sort()).toEqual([...registered, 'GET /v1/session'].sort())
  })

  test('gives requests, answers and problems by the schemas', async () => {
    const { socketPath } = await serve()
    const { json } = await call(socketPath, 'GET', '/v1/openapi.json')
    expect(json).toMatchObject({
      openapi: '3.1.0',
      paths: {
        '/v1/jobs': {
          post: {
            requestBody: { content: { 'application/json': { schema: { required: ['capability'] } } } },
            responses: {
              201: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Submission' } } } },
              default: {
                content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
              }
            }
          }
        },
        '/v1/jobs/{id}': { get: { parameters: [{ name: 'id' }, { name: 'wait' }, { name: 'items' }] } }
      },
      components: { schemas: { Job: { properties: { kind: { const: 'Job' } } }, WorkerMessage: {} } }
    })
    for (const [, ref] of JSON.stringify(json).matchAll(/#\/components\/schemas\/(\w+)/g)) {
      expect(json).toHaveProperty(['components', 'schemas', ref as string])
    }
  })
})
