import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Job, Peer } from '../../src/sdk/index.ts'
import { LanHost, type UpOptions } from './lan-daemon.ts'
import { Sandbox } from './sandbox.ts'
import { TREE, type TreeInput } from './tree.ts'

/** Between looks at a condition: ten daemons that are asked this often cost little beside what they do. */
const POLL_MS = 100

/** Wait for all to see all at the start, on a slow and busy machine. */
const MESH_MS_MAX = 60_000

export interface LanInit {
  readonly hosts: number
  /** Slots of the worker of each host; 0: no workers. @default 2 */
  readonly slots?: number
}

/** Hosts on one virtual switch, each with a daemon and a worker, and what can befall them. */
export class Lan {
  readonly hosts: readonly LanHost[]
  readonly #sandbox: Sandbox
  readonly #directory: string
  readonly #slots: number

  private constructor(sandbox: Sandbox, directory: string, init: LanInit) {
    this.#sandbox = sandbox
    this.#directory = directory
    this.#slots = init.slots ?? 2
    this.hosts = Array.from({ length: init.hosts }, (_, index) => new LanHost(sandbox, index + 1, directory))
  }

  /** Makes the hosts; no daemon runs yet. @throws Error when this machine does not allow namespaces. */
  static async create(init: LanInit): Promise<Lan> {
    const sandbox = await Sandbox.start()
    // Socket paths are limited to 107 characters, so the name is short.
    const lan = new Lan(sandbox, mkdtempSync(join(tmpdir(), 'sl-')), init)
    try {
      await sandbox.verb('up', init.hosts)
      return lan
    } catch (error) {
      await lan.stop()
      throw error
    }
  }

  /** Hosts with daemons that have joined by the first one's token, and workers; all see all when it resolves. */
  static async meshed(init: LanInit): Promise<Lan> {
    const lan = await Lan.create(init)
    try {
      await lan.upAll()
      await lan.untilAllSeeAll()
      return lan
    } catch (error) {
      await lan.stop()
      throw error
    }
  }

