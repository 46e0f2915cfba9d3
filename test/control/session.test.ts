import { connect } from 'node:net'
import { expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { SESSION_BUFFER_BYTES_MAX } from '../../src/control/limits.ts'
import { SESSION_MESSAGE_BYTES_MAX } from '../../src/wire/api/limits.ts'
import { daemonMessageSchema, type WorkerMessage } from '../../src/wire/api/session.ts'
import { StarlingError } from '../../src/wire/errors.ts'
import { afterTest, type Fixture, RawConnection, serve } from '../helpers/control-fixture.ts'
import { FakeDaemonApi, type FakeSession } from '../helpers/fake-daemon-api.ts'
import { recordingLogger } from '../helpers/recording-logger.ts'

/** The worker's end, as a program without the SDK would write it. */
class TestWorker {
  readonly socket: WebSocket
  readonly messages: Record<string, unknown>[] = []
  closed: { code: number; reason: string } | undefined

  constructor(socketPath: string, path = '/v1/session', options: { autoPong?: boolean } = {}) {
    this.socket = new WebSocket(`ws://localhost${path}`, { createConnection: () => connect(socketPath), ...options })
    this.socket.on('message', data => this.messages.push(JSON.parse(String(data))))
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) }
    })
    // Refusals are what several tests are about; they look at `closed`.
    this.socket.on('error', () => undefined)
    afterTest(() => this.socket.terminate())
  }

  send(message: WorkerMessage | Record<string, unknown> | string | Buffer): void {
    this.socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message))
  }

  of(kind: string): Record<string, unknown>[] {
    return this.messages.filter(message => message.kind === kind)
  }
}

async function connected(
  options: Parameters<typeof serve>[0] = {},
  socketOptions: { autoPong?: boolean } = {}
): Promise<Fixture & { worker: TestWorker; session: FakeSession }> {
  const fixture = await serve(options)
  const worker = new TestWorker(fixture.socketPath, '/v1/session', socketOptions)
  await vi.waitFor(() => expect(worker.of('welcome')).toHaveLength(1))
  const session = fixture.api.sessions[0]
  if (session === undefined) throw new Error('the daemon has no session')
  return { ...fixture, worker, session }
}

test('a worker is welcomed, registers, gets tasks and reports their ends', async () => {
  const { worker, session } = await connected()
  expect(worker.messages[0]).toEqual({ kind: 'welcome', peerId: '12D3KooWAlice', name: 'alice', version: '1.2.3' })
  worker.send({ kind: 'work', ref: 1, capability: 'build', slots: 4 })
  await vi.waitFor(() => expect(worker.of('reply')).toEqual([{ kind: 'reply', ref: 1 }]))
  expect(session.called('work')).toEqual([['work', 'build', 4]])
  session.start('a1', 'build', { dirs: ['x'] })
  await vi.waitFor(() =>
    expect(worker.of('start')).toMatchObject([{ task: { attemptId: 'a1', input: { dirs: ['x'] } } }])
  )
  worker.send({ kind: 'log', attemptId: 'a1', line: 'hello' })
  worker.send({ kind: 'progress', attemptId: 'a1', fraction: 0.5, note: 'half' })
  worker.send({ kind: 'ended', attemptId: 'a1', outcome: { kind: 'completed', result: { n: 1 } } })
  await vi.waitFor(() => expect(session.ends('a1')).toEqual([{ kind: 'completed', result: { n: 1 } }]))
  expect(session.calls.slice(1, 3)).toEqual([
    ['log', 'a1', 'hello'],
    ['progress', 'a1', 0.5, 'half']
  ])
  for (const message of worker.messages) expect(daemonMessageSchema.safeParse(message).success).toBe(true)
})

test('a result that is left out is null', async () => {
  const { worker, session } = await connected()
  worker.send({ kind: 'ended', attemptId: 'a1', outcome: { kind: 'completed' } })
  await vi.waitFor(() => expect(session.ends('a1')).toEqual([{ kind: 'completed', result: null }]))
})

test('spawns are answered by their number, children and aborts are handed on', async () => {
  const { worker, session } = await connected()
  worker.send({ kind: 'spawn', ref: 7, attemptId: 'a1', capability: 'stat', input: 1, watch: true })
  await vi.waitFor(() => expect(worker.of('reply')).toEqual([{ kind: 'reply', ref: 7, value: { taskId: 'job1.0.0' } }]))
  expect(session.called('spawn')).toEqual([['spawn', 'a1', { capability: 'stat', input: 1, watch: true }]])
  session.settle('a1', 'job1.0.0', { outcome: 'failed', error: { code: 'TASK_FAILED', message: 'no' } })
  session.worker.abort('a1', 'cancelled')
  await vi.waitFor(() => expect(worker.of('abort')).toEqual([{ kind: 'abort', attemptId: 'a1', reason: 'cancelled' }]))
  expect(worker.of('child')).toEqual([
    {
      kind: 'child',
      attemptId: 'a1',
      child: { taskId: 'job1.0.0', outcome: 'failed', result: null, error: { code: 'TASK_FAILED', message: 'no' } }
    }
  ])
})

