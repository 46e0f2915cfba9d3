import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, DaemonClient, type Mesh, type Ready } from '../../dist/sdk/index.js'

const PROGRAM = join(import.meta.dirname, '../../dist/cli/main.js')
const WORKER = join(import.meta.dirname, 'worker.ts')

export interface Member {
  readonly ready: Ready
  readonly client: DaemonClient
  readonly child: ChildProcess
  /** From the start of the process to its Ready line, in milliseconds. */
  readonly startMs: number
}

/** Daemons on loopback, without mDNS, joined by a token; each a process of its own. */
export class BenchPool {
  readonly members: Member[] = []
  readonly #home = mkdtempSync(join(tmpdir(), 'starling-bench-'))
  readonly #children: ChildProcess[] = []
  readonly #meshes: Mesh[] = []

  async start(count: number): Promise<void> {
    const founder = await this.#daemon('d0', [])
    if (count === 1) return
    const { token } = await founder.client.createToken({ uses: count, ttlMs: 60_000 })
    await Promise.all(Array.from({ length: count - 1 }, (_, index) => this.#daemon(`d${index + 1}`, ['--join', token])))
    await until(async () => {
      const views = await Promise.all(this.members.map(({ client }) => client.peers()))
      return views.every(peers => peers.filter(({ state }) => state === 'alive').length === count)
    })
  }

  /** A worker process at each daemon from `from` on, serving the capabilities of `worker.ts`. */
  async workers(from: number, slots: number): Promise<void> {
    await Promise.all(
      this.members.slice(from).map(async ({ ready }) => {
        const child = spawn(process.execPath, [WORKER, ready.socket, String(slots)], {
          stdio: ['ignore', 'pipe', 'inherit']
        })
        this.#children.push(child)
        await new Promise(resolve => child.stdout?.once('data', resolve))
      })
    )
    const [first] = this.members
    await until(async () => {
      const peers = (await first?.client.peers()) ?? []
      return peers.filter(({ capabilities }) => capabilities.length > 0).length === this.members.length - from
    })
  }

  async mesh(index: number): Promise<Mesh> {
    const mesh = await connect({ socket: this.members[index]?.ready.socket })
    this.#meshes.push(mesh)
    return mesh
  }

  /** Resident and private memory of a daemon, in bytes, as the kernel says. */
  memory(index: number): { rssBytes: number } {
    const pid = this.members[index]?.child.pid
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return { rssBytes: Number(kilobytes) * 1024 }
  }

  /** CPU time that a daemon has used, in milliseconds. */
  cpuMs(index: number): number {
    const fields = readFileSync(`/proc/${this.members[index]?.child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  }

  async stop(): Promise<void> {
    for (const mesh of this.#meshes) await mesh.close()
    for (const { client } of this.members) client.close()
    await Promise.all(this.#children.map(kill))
    rmSync(this.#home, { recursive: true, force: true })
  }

  async #daemon(name: string, flags: string[]): Promise<Member> {
    const began = performance.now()
    const env = { ...process.env, STARLING_HOME: join(this.#home, name), STARLING_LOG_LEVEL: 'error' }
    const argv = [PROGRAM, 'up', '--json', '--name', name, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', ...flags]
    const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    this.#children.push(child)
    const ready = await new Promise<Ready>((resolve, reject) => {
      child.once('exit', code => reject(new Error(`${name} ended with ${code}`)))
      child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(line.toString()) as Ready))
    })
    const startMs = performance.now() - began
    const member = { ready, client: new DaemonClient({ socketPath: ready.socket }), child, startMs }
    this.members.push(member)
    return member
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** Asks again every 20 ms, a minute long. */
export async function until(reached: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000
  while (!(await reached())) {
    if (performance.now() > end) throw new Error('the pool did not get ready within a minute')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
