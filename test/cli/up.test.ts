import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LOG_BYTES_MAX, startDetached } from '../../src/cli/detached.ts'
import { readySchema } from '../../src/wire/api/schemas.ts'
import { ALICE_ID, peerDocument, statusDocument } from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { runCli, startCli } from '../helpers/cli-process.ts'
import { fakeDaemonServer } from '../helpers/fake-daemon-server.ts'

const HOOKS = new URL('../helpers/fake-daemon-hooks.ts', import.meta.url).href
const STARTED_MS = 10_000

let home: string
let log: string
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'starling-up-'))
  log = join(home, 'logs', 'daemon.log')
})
afterEach(async () => {
  const started = await readStarted().catch(() => undefined)
  if (started !== undefined && isAlive(started.pid)) {
    process.kill(started.pid, 'SIGTERM')
    await vi.waitFor(() => expect(isAlive(started.pid)).toBe(false), { timeout: STARTED_MS })
  }
  await rm(home, { recursive: true, force: true })
})

function init(behaviour = '') {
  return { env: { STARLING_HOME: home, FAKE_DAEMON: behaviour }, nodeArguments: ['--import', HOOKS] }
}

async function readStarted(): Promise<{ pid: number; flags: Record<string, unknown>; argv: string[] }> {
  return JSON.parse(await readFile(join(home, 'started.json'), 'utf8'))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('up in the foreground', () => {
  it('says where it listens and how to add a machine, and stops at SIGTERM', async () => {
    const up = startCli(['up', '--name', 'anna'], init())
    await vi.waitFor(() => expect(up.stdout()).toContain('To stop'), { timeout: STARTED_MS })
    expect(up.stdout()).toMatch(
      /^anna is up: peer 12D3KooWAAAAAA, pid \d+\n {2}listening {2}\/ip4\/127.0.0.1\/tcp\/4001\n/
    )
    expect(up.stdout()).toContain('swarm      0123456789abcdef, 2 machines so far, role admin')
    expect(up.stdout()).toContain('starling token create')
    expect(up.stdout()).toContain('starling up --join TOKEN')
    up.child.kill('SIGTERM')
    expect(await up.ended).toMatchObject({ code: 0, signal: null })
  })

  it('prints one Ready line with --json', async () => {
    const up = startCli(['up', '--json'], init())
    await vi.waitFor(() => expect(up.stdout()).toContain('\n'), { timeout: STARTED_MS })
    const ready = JSON.parse(up.stdout())
    expect(ready).toMatchObject({ apiVersion: 'starling/v1', kind: 'Ready', peerId: ALICE_ID, pid: up.child.pid })
    expect(readySchema.parse(ready).name).toBe('alice')
    up.child.kill('SIGINT')
    expect((await up.ended).stdout.trimEnd().split('\n')).toHaveLength(1)
  })

  it('lets the daemon end its work at the first signal, and not at the second', async () => {
    const up = startCli(['up'], init('stubborn'))
    await vi.waitFor(() => expect(up.stdout()).toContain('To stop'), { timeout: STARTED_MS })
    up.child.kill('SIGINT')
    await vi.waitFor(() => expect(up.stderr()).toContain('once more to stop at once'), { timeout: STARTED_MS })
    expect(up.child.exitCode).toBeNull()
    up.child.kill('SIGINT')
    expect(await up.ended).toMatchObject({ code: 1, signal: null })
  })

  it('hands its flags over, and leaves out what was not given', async () => {
    const flags = ['--listen', '/ip4/1.2.3.4/tcp/1', '--listen', '/ip4/1.2.3.4/tcp/2', '--peer', '/ip4/9.9.9.9/tcp/3']
    await runCli(['up', ...flags, '--no-mdns', '--join', 'starling1abc'], init('refuse'))
    expect((await readStarted()).flags).toEqual({
      listen: ['/ip4/1.2.3.4/tcp/1', '/ip4/1.2.3.4/tcp/2'],
      peers: ['/ip4/9.9.9.9/tcp/3'],
      mdns: false,
      join: 'starling1abc'
    })
    await runCli(['up'], init('refuse'))
    expect((await readStarted()).flags).toEqual({})
  })

  it('exits with the code of what the daemon failed with', async () => {
    expect(await runCli(['up'], init('refuse'))).toMatchObject({
      code: 9,
      stdout: '',
      stderr: 'error: another daemon runs here (pid 1)\nhint: starling down\n'
    })
  })
})

describe('up --detach', () => {
  it('returns when the daemon is ready, which goes on in a session of its own', async () => {
    const result = await runCli(['up', '--detach', '--json', '--name', 'anna', '--join', 'starling1secret'], init())
    expect(result).toMatchObject({ code: 0, stderr: '' })
    const ready = JSON.parse(result.stdout)
    expect(ready).toMatchObject({ kind: 'Ready', name: 'anna' })
    const started = await readStarted()
    expect(started).toMatchObject({ pid: ready.pid, flags: { name: 'anna', join: 'starling1secret' } })
    expect(isAlive(ready.pid)).toBe(true)
    expect(started.argv.join(' ')).not.toContain('secret')
    expect((await stat(log)).mode & 0o777).toBe(0o600)
    expect((await stat(dirname(log))).mode & 0o777).toBe(0o700)
    process.kill(ready.pid, 'SIGTERM')
    await vi.waitFor(() => expect(isAlive(ready.pid)).toBe(false), { timeout: STARTED_MS })
  })

  it('says the same as in the foreground', async () => {
    const { code, stdout } = await runCli(['up', '-d'], init())
    expect(code).toBe(0)
    expect(stdout).toContain('alice is up')
    expect(stdout).toContain('To stop: starling down')
  })

  it('fails with the error that the daemon failed with', async () => {
    expect(await runCli(['up', '--detach'], init('refuse'))).toMatchObject({
      code: 9,
      stdout: '',
      stderr: 'error: another daemon runs here (pid 1)\nhint: starling down\n'
    })
  })

  it('shows exit code and log of a daemon that dies without a word', async () => {
    const { code, stderr } = await runCli(['up', '--detach'], init('die'))
    expect(code).toBe(1)
    expect(stderr).toContain('the daemon ended with exit code 77 before it was ready:\nsomething dreadful\n')
    expect(stderr).toContain(`hint: its log is ${log}`)
  })

  it('refuses a home where no log can be written', async () => {
    await writeFile(join(home, 'logs'), 'a file')
    const { code, stderr } = await runCli(['up', '--detach'], init())
    expect(code).toBe(2)
    expect(stderr).toContain('cannot be written')
  })
})

describe('a detached start', () => {
  const wait = (script: string, waitMs: number) =>
    startDetached({ argv: ['-e', script], options: {}, logPath: log, env: process.env, waitMs })

  it('gives up waiting after its bound, and leaves the process alone', async () => {
    const script = `require('fs').writeFileSync(${JSON.stringify(join(home, 'started.json'))}, '{"pid":' + process.pid + '}')
      setTimeout(() => {}, 60000)`
    await expect(wait(script, 1_000)).rejects.toMatchObject({ code: 'TIMED_OUT', hint: expect.stringContaining(log) })
    expect(isAlive((await readStarted()).pid)).toBe(true)
  })

  it('reports a process that a signal has ended', async () => {
    await expect(wait('process.kill(process.pid, "SIGKILL")', 10_000)).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('signal SIGKILL')
    })
  })

  it('puts a log aside that is longer than the bound, and keeps a shorter one', async () => {
    await mkdir(dirname(log))
    await writeFile(log, 'x'.repeat(LOG_BYTES_MAX))
    await wait('', 10_000).catch(() => {})
    expect((await stat(log)).size).toBe(LOG_BYTES_MAX)
    await writeFile(log, 'x'.repeat(LOG_BYTES_MAX + 1))
    await wait('', 10_000).catch(() => {})
    expect((await stat(log)).size).toBe(0)
    expect((await stat(`${log}.1`)).size).toBe(LOG_BYTES_MAX + 1)
  })
})

