import type { Frame, TaskError } from '../../src/core/frames.ts'
import type { JobId, ObligationId, PeerId } from '../../src/core/ids.ts'
import { MeshNode, type NodeEffect, TICK_INTERVAL_MS } from '../../src/core/node/index.ts'
import {
  judge,
  type LedgerRecord,
  type LedgerState,
  type SubmittedRecord,
  type Verdict
} from '../../src/core/termination/index.ts'
import { decodeFrame, decodeRecord, encodeFrame, encodeRecord, FRAME_HEADER_BYTES } from '../../src/wire/frame-codec.ts'
import { VirtualTime } from './virtual-time.ts'

export { seeded } from './virtual-time.ts'

/** A body under test: what it spawns, evenly over its time, how long it runs, how it ends. */
export interface Body {
  readonly durationMs: number
  readonly children: readonly { capability: string; input: unknown }[]
  readonly fails?: boolean
  /** After its own time it waits, blocked, for its children. */
  readonly waits?: boolean
  /** Error that it ends with as soon as all children have been spawned and `durationMs` are over. */
  readonly error?: TaskError
}

export interface ClusterOptions {
  readonly hosts: number
  readonly slots: number | ((host: number) => number)
  readonly capability?: string
  readonly random: () => number
  readonly body: (input: unknown, path: string) => Body
  /** One-way latency of a frame, in milliseconds. Frames of one link stay in order, as on a stream. */
  readonly latencyMs?: () => number
  /** Chance that a delivered frame comes once more, up to 20 s later, whatever has happened to its link meanwhile. */
  readonly redelivery?: number
  /** A killed body is gone after this. @default 1 */
  readonly reapMs?: () => number
}

export interface Announcement {
  readonly job: JobId
  readonly at: number
  readonly state: LedgerState
  readonly detectionMs: number | undefined
  readonly verdict: Verdict
  readonly records: readonly {
    path: string
    outcome: string
    peer: PeerId
    attempt: number
    error?: TaskError | undefined
  }[]
}

export interface ClusterHost {
  readonly peer: PeerId
  node: MeshNode
  incarnation: number
  alive: boolean
  readonly journal: { job: JobId; record: LedgerRecord }[]
  readonly submitted: SubmittedRecord[]
  /** Effects other than frames, in order; for tests that look at them. */
  readonly effects: NodeEffect[]
}

interface Execution {
  readonly path: string
  readonly job: JobId
  readonly children: { spawned: number; settled: number }
  readonly finish: () => void
}

/** What can be watched of a cluster as it happens, for transcripts and statistics. */
export interface Watcher {
  frame?(from: PeerId, to: PeerId, frame: Frame, bytes: number): void
  effect?(peer: PeerId, effect: NodeEffect): void
  bodyEnded?(peer: PeerId, path: string, how: string): void
}

/** A re-delivered frame comes up to this late: past several leases. */
export const REDELIVERY_MS = 20_000
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZ'
const text = new TextEncoder()
const linkOf = (from: PeerId, to: PeerId) => `${from} ${to}`

/** Several MeshNodes on a virtual clock, linked by a virtual network that sees everything; frames pass through the codec. */
export class NodeCluster {
  readonly time = new VirtualTime()
  readonly hosts: ClusterHost[] = []
  readonly announcements: Announcement[] = []
  /** Bodies that execute now: `peer job obligation`. */
  readonly executing = new Map<string, Execution>()
  readonly executions: { job: JobId; path: string; peer: PeerId; attempt: number; at: number }[] = []
  readonly violations: string[] = []
  readonly frames = new Map<string, number>()
  watcher: Watcher = {}
  readonly #options: ClusterOptions
  readonly #cut = new Set<string>()
  readonly #linkReady = new Map<string, number>()
  readonly #linkEpoch = new Map<string, number>()

  constructor(options: ClusterOptions) {
    this.#options = options
    for (let index = 0; index < options.hosts; index += 1) {
      const letters = [index % ALPHABET.length, Math.floor(index / ALPHABET.length)].map(at => ALPHABET[at] ?? 'Z')
      const peer = `12D3Host${letters.join('')}`
      const node = this.#makeNode(peer, 1)
      this.hosts.push({ peer, node, incarnation: 1, alive: true, journal: [], submitted: [], effects: [] })
    }
    for (const host of this.hosts) this.#boot(host)
    for (const a of this.hosts) for (const b of this.hosts) if (a !== b) this.#up(a, b)
  }

  get now(): number {
    return this.time.now
  }

  host(index: number): ClusterHost {
    const host = this.hosts[index]
    if (host === undefined) throw new RangeError(`no host ${index}`)
    return host
  }

  submit(index: number, job: JobId, input: unknown, on?: PeerId): void {
    const capability = this.#options.capability ?? 'work'
    const bytes = text.encode(JSON.stringify(input))
    const submitted = { kind: 'submitted', job, capability, input: bytes, on, traceparent: '', submittedAt: 0 } as const
    this.host(index).submitted.push(submitted)
    this.input(index, node => node.adopt(submitted, [], this.now, this.now))
  }

