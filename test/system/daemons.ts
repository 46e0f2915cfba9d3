import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, type TestContext } from 'vitest'
import { connect, DaemonClient, type Mesh, type Peer, type Ready } from '../../src/sdk/index.ts'

/** The built command line: what users run. `npm test` builds it first. */
export const STARLING = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Longest wait for a daemon to be ready, for all to see all, and for one to be gone, on a busy machine. */
const READY_WAIT_MS = 40_000
const GONE_WAIT_MS = 15_000

/** Pause between two looks at a condition. */
const POLL_MS = 25

/** Characters of each daemon's output that a failed test shows. */
const LOG_SHOWN_CHARS = 6_000

export interface CliResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that runs, what it has written so far, and its end. */
export interface Started {
  readonly child: ChildProcess
  stdout(): string
  stderr(): string
  readonly ended: Promise<CliResult>
}

export interface DaemonSettings {
  /** Capabilities for its config.yaml, by name. */
  readonly capabilities?: Record<string, { command: readonly string[]; slots?: number; timeout?: string }>
  /** Home of an earlier daemon, to start it again. @default a new one */
  readonly home?: string
  readonly join?: string
  readonly listen?: string
  readonly flags?: readonly string[]
}

/** One running daemon, a process of its own in the foreground. */
export interface TestDaemon {
  readonly name: string
  readonly home: string
  readonly ready: Ready
  readonly client: DaemonClient
  readonly process: Started
  /** Runs `starling ARGS` against this daemon, to its end. */
  cli(args: readonly string[], options?: { env?: Record<string, string>; stdin?: string }): Promise<CliResult>
  /** Starts `starling ARGS` against this daemon. */
  start(args: readonly string[]): Started
  /** An SDK connection, closed after the test at the latest. */
  mesh(): Promise<Mesh>
  /** Sends a signal and resolves when the process is gone. */
  kill(signal: NodeJS.Signals): Promise<CliResult>
}

/** The daemons of one test, or of one file, stopped and removed after it whatever happens; shown when a test fails. */
export function useDaemons(scope: 'test' | 'file'): Daemons {
  const daemons = new Daemons()
  const end = scope === 'test' ? afterEach : afterAll
  end(() => daemons.stop(), 2 * GONE_WAIT_MS)
  // Hooks run in reverse order: the logs are shown while there are daemons.
  afterEach((context: TestContext) => {
    if (context.task.result?.state === 'fail') process.stderr.write(daemons.logs())
  })
  return daemons
}

export class Daemons {
  readonly #running: TestDaemon[] = []
  readonly #started: Started[] = []
  readonly #meshes: Mesh[] = []
  readonly #later: (() => void)[] = []
  #root: string | undefined

  /** A directory for homes and files, with a path short enough for sockets; removed at the end. */
  directory(): string {
    this.#root ??= mkdtempSync(join(tmpdir(), 'st-'))
    return mkdtempSync(join(this.#root, 'd'))
  }

  /** Starts a daemon that never leaves loopback. */
  async start(name: string, settings: DaemonSettings = {}): Promise<TestDaemon> {
    const home = settings.home ?? this.directory()
    if (settings.capabilities !== undefined) writeConfig(home, settings.capabilities)
    const listen = settings.listen ?? '/ip4/127.0.0.1/tcp/0'
    const join = settings.join === undefined ? [] : ['--join', settings.join]
    const flags = ['--json', '--no-mdns', '--name', name, '--listen', listen, ...join, ...(settings.flags ?? [])]
    const process = this.run(['up', ...flags], { home })
    const ready = await readyOf(name, process)
    const daemon = this.#daemon(name, home, ready, process)
    this.#running.push(daemon)
    return daemon
  }

  /** Starts one daemon for each name, the first makes the swarm; resolves when all see all. */
  async swarm<const Names extends readonly string[]>(
    names: Names,
    settings: (name: Names[number]) => DaemonSettings = () => ({})
  ): Promise<{ [K in keyof Names]: TestDaemon }> {
    const [first = '', ...others] = names
    const founder = await this.start(first, settings(first))
    const { token } = await founder.client.createToken({ uses: Math.max(1, others.length) })
    const joined = await Promise.all(others.map(name => this.start(name, { ...settings(name), join: token })))
    const all = [founder, ...joined]
    await untilMeshed(all)
    return all as { [K in keyof Names]: TestDaemon }
  }

  /** Starts the command line with a home; ended at the latest with the test. */
  run(args: readonly string[], options: { home: string; env?: Record<string, string> | undefined }): Started {
    const started = startProgram([STARLING, ...args], { STARLING_HOME: options.home, ...options.env })
    this.#started.push(started)
    return started
  }

  /** Has `act` done when all processes are gone, before their files are. */
  later(act: () => void): void {
    this.#later.push(act)
  }

  /** Output of all daemons, its end at least. */
  logs(): string {
    const shown = this.#running.map(({ name, process: { child, stderr } }) => {
      const state = child.exitCode ?? child.signalCode ?? 'running'
      return `--- ${name} (pid ${child.pid}, ${state})\n${stderr().slice(-LOG_SHOWN_CHARS)}\n`
    })
    return shown.join('')
  }