  /** Starts the first daemon, then the others with its token, then the workers. */
  async upAll(options: (host: LanHost) => UpOptions = () => ({})): Promise<void> {
    const [first, ...others] = this.hosts
    if (first === undefined) return
    await first.up(options(first))
    const token = await this.token(others.length)
    await Promise.all(others.map(host => host.up({ join: token, ...options(host) })))
    if (this.#slots > 0) await Promise.all(this.hosts.map(host => host.work(this.#slots)))
  }

  /** A token of the first host's swarm. */
  async token(uses: number): Promise<string> {
    return (await this.host(1).client.createToken({ uses: Math.max(1, uses), ttlMs: 600_000 })).token
  }

  /** @throws Error when there is no such host. */
  host(number: number): LanHost {
    const host = this.hosts[number - 1]
    if (host === undefined) throw new Error(`there is no host ${number}`)
    return host
  }

  /** Resolves with the time that it took, in milliseconds. */
  async untilAllSeeAll(hosts: readonly LanHost[] = this.hosts, waitMs = MESH_MS_MAX): Promise<number> {
    const complete = hosts.length - 1
    return this.until(`all of ${hosts.map(({ name }) => name)} see each other`, waitMs, async () => {
      const views = await Promise.all(hosts.map(host => host.sees()))
      const names = new Set(hosts.map(({ name }) => name))
      const alive = (view: (typeof views)[number]) =>
        Object.entries(view).filter(([name, state]) => names.has(name) && state === 'alive').length
      return views.every(view => alive(view) === complete) || JSON.stringify(views)
    })
  }

  /** Resolves when each of `gone` is in one of `states` for all `hosts`. */
  async untilGone(
    gone: readonly LanHost[],
    hosts: readonly LanHost[],
    waitMs: number,
    states: readonly Peer['state'][] = ['suspect', 'dead']
  ): Promise<number> {
    return this.until(`${gone.map(({ name }) => name)} is ${states.join(' or ')} for all others`, waitMs, async () => {
      const views = await Promise.all(hosts.map(host => host.sees()))
      const noticed = views.every(view => gone.every(({ name }) => states.some(state => view[name] === state)))
      return noticed || JSON.stringify(views)
    })
  }

  /**
   * Waits for a condition, which gives true or what it sees instead. Resolves with the milliseconds waited.
   * @throws Error with the last sight when the time is over
   */
  async until(what: string, waitMs: number, look: () => Promise<true | string>): Promise<number> {
    const begun = performance.now()
    for (;;) {
      const seen = await look()
      const passed = performance.now() - begun
      if (seen === true) return passed
      if (passed > waitMs) throw new Error(`not in ${waitMs / 1_000} s: ${what}. Seen: ${seen}`)
      await new Promise(resolve => setTimeout(resolve, POLL_MS))
    }
  }

  /** Resolves when the job has so many bodies that have begun, on whatever hosts. */
  async untilBegun(jobId: string, bodies: number, waitMs: number): Promise<void> {
    await this.until(`${bodies} tasks have begun`, waitMs, async () => {
      const begun = this.hosts.reduce((sum, host) => sum + host.bodies(jobId).length, 0)
      return begun >= bodies || `${begun} have`
    })
  }

  /** Submits a tree at a host, its root task `on` another one or on any; the job's id. */
  async submit(at: LanHost, input: TreeInput, on?: LanHost): Promise<string> {
    return (await at.client.submit({ capability: TREE, input, on: on?.peerId })).id
  }

  /** The job with its tasks when it is over. @throws Error when it is not in `waitMs` */
  async over(at: LanHost, jobId: string, waitMs: number): Promise<Job> {
    const job = await at.client.waitForJob(jobId, { timeoutMs: waitMs })
    if (job.verdict === 'running') throw new Error(`job still runs after ${waitMs / 1_000} s: ${JSON.stringify(job)}`)
    return at.client.job(jobId, { items: true })
  }

  /** Pulls the cable: the host keeps its interface and addresses. */
  async cut(host: LanHost): Promise<void> {
    await this.#sandbox.verb('cut', host.number)
  }

  async join(host: LanHost): Promise<void> {
    await this.#sandbox.verb('join', host.number)
  }

  /** Takes the network card out. */
  async unplug(host: LanHost): Promise<void> {
    await this.#sandbox.verb('unplug', host.number)
  }

  /** Puts a new card with the old address in. */
  async plug(host: LanHost): Promise<void> {
    await this.#sandbox.verb('plug', host.number)
  }

  async partition(...groups: readonly (readonly LanHost[])[]): Promise<void> {
    await this.#sandbox.verb('partition', ...groups.map(group => group.map(({ number }) => number).join(' ')))
  }

  /** Undoes partitions, cuts, loss and silence; not the delay. */
  async heal(): Promise<void> {
    await this.#sandbox.verb('heal')
  }

  /** Drops multicast: mDNS does not work from here on. */
  async noMulticast(): Promise<void> {
    await this.#sandbox.verb('nomcast')
  }

  /** One-way delay and loss of every frame; 0 ends it. */
  async delay(ms: number, lossPercent = 0): Promise<void> {
    await this.#sandbox.verb('delay', ms, 0, lossPercent)
  }

  /** Ends all processes and removes the homes, unless STARLING_CLUSTER_KEEP is set. Idempotent. */
  async stop(): Promise<void> {
    for (const host of this.hosts) host.closeClients()
    await this.#sandbox.stop()
    if (process.env.STARLING_CLUSTER_KEEP === undefined) {
      rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 })
    }
  }
}

/** The host with that number first, then all others. */
export function pick(lan: Lan, number: number): [LanHost, ...LanHost[]] {
  return [lan.host(number), ...lan.hosts.filter(host => host.number !== number)]
}
