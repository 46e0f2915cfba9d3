import { expect, test, vi } from 'vitest'
import { call, RawConnection, serve } from '../helpers/control-fixture.ts'
import { event, eventLog, FakeDaemonApi } from '../helpers/fake-daemon-api.ts'
import { recordingLogger } from '../helpers/recording-logger.ts'

function open(socketPath: string, path: string, headers = ''): RawConnection {
  const raw = new RawConnection(socketPath)
  raw.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n${headers}\r\n`)
  return raw
}

/** A daemon whose events come from `log`. */
function daemonWith(log: Parameters<typeof eventLog>[1]): FakeDaemonApi {
  const api = new FakeDaemonApi()
  api.events = options => eventLog(options, log)
  return api
}

test('events are sent with their id and as JSON, live ones as they come', async () => {
  const log = { newest: 0 }
  const { socketPath } = await serve({ api: daemonWith(log) })
  const raw = open(socketPath, '/v1/events')
  await vi.waitFor(() => expect(raw.received).toContain('content-type: text/event-stream'))
  expect(raw.received).not.toContain('data:')
  log.newest = 1
  await vi.waitFor(() => expect(raw.received).toContain(`id: 1\ndata: ${JSON.stringify(event(1))}\n\n`))
})

test.each([
  ['the header', '/v1/events', 'last-event-id: 2\r\n'],
  ['the query', '/v1/events?since=2', '']
])('a reader resumes after the event that it names in %s', async (_, path, headers) => {
  const { socketPath } = await serve({ api: daemonWith({ newest: 3 }) })
  const raw = open(socketPath, path, headers)
  await vi.waitFor(() => expect(raw.received).toContain('id: 3\n'))
  expect(raw.received).not.toContain('id: 2\n')
})

test('a reader that resumes where nothing is kept is told of the gap first', async () => {
  const { socketPath } = await serve({ api: daemonWith({ newest: 9, oldest: 8 }) })
  const raw = open(socketPath, '/v1/events', 'last-event-id: 2\r\n')
  await vi.waitFor(() => expect(raw.received).toContain('id: 9\n'))
  expect(raw.received).toMatch(/id: 8\ndata: .*starling\.events\.gap[\s\S]*id: 9\n/)
})

test.each(['a b', 'x'.repeat(65), '{}'])('the last event id %j is refused', async id => {
  const { socketPath } = await serve()
  const answer = await call(socketPath, 'GET', '/v1/events', { headers: { 'last-event-id': id } })
  expect(answer).toMatchObject({ status: 400, json: { code: 'INVALID_INPUT' } })
})

test('a quiet stream shows by comments that the daemon lives', async () => {
  const { socketPath } = await serve({ api: daemonWith({ newest: 0 }), timing: { streamHeartbeatMs: 20 } })
  const raw = open(socketPath, '/v1/events')
  await vi.waitFor(() => expect(raw.received.split(': alive\n\n').length).toBeGreaterThan(2))
})

test('a reader that takes nothing is cut, and little was made for it until then', async () => {
  const logger = recordingLogger()
  const pulled = { count: 0 }
  const api = new FakeDaemonApi()
  api.events = async function* (options) {
    for await (const item of eventLog(options, { newest: 1_000_000, data: 'x'.repeat(10_000) })) {
      pulled.count += 1
      yield item
    }
  }
  const { socketPath } = await serve({ api, logger, timing: { streamStallMs: 150 } })
  const raw = open(socketPath, '/v1/events', 'last-event-id: 0\r\n')
  raw.socket.pause()
  await vi.waitFor(() => expect(logger.lines.map(line => line.fields.code)).toContain('LIMIT_REACHED'), 5_000)
  expect(pulled.count).toBeLessThan(200)
  raw.socket.resume()
  await vi.waitFor(() => expect(raw.ended).toBe(true))
})

test('a reader that is slow, but goes on reading, is not cut', async () => {
  const { socketPath } = await serve({
    api: daemonWith({ newest: 300, data: 'x'.repeat(10_000) }),
    timing: { streamStallMs: 400 }
  })
  const raw = open(socketPath, '/v1/events', 'last-event-id: 0\r\n')
  const timer = setInterval(() => {
    raw.socket.resume()
    setImmediate(() => raw.socket.pause())
  }, 20)
  await vi.waitFor(() => expect(raw.received).toContain('id: 300\n'), 15_000)
  clearInterval(timer)
  expect(raw.ended).toBe(false)
})

test('the source is closed when its reader goes away', async () => {
  const closed = vi.fn()
  const api = new FakeDaemonApi()
  api.events = async function* (options) {
    try {
      yield* eventLog(options, { newest: 0 })
    } finally {
      closed()
    }
  }
  const { socketPath } = await serve({ api })
  const raw = open(socketPath, '/v1/events')
  await vi.waitFor(() => expect(raw.received).toContain(': open'))
  raw.socket.destroy()
  await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce())
})

test('a stream that fails in the middle ends with the problem', async () => {
  const api = new FakeDaemonApi()
  api.events = async function* () {
    yield event(1)
    await new Promise(resolve => setImmediate(resolve))
    throw new Error('broken')
  }
  const { socketPath } = await serve({ api })
  const { text } = await call(socketPath, 'GET', '/v1/events')
  expect(text).toMatch(/id: 1\n[\s\S]*event: problem\ndata: \{.*"code":"INTERNAL"/)
  expect(text).not.toContain('event: end')
})

test('a log ends with the mark of its end', async () => {
  const { socketPath } = await serve()
  const { text } = await call(socketPath, 'GET', '/v1/tasks/job1.0/logs')
  expect(text).toMatch(/"line":"one"[\s\S]*"line":"two"[\s\S]*event: end\ndata: \{\}\n\n$/)
})

test('streams end without that mark when the daemon stops', async () => {
  const { server, socketPath } = await serve({ api: daemonWith({ newest: 1 }) })
  const raw = open(socketPath, '/v1/events')
  await vi.waitFor(() => expect(raw.received).toContain(': open'))
  await server.stop()
  await vi.waitFor(() => expect(raw.ended).toBe(true))
  expect(raw.received).not.toContain('event: end')
})

test('one reader more than the bound is refused', async () => {
  const { socketPath } = await serve({ api: daemonWith({ newest: 0 }) })
  const readers = Array.from({ length: 128 }, () => open(socketPath, '/v1/events'))
  await vi.waitFor(() => expect(readers.every(raw => raw.received.includes(': open'))).toBe(true), 5_000)
  const refused = await call(socketPath, 'GET', '/v1/tasks/job1.0/logs')
  expect(refused).toMatchObject({ status: 429, json: { code: 'LIMIT_REACHED' } })
})