  /** Ends everything that was started and removes its files. */
  async stop(): Promise<void> {
    await Promise.all(this.#meshes.splice(0).map(mesh => mesh.close()))
    for (const { client } of this.#running.splice(0)) client.close()
    await Promise.all(this.#started.splice(0).map(endProgram))
    for (const act of this.#later.splice(0)) act()
    if (this.#root !== undefined) rmSync(this.#root, { recursive: true, force: true, maxRetries: 5 })
    this.#root = undefined
  }

  #daemon(name: string, home: string, ready: Ready, process: Started): TestDaemon {
    const client = new DaemonClient({ socketPath: ready.socket })
    return {
      name,
      home,
      ready,
      client,
      process,
      start: args => this.run(args, { home }),
      cli: (args, options = {}) => {
        const started = this.run(args, { home, env: options.env })
        started.child.stdin?.end(options.stdin ?? '')
        return started.ended
      },
      mesh: async () => {
        const mesh = await connect({ socket: ready.socket, logger: silent })
        this.#meshes.push(mesh)
        return mesh
      },
      kill: signal => {
        process.child.kill(signal)
        return process.ended
      }
    }
  }
}

/** Resolves when every daemon sees all of them alive. */
export async function untilMeshed(daemons: readonly TestDaemon[]): Promise<void> {
  const ids = daemons.map(({ ready }) => ready.peerId)
  for (const { client, name } of daemons) {
    await until(
      `${name} sees ${ids.length} daemons`,
      async () => {
        const alive = (await client.peers()).filter(({ state }) => state === 'alive').map(({ peerId }) => peerId)
        return ids.every(id => alive.includes(id))
      },
      READY_WAIT_MS
    )
  }
}

/** Resolves when `daemon` knows that each of `hosts` offers `capability`. */
export async function untilOffered(
  daemon: TestDaemon,
  capability: string,
  hosts: readonly TestDaemon[]
): Promise<void> {
  const offers = ({ state, capabilities }: Peer) =>
    state === 'alive' && capabilities.some(({ name, slots }) => name === capability && slots > 0)
  await until(`${daemon.name} knows ${hosts.length} hosts of ${capability}`, async () => {
    const able = (await daemon.client.peers()).filter(offers).map(({ peerId }) => peerId)
    return hosts.every(({ ready }) => able.includes(ready.peerId))
  })
}

/** Resolves when `condition` holds. Rejects after `waitMs`, naming `what` was awaited. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  waitMs = GONE_WAIT_MS
): Promise<void> {
  const end = performance.now() + waitMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not reached in ${waitMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

/** Resolves with `promise`, or rejects after `waitMs` naming `what` was awaited. */
export async function within<T>(what: string, waitMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done in ${waitMs} ms: ${what}`)), waitMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Processes that run now and whose command line contains `text`. Zombies have none. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(pid => commandLine(pid).includes(text))
    .map(Number)
}

/** Processes that run now and have `text` in their environment. */
export function processesIn(text: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(pid => readProc(pid, 'environ').includes(text))
    .map(Number)
}

/** Whether a process runs; one that has ended and was not collected by its parent does not. */
export function isRunning(pid: number): boolean {
  return commandLine(String(pid)) !== ''
}

/** Processes `sleep SECONDS`, not the shells that have started them. */
export function sleepers(seconds: string): number {
  return processesWith(`sleep ${seconds}`).filter(pid => commandLine(String(pid)).trim() === `sleep ${seconds}`).length
}

/** A number of seconds for `sleep` that no other test uses, so that its processes can be told by their arguments. */
export function uniqueSeconds(): string {
  sleeps += 1
  return `${3_000 + (process.pid % 1_000)}.${Math.floor(performance.now())}${sleeps}`
}

let sleeps = 0

export function writeConfig(home: string, capabilities: DaemonSettings['capabilities']): void {
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const entries = Object.entries(capabilities ?? {}).map(([name, rest]) => [name, { runtime: 'command', ...rest }])
  // YAML is a superset of JSON.
  writeFileSync(join(home, 'config.yaml'), JSON.stringify({ capabilities: Object.fromEntries(entries) }))
}

/** Starts node with `args` and an environment in which nothing of this one's daemons is set. */
export function startProgram(args: readonly string[], env: Record<string, string>): Started {
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, HOME: tmpdir(), ...env },
    stdio: ['pipe', 'pipe', 'pipe']
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  // A program that does not read its stdin closes it.
  child.stdin.on('error', () => undefined)
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}

async function endProgram({ child, ended }: Started): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  await within('a killed process is gone', GONE_WAIT_MS, ended)
}

async function readyOf(name: string, started: Started): Promise<Ready> {
  const over = started.ended.then(({ code, stdout, stderr }) => {
    throw new Error(`${name} ended with code ${code} before it was ready:\n${stdout}${stderr}`)
  })
  const line = until(`${name} is ready`, () => started.stdout().includes('\n'), READY_WAIT_MS)
  await Promise.race([line, over])
  return JSON.parse(started.stdout().slice(0, started.stdout().indexOf('\n'))) as Ready
}

function commandLine(pid: string): string {
  return readProc(pid, 'cmdline').replaceAll('\0', ' ')
}

function readProc(pid: string, file: 'cmdline' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    // Gone between the two looks: it has neither.
    return ''
  }
}

const silent = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silent
}
