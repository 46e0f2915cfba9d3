import type { Frame } from '../core/index.ts'
import type { JournalWrite } from '../ports/index.ts'
import type { Job } from '../wire/api/index.ts'
import type { Body } from './bodies.ts'
import { Client, type ClientWatcher } from './client.ts'
import { endOf, type Fault, type FaultKind } from './faults.ts'
import { emptyTable, type FrameTable, isJobFrame } from './frame-coverage.ts'
import { type HostWatcher, SimHost } from './host.ts'
import { Fabric, type FrameWatcher, REDELIVERY_MAX_MS, type Station } from './network.ts'
import { Oracle, type Violation, WAKE_GRACE_MS } from './oracle.ts'
import { BODY_MAX_MS, type SchedulePlan } from './plan.ts'
import { SeededRandom } from './random.ts'
import { TaskTree } from './task-tree.ts'
import { Trace } from './trace.ts'
import { VirtualTime } from './virtual-time.ts'

/**
 * A job that is not over hangs when so long after the last fault, and after the last body that began or ended, nothing
 * has happened: longer than leases, fences, waits before another attempt and the longest body together.
 */
export const SETTLE_DOWN_MS = 60_000

/** More events than any schedule has: something goes on and on without any time. */
const EVENTS_MAX = 100_000

/** And in any case after so long: something begins again and again. */
const ENDLESS_MS = 900_000

/**
 * After the last announcement the world goes on for so long; in every AFTERMATH_LONG_EVERY-th schedule past the last late
 * frame and all that it may bring about, so that nothing may be left then.
 */
const AFTERMATH_MS = 1_500
const AFTERMATH_LONG_MS = REDELIVERY_MAX_MS + 10_000
const AFTERMATH_LONG_EVERY = 16

/** Work of a root that never comes back is over this long after its end, by far. */
const ABANDONED_MS = 12_000

/** Turns of the microtask queue after an event that has settled promises: the longest chain in the engine is shorter. */
const MICROTASK_TURNS = 10

export interface ScheduleResult {
  readonly seed: number
  readonly digest: string
  readonly violations: readonly Violation[]
  /** Faults that took effect, by kind. */
  readonly faults: Readonly<Partial<Record<FaultKind | 'root crash', number>>>
  readonly verdicts: Readonly<Record<string, number>>
  readonly frames: FrameTable
  readonly events: number
  /** Simulated. */
  readonly endedAtMs: number
  /** Bodies that were started, and hand-offs that left. */
  readonly bodies: number
}

/** One schedule: five hosts (by default), some jobs, many faults, in one deterministic world. */
export class Simulation implements HostWatcher, ClientWatcher, FrameWatcher {
  readonly time = new VirtualTime()
  readonly trace = new Trace()
  readonly hosts: readonly SimHost[]
  readonly clients: readonly Client[]
  readonly oracle: Oracle
  readonly #plan: SchedulePlan
  readonly #fabric: Fabric
  readonly #frames = emptyTable()
  readonly #faults: Partial<Record<FaultKind | 'root crash', number>> = {}
  readonly #checked: number
  #steps = 0
  #settles = false
  #lastFaultAt = 0
  /** When a body last began or ended. */
  #progressAt = 0
  #bodies = 0

