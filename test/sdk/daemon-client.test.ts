import { execFile } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'
import { DaemonClient, DaemonNotRunningError } from '../../src/sdk/index.ts'
import { BODY_BYTES_MAX } from '../../src/wire/api/limits.ts'
import type { Event } from '../../src/wire/api/schemas.ts'
import { afterTest, serve } from '../helpers/control-fixture.ts'
import { eventLog, FakeDaemonApi, jobSummary, PLACEMENT, READY, STATUS } from '../helpers/fake-daemon-api.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

function clientFor(socketPath: string): DaemonClient {
  const client = new DaemonClient({ socketPath })
  afterTest(() => client.close())
  return client
}

async function served(options: Parameters<typeof serve>[0] = {}) {
  const fixture = await serve(options)
  return { ...fixture, client: clientFor(fixture.socketPath) }
}

const CLIENT_URL = new URL('../../src/sdk/daemon-client.ts', import.meta.url)

/** Runs a module in a process of its own; rejects when it fails or does not end. */
function runScript(script: string, before: string[] = [], options: { uid?: number; gid?: number } = {}) {
  const args = [...before, '--input-type=module', '-e', script]
  return promisify(execFile)(process.execPath, args, { timeout: 15_000, ...options })
}

/** Something else than a daemon on a socket. */
async function listenOn(server: Server): Promise<string> {
  const path = join(temporaryDirectory(), 's')
  afterTest(() => void server.close())
  await new Promise<void>(resolve => server.listen(path, resolve))
  return path
}

const scripted = (listener: RequestListener) => listenOn(createHttpServer(listener))

test('every call reaches the daemon and gives its answer', async () => {
  const { api, client } = await served()
  const spawn = vi.spyOn(api, 'spawn')
  expect(await client.version()).toMatchObject({ version: '1.2.3', apiVersions: ['v1'] })
  expect(await client.ready()).toMatchObject(READY)
  expect(await client.status()).toMatchObject(STATUS)
  expect(await client.peers()).toEqual([])
  expect(await client.agents()).toEqual([])
  expect(await client.jobs()).toMatchObject([{ id: 'job1' }])
  expect(await client.job('job1')).not.toHaveProperty('items')
  expect(await client.job('job1', { items: true })).toMatchObject({ items: [] })
  expect(await client.submit({ capability: 'build' })).toMatchObject({ id: 'job1', existing: false })
  expect(await client.plan({ capability: 'build' })).toMatchObject(PLACEMENT)
  expect(await client.waitForJob('job1')).toMatchObject({ verdict: 'completed' })
  expect(await client.cancel('job1')).toMatchObject({ id: 'job1' })
  expect(await client.spawn('job1.0', { capability: 'stat', input: [1] })).toMatchObject({ taskId: 'job1.0.0' })
  expect(spawn).toHaveBeenCalledExactlyOnceWith('job1.0', { capability: 'stat', input: [1] })
  expect(await client.waitForChild('job1.0', 'job1.0.0')).toMatchObject({ outcome: 'completed', result: { n: 1 } })
  expect(await client.drain('bob', { deadlineMs: 5 })).toMatchObject({ drain: 'draining' })
  expect(api.drains).toEqual([{ peer: 'bob', request: { deadlineMs: 5 } }])
  expect(await client.createToken()).toMatchObject({ token: 'starling1-abc' })
  expect(await client.join('good')).toMatchObject({ swarm: STATUS.swarm })
  expect(await client.doctor()).toHaveLength(1)
  await client.stop({ now: true })
  expect(api.stops).toEqual([{ now: true }])
})

test('a problem is thrown with its code and hint', async () => {
  const { client } = await served()
  await expect(client.job('nope')).rejects.toMatchObject({
    name: 'StarlingError',
    code: 'NOT_FOUND',
    message: 'no job nope',
    hint: 'starling jobs'
  })
})

test('an id cannot leave its place in the path', async () => {
  const { client } = await served()
  await expect(client.job('../stop')).rejects.toMatchObject({ code: 'INVALID_INPUT' })
})

test('nobody on the socket is DAEMON_NOT_RUNNING, with what to do', async () => {
  const path = join(temporaryDirectory(), 'missing.sock')
  const failure = await clientFor(path)
    .status()
    .catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(DaemonNotRunningError)
  expect(failure).toMatchObject({ code: 'DAEMON_NOT_RUNNING', hint: 'start it with: starling up' })
})