describe('down', () => {
  /** A daemon that is gone a moment after it was asked to stop; its pid is no process. */
  async function stoppable(body: (socket: string, asked: unknown[]) => Promise<void>, running = 0): Promise<void> {
    const asked: unknown[] = []
    const { self } = statusDocument()
    const noProcess = 2 ** 22 + 1
    const ready = { peerId: self.peerId, name: 'alice', socket: '', listen: [], pid: noProcess, version: '0.1.0' }
    let closed: Promise<void> | undefined
    let looks = 0
    const daemon = await fakeDaemonServer({
      'GET /v1/ready': { body: ready },
      'GET /v1/peers': () => ({ body: { items: [peerDocument({ self: true, load: { running, queued: 0 } })] } }),
      'POST /v1/stop': ({ body }) => {
        asked.push(body)
        return { status: 202, body: {} }
      },
      'GET /version': () => {
        looks += 1
        if (looks === 3) closed = daemon.close()
        return { body: { version: '0.1.0', apiVersions: ['v1'] } }
      }
    })
    await body(daemon.socketPath, asked)
    expect(looks).toBeGreaterThanOrEqual(3)
    await closed
  }

  it('returns when the daemon is gone, not before', async () => {
    await stoppable(async (socket, asked) => {
      const { code, stdout, stderr } = await runCliHere(['down', '--socket', socket])
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'alice has stopped (pid 4194305)\n', stderr: '' })
      expect(asked).toEqual([{ now: false }])
    })
  })

  it.each([
    [1, [], '1 task runs here: up to 5 s to end; what is left then, other hosts do again\n'],
    [2, ['--now'], '2 tasks run here: other hosts do it again\n']
  ])('says what becomes of %i running tasks with %j', async (running, flags, stderr) => {
    await stoppable(async socket => {
      expect(await runCliHere(['down', ...flags, '--socket', socket])).toMatchObject({ code: 0, stderr })
    }, running)
  })

  it('passes --now on, and prints one document with --json', async () => {
    await stoppable(async (socket, asked) => {
      const { stdout } = await runCliHere(['down', '--now', '--json', '--socket', socket])
      expect(JSON.parse(stdout)).toMatchObject({ kind: 'Stopped', name: 'alice', pid: 4_194_305 })
      expect(asked).toEqual([{ now: true }])
    })
  })
})