test('a task is started with its fencing token, and spawns with what is wanted when the child fails', async () => {
  const { worker, session } = await connected()
  session.start('a1', 'build')
  await vi.waitFor(() => expect(worker.of('start')).toMatchObject([{ task: { attempt: 1, fencingToken: '1' } }]))
  expect(worker.of('start')[0]).not.toHaveProperty('task.timeoutMs')
  const policy = { exclusive: true, retry: { attempts: 3, backoffMs: 0 }, deadlineMs: 5_000 }
  worker.send({ kind: 'spawn', ref: 1, attemptId: 'a1', capability: 'stat', ...policy, watch: false })
  await vi.waitFor(() => expect(worker.of('reply')).toMatchObject([{ ref: 1, value: { taskId: 'job1.0.0' } }]))
  expect(session.called('spawn')).toEqual([['spawn', 'a1', { capability: 'stat', ...policy, watch: false }]])
})

test('a spawn with a policy out of range is refused by its reply alone', async () => {
  const { worker, session } = await connected()
  const spawn = { kind: 'spawn', attemptId: 'a1', capability: 'stat', watch: false }
  worker.send({ ...spawn, ref: 1, retry: { attempts: 101 } })
  worker.send({ ...spawn, ref: 2, deadlineMs: 0 })
  await vi.waitFor(() => expect(worker.of('reply')).toHaveLength(2))
  expect(worker.of('reply')).toMatchObject([
    { ref: 1, problem: { code: 'INVALID_INPUT' } },
    { ref: 2, problem: { code: 'INVALID_INPUT' } }
  ])
  expect(session.called('spawn')).toEqual([])
})

test('a request that the daemon refuses is answered with the problem, and the session goes on', async () => {
  const { worker, session } = await connected()
  session.spawned = () => Promise.reject(new StarlingError('TASK_ENDED', 'over', { hint: 'await it' }))
  worker.send({ kind: 'work', ref: 1, capability: 'taken', slots: 1 })
  worker.send({ kind: 'spawn', ref: 2, attemptId: 'a1', capability: 'stat', watch: false })
  await vi.waitFor(() => expect(worker.of('reply')).toHaveLength(2))
  expect(worker.of('reply')).toMatchObject([
    { ref: 1, problem: { code: 'CONFIG_INVALID' } },
    { ref: 2, problem: { code: 'TASK_ENDED', detail: 'over', hint: 'await it' } }
  ])
  session.spawned = () => {
    throw new StarlingError('LIMIT_REACHED', 'too deep')
  }
  worker.send({ kind: 'spawn', ref: 3, attemptId: 'a1', capability: 'stat', watch: false })
  await vi.waitFor(() => expect(worker.of('reply')[2]).toMatchObject({ ref: 3, problem: { code: 'LIMIT_REACHED' } }))
  expect(worker.closed).toBeUndefined()
})

test.each<[string, Record<string, unknown>, string]>([
  ['capability', { kind: 'work', ref: 3, capability: 'Bad Name', slots: 1 }, 'capability'],
  ['number of slots', { kind: 'work', ref: 3, capability: 'build', slots: 1_025 }, 'slots'],
  ['spawn', { kind: 'spawn', ref: 3, attemptId: 'a1', capability: '', watch: true }, 'capability']
])('a wrong %s is refused by its reply alone', async (_, message, field) => {
  const { worker, session } = await connected()
  worker.send(message)
  await vi.waitFor(() => expect(worker.of('reply')).toHaveLength(1))
  expect(worker.of('reply')[0]).toMatchObject({ ref: 3, problem: { code: 'INVALID_INPUT' } })
  expect(JSON.stringify(worker.of('reply'))).toContain(field)
  expect(session.calls).toEqual([])
})

test.each<[string, number, string | Buffer]>([
  ['text that is no JSON', 1008, 'hello'],
  ['an unknown kind', 1008, '{"kind":"destroy"}'],
  ['an array', 1008, '[]'],
  ['an empty message', 1008, ''],
  ['a message without its attempt', 1008, '{"kind":"blocked","blocked":true}'],
  ['a request without its number', 1008, '{"kind":"work","capability":"a","slots":1}'],
  ['a number that is none', 1008, '{"kind":"work","ref":1.5,"capability":"a","slots":1}'],
  ['progress beyond the end', 1008, '{"kind":"progress","attemptId":"a","fraction":2}'],
  ['a line of a log that is too long', 1008, JSON.stringify({ kind: 'log', attemptId: 'a', line: 'x'.repeat(16_385) })],
  ['an end of no known kind', 1008, '{"kind":"ended","attemptId":"a","outcome":{"kind":"killed"}}'],
  ['nesting without end', 1008, '['.repeat(100_000) + ']'.repeat(100_000)],
  ['bytes', 1003, Buffer.from([1, 2, 3])],
  ['text that is no UTF-8', 1007, 'invalid']
])('%s ends the session with %i and a reason', async (name, code, message) => {
  const { worker, session } = await connected()
  if (name.includes('UTF-8')) worker.socket.send(Buffer.from([0xff]), { binary: false })
  else worker.send(message)
  await vi.waitFor(() => expect(worker.closed?.code).toBe(code))
  if (code !== 1007) expect(worker.closed?.reason).not.toBe('')
  expect(session.closed).toBe(true)
  expect(session.calls).toEqual([])
})