test('a daemon that goes away before it has answered is DAEMON_NOT_RUNNING', async () => {
  const path = await listenOn(createServer(socket => socket.once('data', () => socket.destroy())))
  const client = clientFor(path)
  await expect(client.status()).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
  await expect(client.submit({ capability: 'build' })).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
})

test('an answer that breaks off is DAEMON_NOT_RUNNING', async () => {
  const path = await scripted((_, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('{"a":', () => response.destroy())
  })
  await expect(clientFor(path).status()).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
})

test('a socket of another user is DENIED', async () => {
  const { socketPath } = await served()
  const nobody = 65_534
  const script = `
    const { DaemonClient } = await import(${JSON.stringify(CLIENT_URL)})
    await new DaemonClient({ socketPath: ${JSON.stringify(socketPath)} }).version().catch(error => console.log(error.code))`
  if (process.getuid?.() === 0) {
    const { stdout } = await runScript(script, [], { uid: nobody, gid: nobody })
    expect(stdout).toBe('DENIED\n')
  } else {
    chmodSync(dirname(socketPath), 0)
    afterTest(() => chmodSync(dirname(socketPath), 0o700))
    await expect(clientFor(socketPath).status()).rejects.toMatchObject({ code: 'DENIED' })
  }
})

test('an error that this version does not know is INTERNAL and keeps its text', async () => {
  const path = await scripted((_, response) => {
    response.writeHead(418).end('{"code":"TEAPOT","detail":"short and stout"}')
  })
  await expect(clientFor(path).status()).rejects.toMatchObject({ code: 'INTERNAL', message: 'short and stout' })
})

test('another program on the socket is told apart', async () => {
  const path = await scripted((_, response) => response.end('<html>'))
  await expect(clientFor(path).status()).rejects.toMatchObject({
    code: 'INTERNAL',
    hint: expect.stringContaining('another program')
  })
})

test('a kept connection that died meanwhile costs a GET nothing, and no other request is sent twice', async () => {
  const seen: string[] = []
  const server = createHttpServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    if (seen.length === 2 || seen.length === 4) request.socket.destroy()
    else response.end('{"id":"job1"}')
  })
  const client = clientFor(await listenOn(server))
  await client.job('job1')
  await client.job('job1')
  expect(seen).toEqual(['GET /v1/jobs/job1', 'GET /v1/jobs/job1', 'GET /v1/jobs/job1'])
  await expect(client.cancel('job1')).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
  expect(seen).toHaveLength(4)
})

test('a request over the bound is refused before it is sent', async () => {
  const { api, client } = await served()
  const submit = vi.spyOn(api, 'submit')
  const input = 'x'.repeat(BODY_BYTES_MAX - '{"capability":"build","input":""}'.length)
  await client.submit({ capability: 'build', input })
  await expect(client.submit({ capability: 'build', input: `${input}x` })).rejects.toMatchObject({
    code: 'INPUT_TOO_LARGE'
  })
  expect(submit).toHaveBeenCalledOnce()
})

test('a wait ends with the running job when its time has passed', async () => {
  const { client } = await served()
  const begin = performance.now()
  expect(await client.waitForJob('job-slow', { timeoutMs: 60 })).toMatchObject({ verdict: 'running' })
  expect(performance.now() - begin).toBeGreaterThanOrEqual(59)
})

test('a wait goes on when the daemon answers before the job is over', async () => {
  const api = new FakeDaemonApi()
  let asked = 0
  api.waitForJob = async id => jobSummary(id, ++asked < 3 ? 'running' : 'completed')
  const { client } = await served({ api })
  expect(await client.waitForJob('job1')).toMatchObject({ verdict: 'completed' })
  expect(asked).toBe(3)
})

test('a wait that is aborted rejects with the reason and ends at the daemon', async () => {
  const { api, client } = await served()
  const wait = vi.spyOn(api, 'waitForJob')
  const controller = new AbortController()
  const waiting = client.waitForJob('job-slow', { signal: controller.signal })
  await vi.waitFor(() => expect(wait).toHaveBeenCalled())
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await vi.waitFor(() => expect(wait.mock.calls[0]?.[1].signal?.aborted).toBe(true))
})

test('a wait rejects when the daemon is stopped or the client closed', async () => {
  const { api, client, server } = await served()
  api.waitForJob = () => new Promise(() => undefined)
  const first = client.waitForJob('job1')
  const other = clientFor(client.socketPath)
  const second = other.waitForJob('job1')
  other.close()
  await expect(second).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING', message: 'this client is closed' })
  const stopped = server.stop()
  await expect(first).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
  await stopped
})

