import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DaemonClient, type Ready, StarlingError } from '../sdk/index.ts'
import type { BodyNote } from './body-tally.ts'

/** Names of the demo's daemons. */
export const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin'] as const

/** Slots of each worker: five hosts of a small machine's size. */
const SLOTS = 4

/** Longest wait for a process to say that it is ready, on a slow and busy machine. */
const READY_WAIT_MS = 60_000

/** Longest wait for all to see all. */
const MESH_WAIT_MS = 60_000

/** Longest wait for a process to end before it is killed. */
const END_WAIT_MS = 5_000

export interface PoolMember {
  readonly name: string
  readonly ready: Ready
  readonly client: DaemonClient
}

interface Starting {
  readonly child: ChildProcess
  readonly ready: Promise<Ready>
}

/** Five daemons with a worker each, as processes of their own with homes of their own. */
export class Pool {
  readonly members: PoolMember[] = []
  readonly #heard: (name: string, note: BodyNote) => void
  readonly #children: { readonly name: string; readonly child: ChildProcess }[] = []
  #homes: string | undefined

  /** `heard` gets what the worker at the daemon `name` says of its bodies. */
  constructor(heard: (name: string, note: BodyNote) => void) {
    this.#heard = heard
  }

  /** Starts everything. `step` is told what is going on. @throws StarlingError TIMED_OUT, INTERNAL; call `stop` then. */
  async start(step: (text: string) => void, signal: AbortSignal): Promise<void> {
    this.#homes = await mkdtemp(join(tmpdir(), 'starling-demo-'))
    step('starting the first daemon: it makes the swarm')
    const [first, ...others] = NAMES
    const founder = await this.#member(this.#daemon(first))
    const { token } = await founder.client.createToken({ uses: others.length, ttlMs: READY_WAIT_MS })
    step(`starting ${others.length} more: they join with its token`)
    const joining = others.map(name => this.#daemon(name, token))
    await Promise.all(joining.map(starting => this.#member(starting)))
    signal.throwIfAborted()
    step('connecting a worker to each')
    await Promise.all(this.members.map(({ ready }) => this.#worker(ready)))
    signal.throwIfAborted()
    step('waiting until all see all')
    await this.#untilMeshed(signal)
  }

  /** What a power cut does to one host: its daemon and its worker are gone without a word. */
  kill(name: string): void {
    for (const each of this.#children) if (each.name === name) each.child.kill('SIGKILL')
  }

  /** Ends all processes and removes their homes. Idempotent; never throws. */
  async stop(): Promise<void> {
    for (const { client } of this.members) client.close()
    await Promise.all(this.#children.map(({ child }) => endChild(child)))
    if (this.#homes !== undefined) await rm(this.#homes, { recursive: true, force: true, maxRetries: 3 })
  }

  #daemon(name: string, join?: string): Starting {
    const child = this.#fork(name, 'daemon-main', JSON.stringify(join === undefined ? { name } : { name, join }))
    return { child, ready: said(child, `the daemon ${name}`).then(message => message.ready as Ready) }
  }

  async #member(starting: Starting): Promise<PoolMember> {
    const ready = await starting.ready
    const member = { name: ready.name, ready, client: new DaemonClient({ socketPath: ready.socket }) }
    this.members.push(member)
    return member
  }

  async #worker({ name, socket }: Ready): Promise<void> {
    const child = this.#fork(name, 'worker-main', String(SLOTS), { STARLING_SOCKET: socket })
    await said(child, `the worker of ${name}`)
    child.on('message', note => this.#heard(name, note as BodyNote))
  }

  #fork(name: string, program: string, argument: string, more: NodeJS.ProcessEnv = {}): ChildProcess {
    const own = Object.entries(process.env).filter(([variable]) => !variable.startsWith('STARLING_'))
    // Compiled code is shared by the ten processes, and kept for the next time.
    const cache = { NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache') }
    const env = {
      ...cache,
      ...Object.fromEntries(own),
      STARLING_HOME: `${this.#homes}/${name}`,
      STARLING_LOG_LEVEL: 'error',
      ...more
    }
    const module = new URL(`./${program}.js`, import.meta.url)
    const child = fork(module, [argument], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.#children.push({ name, child })
    return child
  }

  async #untilMeshed(signal: AbortSignal): Promise<void> {
    const end = performance.now() + MESH_WAIT_MS
    for (;;) {
      const views = await Promise.all(this.members.map(({ client }) => client.peers()))
      const served = (peers: (typeof views)[number]) =>
        peers.filter(({ state, capabilities }) => state === 'alive' && capabilities.length > 0).length
      if (views.every(peers => served(peers) === this.members.length)) return
      signal.throwIfAborted()
      if (performance.now() > end) throw new StarlingError('TIMED_OUT', 'the daemons do not all see each other')
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

/** The first thing that a child says. */
function said(child: ChildProcess, who: string): Promise<{ kind: string; ready?: unknown; message?: string }> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new StarlingError('TIMED_OUT', `${who} was not ready in ${READY_WAIT_MS / 1_000} s`))
    }, READY_WAIT_MS)
    child.once('exit', code => {
      clearTimeout(timer)
      reject(new StarlingError('INTERNAL', `${who} ended with exit code ${code}`))
    })
    child.once('message', (message: { kind: string; message?: string }) => {
      clearTimeout(timer)
      if (message.kind === 'failed') reject(new StarlingError('INTERNAL', `${who}: ${message.message}`))
      else resolve(message)
    })
  })
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  if (child.connected) child.disconnect()
  const timer = setTimeout(() => child.kill('SIGKILL'), END_WAIT_MS)
  await ended
  clearTimeout(timer)
}