test('a message of exactly the bound is taken, one byte more ends the session', async () => {
  const { worker, session } = await connected()
  const empty = JSON.stringify({ kind: 'ended', attemptId: 'a1', outcome: { kind: 'completed', result: '' } })
  const full = empty.replace('""', `"${'x'.repeat(SESSION_MESSAGE_BYTES_MAX - empty.length)}"`)
  worker.send(full)
  await vi.waitFor(() => expect(session.ends('a1')).toHaveLength(1))
  worker.send(`${full} `)
  await vi.waitFor(() => expect(worker.closed?.code).toBe(1009))
  expect(session.closed).toBe(true)
})

test('a worker that dies is noticed', async () => {
  const { worker, session } = await connected()
  worker.socket.terminate()
  await vi.waitFor(() => expect(session.closed).toBe(true))
})

test('a worker that answers no ping is cut', async () => {
  const logger = recordingLogger()
  const timing = { sessionPingMs: 20, sessionSilenceMs: 100 }
  const { worker, session } = await connected({ timing, logger }, { autoPong: false })
  await vi.waitFor(() => expect(session.closed).toBe(true))
  await vi.waitFor(() => expect(worker.closed?.code).toBe(1006))
  expect(logger.lines.map(line => line.fields.code)).toContain('TIMED_OUT')
})

test('a quiet worker that answers pings is kept', async () => {
  const { worker, session } = await connected({ timing: { sessionPingMs: 10, sessionSilenceMs: 60 } })
  const pings = vi.fn()
  worker.socket.on('ping', pings)
  await vi.waitFor(() => expect(pings.mock.calls.length).toBeGreaterThan(20), { timeout: 10_000 })
  expect(session.closed).toBe(false)
})

test('a worker that reads nothing is cut when what waits for it reaches the bound', async () => {
  const { worker, session } = await connected()
  worker.socket.pause()
  const input = 'x'.repeat(1024 * 1024)
  for (let sent = 0; sent < SESSION_BUFFER_BYTES_MAX; sent += input.length) session.start('a1', 'build', input)
  expect(session.closed).toBe(false)
  session.start('a1', 'build', input)
  session.start('a1', 'build', input)
  await vi.waitFor(() => expect(session.closed).toBe(true))
})

test('nothing is called after the session is over', async () => {
  const { worker, session } = await connected()
  worker.send('hello')
  worker.send({ kind: 'log', attemptId: 'a1', line: 'late' })
  await vi.waitFor(() => expect(worker.closed).toBeDefined())
  expect(session.calls).toEqual([])
  session.start('a2', 'build')
  session.worker.abort('a2', 'late')
})

test('stop tells workers that the daemon goes away', async () => {
  const { server, worker, session } = await connected()
  await server.stop()
  await vi.waitFor(() => expect(worker.closed).toEqual({ code: 1001, reason: 'the daemon stops' }))
  expect(session.closed).toBe(true)
})

test('a daemon that takes no more workers says so', async () => {
  const api = new FakeDaemonApi()
  api.openSession = () => {
    throw new StarlingError('LIMIT_REACHED', 'enough workers')
  }
  const { socketPath } = await serve({ api })
  const worker = new TestWorker(socketPath)
  await vi.waitFor(() => expect(worker.closed).toEqual({ code: 1013, reason: 'enough workers' }))
})

test('one worker more than the bound is refused before it is connected', async () => {
  const { api, socketPath } = await serve()
  const workers = Array.from({ length: 128 }, () => new TestWorker(socketPath))
  await vi.waitFor(() => expect(workers.every(worker => worker.of('welcome').length === 1)).toBe(true), 10_000)
  const raw = new RawConnection(socketPath)
  raw.write(upgrade('/v1/session'))
  await vi.waitFor(() => expect(raw.received).toMatch(/^HTTP\/1.1 429 [\s\S]*LIMIT_REACHED/))
  expect(api.sessions).toHaveLength(128)
})

test.each([
  ['another path', upgrade('/v1/other'), 404, 'NOT_FOUND'],
  ['a web page', upgrade('/v1/session', 'Origin: http://evil.example\r\n'), 403, 'DENIED']
])('%s gets no session', async (_, bytes, status, code) => {
  const { api, socketPath } = await serve()
  const raw = new RawConnection(socketPath)
  raw.write(bytes)
  await vi.waitFor(() => expect(raw.ended).toBe(true))
  expect(raw.received).toContain(`HTTP/1.1 ${status}`)
  expect(raw.received).toContain(code)
  expect(api.sessions).toHaveLength(0)
})

function upgrade(path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`
}