  constructor(plan: SchedulePlan, options: { readonly checkEvery?: number } = {}) {
    this.#plan = plan
    this.#checked = options.checkEvery ?? 1
    const { seed, jobs } = plan
    const trees = jobs.map(({ tree }, index) => new TaskTree(seed, index, tree))
    const treeOf = (input: unknown) => {
      const tree = trees[jobIndexOf(input)]
      if (tree === undefined) throw new RangeError('no such job')
      return tree
    }
    const bodyMs = (input: unknown) => jobs[jobIndexOf(input)]?.bodyMs ?? 0
    this.hosts = plan.hosts.map(
      (_, index) =>
        new SimHost({ index, plan, time: this.time, fabric: () => this.#fabric, watcher: this, treeOf, bodyMs })
    )
    const { time, hosts } = this
    this.#fabric = new Fabric({ time, plan: plan.network, seed, stations: hosts, table: this.#frames, watcher: this })
    this.clients = jobs.map((job, index) => {
      const host = this.#host(job.host)
      return new Client({ index, plan: job, host, tree: treeOf({ job: index }), watcher: this })
    })
    this.oracle = new Oracle({ time, hosts, clientOf: job => this.clients[job] })
  }

  /** Runs it to its end, or to the first violation. Once. */
  async run(): Promise<ScheduleResult> {
    try {
      await this.#play()
    } catch (error) {
      this.oracle.violate('defect', error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    return {
      seed: this.#plan.seed,
      digest: this.trace.digest(),
      violations: this.oracle.violations,
      faults: this.#faults,
      verdicts: this.#verdicts(),
      frames: this.#frames,
      events: this.time.scheduled,
      endedAtMs: this.time.now,
      bodies: this.#bodies
    }
  }

  async #play(): Promise<void> {
    const { time, oracle } = this
    const starts = new SeededRandom(this.#plan.seed, 'starts')
    for (const host of this.hosts) time.after(starts.next() * 10, () => host.boot())
    for (const client of this.clients) time.after(client.plan.at, () => client.start())
    for (const fault of this.#plan.faults) time.after(fault.at, () => this.#inject(fault))
    await this.#until(() => this.#over())
    const unfinished = this.clients.filter(client => client.outcome === undefined && !client.host.isGone)
    if (oracle.violations.length === 0) {
      for (const { index, id, host } of unfinished) {
        oracle.violate('hang', `job ${index} (${id ?? 'not submitted'}) at host ${host.index} is never announced`)
      }
    }
    await this.#aftermath()
  }

  // Told by the hosts

  booted(host: SimHost): void {
    this.trace.event(this.time.now, 'boot', host.index, host.daemon?.boot.nonce ?? '')
    for (const client of this.clients) if (client.host === host) client.connect()
  }

  stepped(host: SimHost): void {
    this.#steps += 1
    if (this.#steps % this.#checked === 0) this.oracle.check(host)
    // Its promises are its own: `stop` is a chain of them.
    if (host.stopping || this.#plan.awaiting) this.#settles = true
  }

  asked(host: SimHost, writes: readonly JournalWrite[]): void {
    for (const write of writes) {
      if (write.kind === 'record') this.trace.event(this.time.now, 'record', host.index, write.record.kind)
      else if (write.kind === 'finish') this.trace.event(this.time.now, 'finish', host.index, write.summary.verdict)
    }
    this.#settles = true
    this.oracle.asked(host, writes)
  }

  written(_host: SimHost, writes: readonly JournalWrite[]): void {
    this.#settles = true
    this.oracle.written(writes)
  }

  began(body: Body): void {
    this.#bodies += 1
    this.#progressAt = this.time.now
    this.trace.event(this.time.now, 'begin', body.host, body.path)
    this.oracle.began(body)
  }

  gone(body: Body): void {
    this.#progressAt = this.time.now
    this.trace.event(this.time.now, 'gone', body.host, body.path)
    this.oracle.gone(body)
  }

  // Told by the clients

  called(): void {
    this.#settles = true
  }

  acknowledged(client: Client, id: string): void {
    this.trace.event(this.time.now, 'submitted', client.host.index, id)
    this.oracle.acknowledged(client, id)
  }

  told(client: Client, job: Job): void {
    this.trace.event(this.time.now, 'told', client.host.index, job.verdict)
    this.oracle.told(client, job)
  }

  odd(of: SimHost | string, what = ''): void {
    const text = typeof of === 'string' ? of : `host ${of.index}: ${what}`
    this.oracle.violate(text.startsWith('lost') ? 'lost-submission' : 'defect', text)
  }

  // Told by the network

  sent(from: Station, to: Station, frame: Frame): void {
    const host = this.hosts[from.index]
    if (host !== undefined) this.oracle.sent(host, to.peer, frame)
  }

  delivered(from: Station, to: Station, frame: Frame): void {
    if (isJobFrame(frame)) {
      const detail = 'obligation' in frame ? frame.obligation : ''
      this.trace.event(this.time.now, frame.kind, to.index, `${from.index} ${detail}`)
    }
    const host = this.hosts[to.index]
    if (host !== undefined) this.oracle.delivered(host, frame)
  }

  #over(): boolean {
    return this.clients.every(({ outcome, host }) => outcome !== undefined || host.isGone)
  }

  async #until(over: () => boolean): Promise<void> {
    const { time, oracle } = this
    const lastAt = this.#plan.faults.at(-1)?.at ?? 0
    const deadline = () =>
      Math.min(ENDLESS_MS, Math.max(this.#lastFaultAt, lastAt, this.#progressAt) + SETTLE_DOWN_MS + BODY_MAX_MS)
    while (!over() && oracle.violations.length === 0 && time.step(deadline())) {
      if (this.#settles) await this.#settle()
      if (time.scheduled > EVENTS_MAX) oracle.violate('hang', `${EVENTS_MAX} events, and no end`)
    }
  }

  async #aftermath(): Promise<void> {
    const { time, oracle } = this
    const { seed } = this.#plan
    const abandoned = this.clients.some(({ outcome }) => outcome === undefined)
    const long = seed % AFTERMATH_LONG_EVERY === 0
    const quiet = long ? AFTERMATH_LONG_MS : AFTERMATH_MS
    // Faults that are under way end first: who is away keeps its bodies until then.
    const end = Math.max(time.now, this.#lastFaultAt) + (abandoned ? ABANDONED_MS : quiet)
    while (oracle.violations.length === 0 && time.step(end)) if (this.#settles) await this.#settle()
    if (oracle.violations.length > 0) return
    oracle.leftBodies()
    for (const host of this.hosts) if (long && host.answers && !host.stopping && !abandoned) oracle.atRest(host)
  }

  async #settle(): Promise<void> {
    this.#settles = false
    for (let turn = 0; turn < MICROTASK_TURNS; turn += 1) await undefined
  }

  #inject(fault: Fault): void {
    if (!this.#apply(fault)) return
    this.trace.event(this.time.now, fault.kind, 'host' in fault ? fault.host : -1, '')
    this.#lastFaultAt = Math.max(this.#lastFaultAt, endOf(fault))
    this.#faults[fault.kind] = (this.#faults[fault.kind] ?? 0) + 1
    const roots = this.clients.filter(({ waits }) => waits).map(({ host }) => host.index)
    if (fault.kind === 'crash' && roots.includes(fault.host)) {
      this.#faults['root crash'] = (this.#faults['root crash'] ?? 0) + 1
    }
  }

  #apply(fault: Fault): boolean {
    switch (fault.kind) {
      case 'crash':
        return this.#host(fault.host).crash(fault)
      case 'pause':
        return this.#host(fault.host).pause(fault.forMs, fault.timersFirst)
      case 'suspend':
        return this.#suspend(fault.host, fault.forMs)
      case 'partition': {
        const others = this.hosts.filter(({ index }) => !fault.side.includes(index))
        const pairs = fault.side.flatMap(index => others.map(other => [this.#host(index), other] as const))
        return this.#cut(pairs, fault)
      }
      case 'cut':
        return this.#cut([[this.#host(fault.a), this.#host(fault.b)]], fault)
      case 'reset':
        return this.#fabric.reset(this.#host(fault.a), this.#host(fault.b))
      case 'slow-disk': {
        const { disk } = this.#host(fault.host)
        disk.commitMs = fault.commitMs
        this.time.after(fault.forMs, () => {
          disk.commitMs = this.#plan.commitMs
        })
        return true
      }
      case 'disk-full': {
        const host = this.#host(fault.host)
        host.disk.full = host.daemon !== undefined
        return host.disk.full
      }
      case 'stop':
        return this.#host(fault.host).stop(fault.now, fault.downMs)
      case 'drain': {
        const host = this.#host(fault.host)
        this.time.after(fault.forMs, () => host.drain({ end: true }))
        return host.drain({ deadlineMs: fault.deadlineMs })
      }
      case 'replay':
        return this.#fabric.replay(fault)
      case 'cancel':
        return this.clients[fault.job]?.cancel() ?? false
    }
  }

  #suspend(index: number, forMs: number): boolean {
    const host = this.#host(index)
    if (!host.suspend(forMs)) return false
    this.time.after(forMs + WAKE_GRACE_MS, () => {
      if (!host.asleep && !host.wokeWithin(WAKE_GRACE_MS)) this.oracle.stillExecuting(host)
    })
    return true
  }

  #cut(pairs: (readonly [SimHost, SimHost])[], how: { forMs: number; oneWay: boolean; reset: boolean }): boolean {
    const turn = (change: 1 | -1) => {
      for (const [from, to] of pairs) {
        this.#fabric.block(from, to, change)
        if (!how.oneWay) this.#fabric.block(to, from, change)
      }
    }
    if (how.reset) for (const [a, b] of pairs) this.#fabric.reset(a, b)
    turn(1)
    this.time.after(how.forMs, () => turn(-1))
    return true
  }

  #verdicts(): Record<string, number> {
    const verdicts: Record<string, number> = {}
    for (const { outcome } of this.clients) {
      const verdict = outcome?.verdict ?? 'none'
      verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
    }
    return verdicts
  }

  #host(index: number): SimHost {
    const host = this.hosts[index]
    if (host === undefined) throw new RangeError(`no host ${index}`)
    return host
  }
}

function jobIndexOf(input: unknown): number {
  return typeof input === 'object' && input !== null && 'job' in input ? Number(input.job) : -1
}