test('events go on after a cut, from where they were', async () => {
  const log = { newest: 3 }
  const api = new FakeDaemonApi()
  const asked: (string | undefined)[] = []
  api.events = async function* (options) {
    asked.push(options.sinceId)
    let sent = 0
    for await (const item of eventLog(options, log)) {
      yield item
      if (asked.length < 3 && ++sent === 2) return
    }
  }
  const { client } = await served({ api })
  const controller = new AbortController()
  const seen: string[] = []
  log.newest = 6
  for await (const event of client.events({ sinceId: '1', signal: controller.signal })) {
    seen.push(event.id)
    if (event.id === '6') controller.abort()
  }
  expect(seen).toEqual(['2', '3', '4', '5', '6'])
  expect(asked).toEqual(['1', '3', '5'])
})

test('a reader that was cut for being slow is told of its gap', async () => {
  const log = { newest: 10_000, oldest: 1, data: 'x'.repeat(10_000) }
  const api = new FakeDaemonApi()
  api.events = options => eventLog(options, log)
  const { client } = await served({ api, timing: { streamStallMs: 100 } })
  const seen: Event[] = []
  let cut = false
  for await (const event of client.events({ sinceId: '0' })) {
    seen.push(event)
    if (event.type === 'starling.events.gap') break
    if (!cut) {
      cut = true
      log.oldest = 9_000
      await new Promise(resolve => setTimeout(resolve, 300))
    }
  }
  expect(seen.at(-1)).toMatchObject({ id: '9000', type: 'starling.events.gap' })
  expect(seen.slice(0, -1).map(event => Number(event.id))).toEqual(seen.slice(0, -1).map((_, index) => index + 1))
})

test('events reject when the daemon goes away', async () => {
  const api = new FakeDaemonApi()
  api.events = options => eventLog(options, { newest: 1 })
  const { client, server } = await served({ api })
  const reading = (async () => {
    for await (const _ of client.events({ sinceId: '0' })) await server.stop()
  })()
  await expect(reading).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
})

test('leaving the loop ends the stream at the daemon', async () => {
  const closed = vi.fn()
  const api = new FakeDaemonApi()
  api.events = async function* (options) {
    try {
      yield* eventLog(options, { newest: 5 })
    } finally {
      closed()
    }
  }
  const { client } = await served({ api })
  for await (const _ of client.events({ sinceId: '0' })) break
  await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce())
})

test('an event larger than a read of the socket, with line ends and other alphabets, arrives whole', async () => {
  const data = `line\nnext\r\n"ü€😀"\u2028${'ж'.repeat(300_000)}`
  const api = new FakeDaemonApi()
  api.events = options => eventLog(options, { newest: 1, data })
  const { client } = await served({ api })
  for await (const event of client.events({ sinceId: '0' })) {
    expect(event.data).toBe(data)
    break
  }
})

test('a log ends, and one that breaks off says so', async () => {
  const { api, client, server } = await served()
  const read = async () => {
    const lines: string[] = []
    for await (const line of client.logs('job1.0', { follow: true })) lines.push(line.line)
    return lines
  }
  expect(await read()).toEqual(['one', 'two'])
  await expect(client.logs('nope').next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const logs = vi.spyOn(api, 'logs').mockImplementation(async function* () {
    yield { time: STATUS.self.startedAt, taskId: 'job1.0', line: 'one' }
    await new Promise(() => undefined)
  })
  const broken = read()
  const outcome = expect(broken).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
  await vi.waitFor(() => expect(logs).toHaveBeenCalled())
  await server.stop()
  await outcome
})

test('a client that is idle does not keep its process alive', async () => {
  const { socketPath } = await served()
  const script = `
    const { DaemonClient } = await import(${JSON.stringify(CLIENT_URL)})
    await new DaemonClient({ socketPath: ${JSON.stringify(socketPath)} }).version()
    console.log('done')`
  expect((await runScript(script)).stdout).toBe('done\n')
})

test('the client loads no schema, server or WebSocket library', async () => {
  const hooks = `
    import { registerHooks } from 'node:module'
    const heavy = ['zod', 'hono', 'ws', 'protons-runtime']
    registerHooks({ resolve(name, context, next) {
      if (heavy.includes(name)) throw new Error('loads ' + name)
      return next(name, context)
    } })`
  const load = (path: string) => {
    const url = new URL(path, import.meta.url)
    const before = ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`]
    return runScript(`await import(${JSON.stringify(url)})`, before)
  }
  await expect(load('../../src/wire/api/schemas.ts')).rejects.toThrow('loads zod')
  await load('../../src/sdk/index.ts')
})