  cancel(index: number, job: JobId): void {
    this.input(index, node => node.cancel(job, this.now))
  }

  /** Calls an input of a node and carries out what follows. */
  input<T>(index: number, act: (node: MeshNode) => T): T {
    const host = this.host(index)
    const result = act(host.node)
    this.#settle(host)
    return result
  }

  /** kill -9: everything that is not in the journal is gone. */
  kill(index: number): void {
    const host = this.host(index)
    host.alive = false
    for (const key of [...this.executing.keys()]) if (key.startsWith(`${host.peer} `)) this.executing.delete(key)
    for (const other of this.hosts) if (other !== host) this.#down(other, host)
  }

  restart(index: number): void {
    const host = this.host(index)
    host.incarnation += 1
    host.node = this.#makeNode(host.peer, host.incarnation)
    host.alive = true
    const finished = new Set(this.announcements.map(({ job }) => job))
    for (const submitted of host.submitted) {
      if (finished.has(submitted.job)) continue
      const history = host.journal.filter(({ job }) => job === submitted.job).map(({ record }) => record)
      host.node.adopt(submitted, history, this.now, this.now)
    }
    this.#boot(host)
    for (const other of this.hosts) {
      if (other === host || !other.alive) continue
      this.#up(host, other)
      this.#up(other, host)
    }
  }

  cut(a: number, b: number): void {
    const [x, y] = [this.host(a), this.host(b)]
    this.#cut.add(linkOf(x.peer, y.peer)).add(linkOf(y.peer, x.peer))
    this.#down(x, y)
    this.#down(y, x)
  }

  heal(a: number, b: number): void {
    const [x, y] = [this.host(a), this.host(b)]
    const wasCut = this.#cut.delete(linkOf(x.peer, y.peer))
    this.#cut.delete(linkOf(y.peer, x.peer))
    if (!wasCut || !x.alive || !y.alive) return
    this.#up(x, y)
    this.#up(y, x)
  }

  /** Runs until `done`, or until `forMs` have passed in virtual time. True when `done`. */
  run(done: () => boolean, forMs: number): boolean {
    return this.time.run(done, forMs)
  }

  /** Delivers a frame from outside of the simulation, as if `from` had sent it. */
  inject(from: PeerId, to: number, frame: Frame): void {
    this.input(to, node => node.frame(from, frame, this.now))
  }

