import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'
import type { NetworkCounters } from '../../src/libp2p/index.ts'
import { createSwarm, createToken, peerIdFromSeed } from '../../src/libp2p/index.ts'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain } from '../../src/libp2p/swarm.ts'
import type { Discovery } from '../../src/ports/network.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import type { HostSettings } from './lan-host.ts'

const MESH = fileURLToPath(new URL('netns-mesh.sh', import.meta.url))
const HOST = fileURLToPath(new URL('lan-host.ts', import.meta.url))

/** Runs a verb of netns-mesh.sh. */
export function mesh(...args: (string | number)[]): void {
  execFileSync(MESH, args.map(String), { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** A swarm of which hosts are made. */
export class TestSwarm {
  readonly #identity = identityOf(randomBytes(32))
  readonly #store = new MemoryMembershipStore()

  constructor() {
    createSwarm(this.#identity, this.#store)
  }

  /** Settings of a new member. */
  member(): HostSettings {
    const seed = randomBytes(32)
    const swarm = this.#swarm()
    const chain = issueChain(this.#identity, swarm, {
      subject: publicKeyFromSeed(seed),
      role: 'worker',
      wallMs: Date.now()
    })
    return settings(seed, { publicKey: swarm.publicKey, seed: undefined, chain })
  }

  /** Settings of the first member, and of a newcomer with a token of it that names no address. */
  issuerAndNewcomer(): [HostSettings, HostSettings] {
    const swarm = this.#swarm()
    const { token, issued } = createToken(this.#identity, this.#store, {
      role: 'worker',
      uses: 1,
      ttlMs: 600_000,
      addresses: []
    })
    const issuer = settings(this.#identity.seed, { ...swarm })
    const { swarm: _none, ...newcomer } = settings(randomBytes(32), swarm)
    const secret = Buffer.from(issued.secret).toString('hex')
    return [
      { ...issuer, issued: { id: issued.id, secret } },
      { ...newcomer, token }
    ]
  }

  #swarm() {
    const swarm = this.#store.swarm()
    if (swarm === undefined) throw new Error('no swarm')
    return swarm
  }
}

function identityOf(seed: Uint8Array) {
  return { seed, peer: peerIdFromSeed(seed), boot: { incarnation: 1, nonce: randomBytes(8).toString('hex') } }
}

function settings(
  seed: Uint8Array,
  swarm: { publicKey: Uint8Array; seed: Uint8Array | undefined; chain: readonly Uint8Array[] }
): HostSettings {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  return {
    seed: hex(seed),
    nonce: randomBytes(8).toString('hex'),
    swarm: {
      publicKey: hex(swarm.publicKey),
      seed: swarm.seed === undefined ? undefined : hex(swarm.seed),
      chain: swarm.chain.map(hex)
    },
    // The same port everywhere: who dials another host's loopback reaches itself.
    listen: ['/ip4/0.0.0.0/tcp/4001'],
    members: []
  }
}

interface Line {
  readonly event: string
  readonly peer?: string
  readonly discovery?: Discovery
  readonly counters?: NetworkCounters
}

/** The adapter in a process on host K. */
export class Host {
  readonly peer: string
  readonly settings: HostSettings
  readonly lines: Line[] = []
  readonly #process: ChildProcess

  constructor(k: number, given: HostSettings) {
    this.settings = given
    this.peer = peerIdFromSeed(Buffer.from(given.seed, 'hex'))
    this.#process = spawn(
      MESH,
      ['exec', String(k), process.execPath, '--no-warnings', '--experimental-transform-types', HOST],
      { stdio: ['pipe', 'pipe', 'inherit'] }
    )
    const { stdout } = this.#process
    if (stdout === null) throw new Error('no stdout')
    createInterface({ input: stdout }).on('line', line => this.lines.push(JSON.parse(line)))
    this.command(JSON.stringify(given))
  }

  command(line: string): void {
    this.#process.stdin?.write(`${line}\n`)
  }

  linked(other: Host): boolean {
    return this.count('up', other) > this.count('down', other)
  }

  count(event: string, other?: Host): number {
    return this.lines.filter(line => line.event === event && (other === undefined || line.peer === other.peer)).length
  }

  async state(): Promise<{ discovery: Discovery; counters: NetworkCounters }> {
    const before = this.count('state')
    this.command('state')
    await until(() => this.count('state') > before, 'the state')
    const last = this.lines.filter(({ event }) => event === 'state').at(-1)
    if (last?.discovery === undefined || last.counters === undefined) throw new Error('no state')
    return { discovery: last.discovery, counters: last.counters }
  }

  /** Waits until mDNS has this state. */
  async mdns(state: Discovery['mdns']['state'], timeoutMs = 30_000): Promise<Discovery['mdns']> {
    return vi.waitFor(
      async () => {
        const { mdns } = (await this.state()).discovery
        if (mdns.state !== state) throw new Error(`mDNS is ${mdns.state}: ${mdns.detail}`)
        return mdns
      },
      { timeout: timeoutMs, interval: 200 }
    )
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = new Promise(resolve => this.#process.once('exit', resolve))
    this.command('stop')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
  }
}

export function linked(...hosts: Host[]): boolean {
  return hosts.every(a => hosts.every(b => a === b || a.linked(b)))
}

export function until(condition: () => boolean, what: string, timeoutMs = 30_000): Promise<void> {
  return vi.waitFor(
    () => {
      if (!condition()) throw new Error(`not yet: ${what}`)
    },
    { timeout: timeoutMs, interval: 10 }
  )
}
