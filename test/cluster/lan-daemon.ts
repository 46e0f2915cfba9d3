import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DaemonClient, type Peer, type Ready } from '../../src/sdk/index.ts'
import { EventRecorder } from './events.ts'
import type { Sandbox, SandboxProcess } from './sandbox.ts'
import { type BodyRun, readDiary } from './tree.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const TREE_WORKER = fileURLToPath(new URL('tree-worker.ts', import.meta.url))

/** Longest wait for a process to say that it is ready, on a slow and busy machine. */
const READY_MS_MAX = 60_000

export interface UpOptions {
  readonly join?: string
  readonly peers?: readonly string[]
  readonly listen?: readonly string[]
}

interface RunningDaemon {
  readonly process: SandboxProcess
  readonly ready: Ready
  readonly readyAtMs: number
  readonly client: DaemonClient
  readonly events: EventRecorder
}

/** One virtual host with its daemon and its worker. */
export class LanHost {
  readonly number: number
  readonly name: string
  readonly home: string
  /** File into which what runs here writes when bodies begin and end. */
  readonly diary: string
  readonly #sandbox: Sandbox
  readonly #boots: EventRecorder[] = []
  readonly #kills: number[] = []
  #running: RunningDaemon | undefined
  #worker: SandboxProcess | undefined

  constructor(sandbox: Sandbox, number: number, directory: string) {
    this.#sandbox = sandbox
    this.number = number
    this.name = `h${number}`
    this.home = join(directory, this.name)
    this.diary = join(this.home, 'diary.jsonl')
    mkdirSync(this.home, { mode: 0o700, recursive: true })
    writeFileSync(this.diary, '')
  }

  /** Gives the daemon a configuration; before `up`. */
  configure(yaml: string): void {
    writeFileSync(join(this.home, 'config.yaml'), yaml)
  }

  /** Starts the daemon; resolves when it is ready. */
  async up(options: UpOptions = {}): Promise<void> {
    this.closeClients()
    const { join: token, peers = [], listen = [] } = options
    const flags = [
      ...(token === undefined ? [] : ['--join', token]),
      ...peers.flatMap(address => ['--peer', address]),
      ...listen.flatMap(address => ['--listen', address])
    ]
    const process = await this.#spawn([MAIN, 'up', '--json', '--name', this.name, ...flags], this.number)
    const { line, atMs } = await within(process.firstLine, READY_MS_MAX, `${this.name} is not ready`)
    const ready = JSON.parse(line) as Ready & { kind: string }
    if (ready.kind !== 'Ready') throw new Error(`${this.name} does not start: ${line}`)
    const client = new DaemonClient({ socketPath: ready.socket })
    const events = new EventRecorder(client)
    this.#boots.push(events)
    this.#running = { process, ready, readyAtMs: atMs, client, events }
  }

  /** Kills the daemon as a power cut would; resolves when it is gone. */
  async kill(): Promise<void> {
    const { process } = this
    this.#kills.push(Date.now())
    await process.signal('SIGKILL')
    await process.exited
  }

  /** When it was killed, wall clock. */
  get kills(): readonly number[] {
    return this.#kills
  }

  /** Starts a worker, by default one that serves TREE; resolves when the daemon has it. */
  async work(slots: number, program = TREE_WORKER): Promise<void> {
    this.#worker = await this.#spawn([program, String(slots), this.diary], undefined)
    await within(this.#worker.firstLine, READY_MS_MAX, `the worker of ${this.name} is not ready`)
  }

  get client(): DaemonClient {
    return this.#up().client
  }

  get ready(): Ready {
    return this.#up().ready
  }

  get peerId(): string {
    return this.#up().ready.peerId
  }

  get process(): SandboxProcess {
    return this.#up().process
  }

  get readyAtMs(): number {
    return this.#up().readyAtMs
  }

  get events(): EventRecorder {
    return this.#up().events
  }

  get worker(): SandboxProcess {
    if (this.#worker === undefined) throw new Error(`${this.name} has no worker`)
    return this.#worker
  }

  /** Address at which the others reach it, whatever other interfaces it listens on. */
  get address(): string {
    const address = this.ready.listen.find(listen => listen.startsWith('/ip4/10.'))
    if (address === undefined) throw new Error(`${this.name} listens on no address of the LAN`)
    return address
  }

  /** State of every other member by its name, as this daemon shows it. */
  async sees(): Promise<Record<string, Peer['state']>> {
    const peers = await this.client.peers()
    return Object.fromEntries(peers.filter(({ self }) => !self).map(({ name, state }) => [name, state]))
  }

  /** Bodies of a job that this host's worker has run. */
  bodies(jobId: string): BodyRun[] {
    return readDiary(this.diary, jobId)
  }

  /** When each announcement of a job was made here, over all boots of the daemon; times of the events themselves. */
  announcements(jobId: string): number[] {
    const events = this.#boots.flatMap(boot => boot.events)
    const ours = events.filter(({ type, subject }) => type === 'starling.job.announced' && subject === jobId)
    return ours.map(({ time }) => Date.parse(time))
  }

  closeClients(): void {
    this.#running?.events.stop()
    this.#running?.client.close()
  }

  #spawn(command: readonly string[], host: number | undefined): Promise<SandboxProcess> {
    const { PATH = '', HOME = '/' } = process.env
    const env = {
      PATH,
      HOME,
      STARLING_HOME: this.home,
      STARLING_LOG_LEVEL: process.env.STARLING_CLUSTER_LOG_LEVEL ?? 'info'
    }
    return this.#sandbox.spawn({
      host,
      command: [process.execPath, ...command],
      env,
      log: join(this.home, 'stderr.log')
    })
  }

  #up(): RunningDaemon {
    if (this.#running === undefined) throw new Error(`the daemon of ${this.name} was not started`)
    return this.#running
  }
}

async function within<T>(promise: Promise<T>, ms: number, complaint: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${complaint} after ${ms / 1_000} s`)), ms)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
