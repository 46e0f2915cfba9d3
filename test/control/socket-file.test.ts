import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer, Server } from 'node:net'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { controlServer } from '../../src/control/index.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import { afterTest, call, RawConnection, serve } from '../helpers/control-fixture.ts'
import { FakeDaemonApi } from '../helpers/fake-daemon-api.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

function server(socketPath: string) {
  const made = controlServer({ api: new FakeDaemonApi(), socketPath, logger: silentLogger, version: '1.2.3' })
  afterTest(() => made.stop())
  return made
}

/** Leaves the socket file of a process that was killed. */
function deadSocket(path: string): void {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
  expect(lstatSync(path).isSocket()).toBe(true)
}

test('the socket is for its owner only, from its first moment on, whatever the umask', async () => {
  const path = join(temporaryDirectory(), 'starling.sock')
  const before = process.umask(0)
  afterTest(() => void process.umask(before))
  const bound: number[] = []
  const { listen } = Server.prototype
  const spy = vi.spyOn(Server.prototype, 'listen').mockImplementation(function (this: Server, ...args: unknown[]) {
    Reflect.apply(listen, this, args)
    bound.push(lstatSync(path).mode & 0o077)
    return this
  })
  afterTest(() => spy.mockRestore())
  await server(path).start()
  expect(bound).toEqual([0])
  expect(lstatSync(path).mode & 0o777).toBe(0o600)
  expect(process.umask()).toBe(0)
})

test('the socket file of a dead daemon is replaced', async () => {
  const path = join(temporaryDirectory(), 'starling.sock')
  deadSocket(path)
  await server(path).start()
  expect((await call(path, 'GET', '/v1/healthz')).status).toBe(200)
})

test('the socket of a living daemon is left alone', async () => {
  const { socketPath } = await serve()
  await expect(server(socketPath).start()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' })
  expect((await call(socketPath, 'GET', '/v1/healthz')).status).toBe(200)
})

test('a living process that answers nothing counts as a daemon', async () => {
  const path = join(temporaryDirectory(), 'starling.sock')
  const mute = createServer()
  afterTest(() => void mute.close())
  await new Promise<void>(resolve => mute.listen(path, resolve))
  await expect(server(path).start()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' })
})

test.runIf(process.platform === 'linux')('a stopped daemon whose queue is full counts as a daemon', async () => {
  const path = join(temporaryDirectory(), 'starling.sock')
  const listen = `require('node:net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => process.kill(process.pid, 'SIGSTOP'))`
  const stopped = spawn(process.execPath, ['-e', listen])
  afterTest(() => void stopped.kill('SIGKILL'))
  const refusals: unknown[] = []
  await vi.waitFor(() => {
    const filler = connect(path)
    filler.on('error', (error: NodeJS.ErrnoException) => refusals.push(error.code))
    afterTest(() => void filler.destroy())
    expect(refusals).toContain('EAGAIN')
  }, 10_000)
  await expect(server(path).start()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' })
  expect(lstatSync(path).isSocket()).toBe(true)
})

test.each([
  ['a file', (path: string) => writeFileSync(path, 'precious')],
  ['a directory', (path: string) => mkdirSync(path)],
  ['a symbolic link', (path: string) => symlinkSync('/nowhere', path)]
])('%s in the way is not removed', async (_, make) => {
  const path = join(temporaryDirectory(), 'starling.sock')
  make(path)
  await expect(server(path).start()).rejects.toMatchObject({ code: 'HOME_UNUSABLE' })
  expect(lstatSync(path, { throwIfNoEntry: false })).toBeDefined()
})

test.each([0o701, 0o710, 0o770, 0o755, 0o777])('a directory of mode %o is refused', async mode => {
  const directory = temporaryDirectory()
  chmodSync(directory, mode)
  await expect(server(join(directory, 'starling.sock')).start()).rejects.toMatchObject({ code: 'HOME_UNUSABLE' })
})

test('a missing directory is refused', async () => {
  const path = join(temporaryDirectory(), 'missing', 'starling.sock')
  await expect(server(path).start()).rejects.toMatchObject({ code: 'HOME_UNUSABLE' })
})

test('a path that is too long for the kernel is refused with a way out', async () => {
  const directory = join(temporaryDirectory(), 'a'.repeat(100))
  mkdirSync(directory, { mode: 0o700 })
  const start = server(join(directory, 'starling.sock')).start()
  await expect(start).rejects.toMatchObject({ code: 'HOME_UNUSABLE', hint: expect.stringContaining('STARLING_HOME') })
})

test('stop removes the socket, ends waiting requests and idle connections, and can be called again', async () => {
  const { api, server: running, socketPath } = await serve()
  const wait = vi.spyOn(api, 'waitForJob')
  const waiting = call(socketPath, 'GET', '/v1/jobs/job-slow?wait=5m')
  const idle = new RawConnection(socketPath)
  idle.write('GET /v1/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await vi.waitFor(() => expect(idle.received).toContain('ok'))
  await vi.waitFor(() => expect(wait).toHaveBeenCalled())
  await running.stop()
  await running.stop()
  expect((await waiting).json).toMatchObject({ verdict: 'running' })
  await vi.waitFor(() => expect(idle.ended).toBe(true))
  expect(existsSync(socketPath)).toBe(false)
})

test('stop cuts a request that does not end', async () => {
  const { api, server: running, socketPath } = await serve()
  const submit = vi.spyOn(api, 'submit').mockReturnValue(new Promise(() => undefined))
  const stuck = call(socketPath, 'POST', '/v1/jobs', { body: '{"capability":"build"}' })
  stuck.catch(() => undefined)
  await vi.waitFor(() => expect(submit).toHaveBeenCalled())
  await running.stop()
  await expect(stuck).rejects.toMatchObject({ code: 'ECONNRESET' })
})