  #makeNode(peer: PeerId, incarnation: number): MeshNode {
    const nonce = incarnation.toString(16).padStart(16, '0')
    const { random } = this.#options
    return new MeshNode({ self: peer, boot: { incarnation, nonce }, name: peer, version: '0', encodeRecord, random })
  }

  #boot(host: ClusterHost): void {
    const { slots, capability } = this.#options
    const count = typeof slots === 'number' ? slots : slots(this.hosts.indexOf(host))
    host.node.offer(capability ?? 'work', count, this.now)
    this.#settle(host)
    this.#tick(host, host.node)
  }

  #tick(host: ClusterHost, node: MeshNode): void {
    if (!host.alive || host.node !== node) return
    node.tick(this.now, this.now)
    this.#settle(host)
    this.time.later(TICK_INTERVAL_MS, () => this.#tick(host, node))
  }

  #up(a: ClusterHost, b: ClusterHost): void {
    if (this.#cut.has(linkOf(a.peer, b.peer))) return
    a.node.linkUp(b.peer, this.now)
    this.#settle(a)
  }

  #down(a: ClusterHost, b: ClusterHost): void {
    for (const link of [linkOf(a.peer, b.peer), linkOf(b.peer, a.peer)]) {
      this.#linkEpoch.set(link, (this.#linkEpoch.get(link) ?? 0) + 1)
    }
    if (!a.alive) return
    a.node.linkDown(b.peer, this.now)
    this.#settle(a)
  }

  #settle(host: ClusterHost): void {
    const { records, effects } = host.node.takeOutput(this.now)
    host.journal.push(...records)
    for (const effect of effects) this.#effect(host, effect)
    for (const participant of host.node.host.participants()) {
      for (const broken of participant.peek()?.checkInvariants() ?? []) this.violations.push(`${host.peer}: ${broken}`)
    }
  }

  #effect(host: ClusterHost, effect: NodeEffect): void {
    this.watcher.effect?.(host.peer, effect)
    if (effect.kind !== 'send' && effect.kind !== 'publish') host.effects.push(effect)
    switch (effect.kind) {
      case 'send':
        return this.#transmit(host, effect.to, effect.frame)
      case 'publish':
        for (const other of this.hosts) {
          if (other === host || this.#cut.has(linkOf(host.peer, other.peer))) continue
          this.time.later(this.#latency(), () => {
            if (other.alive) other.node.gossip(host.peer, effect.advertisement, this.now)
            if (other.alive) this.#settle(other)
          })
        }
        return
      case 'start':
        return this.#start(host, effect)
      case 'kill':
        return this.#kill(host, effect.job, effect.obligation)
      case 'child-settled':
        return this.#childSettled(host, effect.job, effect.parent)
      case 'announce':
        return this.#announced(effect)
      default:
        return
    }
  }

  #latency(): number {
    return this.#options.latencyMs?.() ?? 1
  }

  #transmit(from: ClusterHost, to: PeerId, frame: Frame): void {
    this.frames.set(frame.kind, (this.frames.get(frame.kind) ?? 0) + 1)
    const target = this.hosts.find(({ peer }) => peer === to)
    const link = linkOf(from.peer, to)
    if (target === undefined || this.#cut.has(link)) return
    const epoch = this.#linkEpoch.get(link) ?? 0
    const at = Math.max(this.now + this.#latency(), this.#linkReady.get(link) ?? 0)
    this.#linkReady.set(link, at)
    const bytes = encodeFrame(frame)
    const deliver = () => {
      const decoded = decodeFrame(bytes[3] ?? 0, bytes.subarray(FRAME_HEADER_BYTES))
      if (decoded === undefined || !target.alive) return
      this.watcher.frame?.(from.peer, to, decoded, bytes.length)
      target.node.frame(from.peer, decoded, this.now)
      this.#settle(target)
    }
    this.time.later(at - this.now, () => {
      if ((this.#linkEpoch.get(link) ?? 0) !== epoch) return
      deliver()
      const { redelivery, random } = this.#options
      if (redelivery !== undefined && random() < redelivery) this.time.later(random() ** 3 * REDELIVERY_MS, deliver)
    })
  }

  #start(host: ClusterHost, effect: NodeEffect & { kind: 'start' }): void {
    const { job, obligation, task, attempts } = effect
    const attempt = attempts.at(-1) ?? 1
    const node = host.node
    const key = `${host.peer} ${job} ${obligation}`
    if (this.announcements.some(a => a.job === job)) this.violations.push(`${task.path} started after the announcement`)
    const body = this.#options.body(JSON.parse(new TextDecoder().decode(task.input)), task.path)
    const live = () => host.alive && host.node === node && this.executing.has(key)
    const children = { spawned: 0, settled: 0 }
    const finish = () => {
      if (!live()) return
      this.executing.delete(key)
      const error = body.error ?? (body.fails ? { code: 'TASK_FAILED', message: 'as told' } : undefined)
      const result = text.encode(JSON.stringify(task.path))
      const end = error
        ? ({ kind: 'failed', error } as const)
        : ({ kind: 'completed', result, digest: '', recorded: result } as const)
      this.watcher.bodyEnded?.(host.peer, task.path, end.kind)
      node.bodyEnded(job, obligation, end, this.now)
      this.#settle(host)
    }
    this.executing.set(key, { path: task.path, job, children, finish })
    this.executions.push({ job, path: task.path, peer: host.peer, attempt, at: this.now })
    for (const [index, child] of body.children.entries()) {
      this.time.later((body.durationMs * index) / body.children.length, () => {
        if (!live()) return
        const input = text.encode(JSON.stringify(child.input))
        const spawned = node.spawn(job, obligation, { capability: child.capability, input, traceparent: '' }, this.now)
        if ('path' in spawned) children.spawned += 1
        this.#settle(host)
      })
    }
    this.time.later(body.durationMs, () => {
      if (!body.waits || children.settled >= children.spawned) return finish()
      if (!live()) return
      node.blocked(job, obligation, true)
      this.#settle(host)
    })
  }

  #childSettled(host: ClusterHost, job: JobId, parent: ObligationId): void {
    const execution = this.executing.get(`${host.peer} ${job} ${parent}`)
    if (execution === undefined) return
    execution.children.settled += 1
    if (execution.children.settled < execution.children.spawned) return
    this.time.later(0, () => {
      host.node.blocked(job, parent, false)
      execution.finish()
    })
  }

  #kill(host: ClusterHost, job: JobId, obligation: ObligationId): void {
    const key = `${host.peer} ${job} ${obligation}`
    const node = host.node
    this.time.later(this.#options.reapMs?.() ?? 1, () => {
      const execution = this.executing.get(key)
      if (!host.alive || host.node !== node || execution === undefined) return
      this.executing.delete(key)
      this.watcher.bodyEnded?.(host.peer, execution.path, 'killed')
      node.bodyEnded(job, obligation, { kind: 'killed' }, this.now)
      this.#settle(host)
    })
  }

  #announced({ job, state }: NodeEffect & { kind: 'announce' }): void {
    const left = [...this.executing.values()].filter(e => e.job === job)
    if (left.length > 0) this.violations.push(`announced while ${left.map(e => e.path)} execute`)
    if (this.announcements.some(a => a.job === job)) this.violations.push(`${job} announced twice`)
    const records = state.records.map(decodeRecord)
    const { verdict } = judge(records, state.cancelRequested)
    const detectionMs = state.lastEndedAt === undefined ? undefined : this.now - state.lastEndedAt
    this.announcements.push({ job, at: this.now, state, detectionMs, verdict, records })
  }
}
