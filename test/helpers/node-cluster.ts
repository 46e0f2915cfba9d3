import type { Frame, Outcome } from '../../src/core/frames.ts'
import type { JobId, ObligationId, PeerId } from '../../src/core/ids.ts'
import { MeshNode, type NodeEffect, TICK_INTERVAL_MS } from '../../src/core/node/index.ts'
import type { LedgerRecord, LedgerState, SubmittedRecord } from '../../src/core/termination/index.ts'
import { decodeFrame, decodeRecord, encodeFrame, encodeRecord } from '../../src/wire/frame-codec.ts'

/** A body under test: what it spawns, how long it runs, how it ends. */
export interface Body {
  readonly durationMs: number
  readonly children: readonly { capability: string; input: unknown }[]
  readonly fails?: boolean
}

export interface ClusterOptions {
  readonly hosts: number
  readonly slots: number
  readonly capability?: string
  readonly random: () => number
  readonly body: (input: unknown, path: string) => Body
  /** One-way latency of a frame, in milliseconds. Frames of one link stay in order, as on a stream. */
  readonly latencyMs?: () => number
}

export interface Announcement {
  readonly job: JobId
  readonly at: number
  readonly state: LedgerState
  readonly verdictRecords: { path: string; outcome: Outcome; peer: PeerId; attempt: number }[]
}

interface Host {
  readonly peer: PeerId
  node: MeshNode
  incarnation: number
  alive: boolean
  readonly journal: { job: JobId; record: LedgerRecord }[]
  readonly submitted: SubmittedRecord[]
}

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/**
 * Several MeshNodes on a virtual clock and a virtual network that sees everything: an oracle for what really runs.
 * Frames pass through the real codec. Links can be cut; hosts can be killed and come back.
 */
export class NodeCluster {
  now = 1_000
  readonly hosts: Host[] = []
  readonly announcements: Announcement[] = []
  /** Bodies that execute now: `peer job obligation`. */
  readonly executing = new Map<string, { path: string; job: JobId }>()
  readonly executions: { job: JobId; path: string; peer: PeerId; attempt: number }[] = []
  readonly frames = new Map<string, number>()
  readonly violations: string[] = []
  readonly #options: ClusterOptions
  #queue: { at: number; order: number; run: () => void }[] = []
  #order = 0
  readonly #cut = new Set<string>()
  readonly #linkReady = new Map<string, number>()
  readonly #linkEpoch = new Map<string, number>()

  constructor(options: ClusterOptions) {
    this.#options = options
    for (let index = 0; index < options.hosts; index += 1) {
      const peer = `12D3Host${ALPHABET[index % ALPHABET.length] ?? 'Z'}${ALPHABET[Math.floor(index / ALPHABET.length)] ?? 'Z'}`
      const host: Host = { peer, node: this.#makeNode(peer, 1), incarnation: 1, alive: true, journal: [], submitted: [] }
      this.hosts.push(host)
    }
    for (const host of this.hosts) this.#boot(host)
    for (const a of this.hosts) for (const b of this.hosts) if (a !== b) this.#up(a, b)
  }

  host(index: number): Host {
    const host = this.hosts[index]
    if (host === undefined) throw new RangeError(`no host ${index}`)
    return host
  }

  submit(index: number, job: JobId, input: unknown): void {
    const host = this.host(index)
    const capability = this.#options.capability ?? 'work'
    const bytes = new TextEncoder().encode(JSON.stringify(input))
    const submitted: SubmittedRecord = { kind: 'submitted', job, capability, input: bytes, on: undefined, traceparent: '', submittedAt: 0 }
    host.submitted.push(submitted)
    host.node.adopt(submitted, [], this.now)
    this.#settle(host)
  }

  cancel(index: number, job: JobId): void {
    const host = this.host(index)
    host.node.cancel(job, this.now)
    this.#settle(host)
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
      host.node.adopt(submitted, history, this.now)
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
    this.#cut.add(`${x.peer} ${y.peer}`).add(`${y.peer} ${x.peer}`)
    this.#down(x, y)
    this.#down(y, x)
  }

  heal(a: number, b: number): void {
    const [x, y] = [this.host(a), this.host(b)]
    this.#cut.delete(`${x.peer} ${y.peer}`)
    this.#cut.delete(`${y.peer} ${x.peer}`)
    if (!x.alive || !y.alive) return
    this.#up(x, y)
    this.#up(y, x)
  }

  /** Runs until `done`, or until the virtual time `untilMs` has passed. */
  run(done: () => boolean, untilMs: number): void {
    const end = this.now + untilMs
    while (!done()) {
      const next = this.#queue[0]
      if (next === undefined || next.at > end) return
      this.#pop()
      this.now = Math.max(this.now, next.at)
      next.run()
    }
  }

  #makeNode(peer: PeerId, incarnation: number): MeshNode {
    const nonce = incarnation.toString(16).padStart(16, '0')
    const { random } = this.#options
    return new MeshNode({ self: peer, boot: { incarnation, nonce }, name: peer, version: '0', encodeRecord, random })
  }

  #boot(host: Host): void {
    host.node.offer(this.#options.capability ?? 'work', this.#options.slots, this.now)
    this.#settle(host)
    this.#tick(host, host.node)
  }

  #tick(host: Host, node: MeshNode): void {
    if (!host.alive || host.node !== node) return
    node.tick(this.now, this.now)
    this.#settle(host)
    this.#later(TICK_INTERVAL_MS, () => this.#tick(host, node))
  }

  #up(a: Host, b: Host): void {
    if (this.#cut.has(`${a.peer} ${b.peer}`)) return
    a.node.linkUp(b.peer, this.now)
    this.#settle(a)
  }

  #down(a: Host, b: Host): void {
    for (const [x, y] of [[a, b], [b, a]] as const) {
      const link = `${x.peer} ${y.peer}`
      this.#linkEpoch.set(link, (this.#linkEpoch.get(link) ?? 0) + 1)
    }
    if (!a.alive) return
    a.node.linkDown(b.peer, this.now)
    this.#settle(a)
  }

  #settle(host: Host): void {
    const { records, effects } = host.node.drain(this.now)
    host.journal.push(...records)
    for (const effect of effects) this.#effect(host, effect)
    for (const participant of host.node.host.participants()) {
      for (const broken of participant.peek()?.checkInvariants() ?? []) this.violations.push(`${host.peer}: ${broken}`)
    }
  }

  #effect(host: Host, effect: NodeEffect): void {
    if (effect.kind === 'send') this.#transmit(host, effect.to, effect.frame)
    else if (effect.kind === 'start') this.#start(host, effect)
    else if (effect.kind === 'kill') this.#kill(host, effect.job, effect.obligation)
    else if (effect.kind === 'announce') this.#announced(effect.job, effect.state)
  }

  #transmit(from: Host, to: PeerId, frame: Frame): void {
    this.frames.set(frame.kind, (this.frames.get(frame.kind) ?? 0) + 1)
    const target = this.hosts.find(({ peer }) => peer === to)
    const link = `${from.peer} ${to}`
    if (target === undefined || this.#cut.has(link)) return
    const epoch = this.#linkEpoch.get(link) ?? 0
    const at = Math.max(this.now + (this.#options.latencyMs?.() ?? 1), this.#linkReady.get(link) ?? 0)
    this.#linkReady.set(link, at)
    const bytes = encodeFrame(frame)
    this.#later(at - this.now, () => {
      if (!target.alive || (this.#linkEpoch.get(link) ?? 0) !== epoch) return
      const decoded = decodeFrame(bytes[3] ?? 0, bytes.subarray(4))
      if (decoded === undefined) return
      target.node.frame(from.peer, decoded, this.now)
      this.#settle(target)
    })
  }

  #start(host: Host, effect: NodeEffect & { kind: 'start' }): void {
    const { job, obligation, task, attempt } = effect
    const node = host.node
    const key = `${host.peer} ${job} ${obligation}`
    if (this.announcements.some(a => a.job === job)) this.violations.push(`${task.path} started after the announcement`)
    this.executing.set(key, { path: task.path, job })
    this.executions.push({ job, path: task.path, peer: host.peer, attempt })
    const body = this.#options.body(JSON.parse(new TextDecoder().decode(task.input)), task.path)
    const live = () => host.alive && host.node === node && this.executing.has(key)
    for (const [index, child] of body.children.entries()) {
      this.#later((body.durationMs * index) / Math.max(1, body.children.length), () => {
        if (!live()) return
        const input = new TextEncoder().encode(JSON.stringify(child.input))
        node.spawn(job, obligation, { capability: child.capability, input, traceparent: '' }, this.now)
        this.#settle(host)
      })
    }
    this.#later(body.durationMs, () => {
      if (!live()) return
      this.executing.delete(key)
      const end = body.fails
        ? ({ kind: 'failed', error: { code: 'TASK_FAILED', message: 'as told' } } as const)
        : ({ kind: 'completed', result: new TextEncoder().encode('1'), digest: '', recorded: new TextEncoder().encode('1') } as const)
      node.bodyEnded(job, obligation, end, this.now, this.now)
      this.#settle(host)
    })
  }

  #kill(host: Host, job: JobId, obligation: ObligationId): void {
    const key = `${host.peer} ${job} ${obligation}`
    const node = host.node
    this.#later(1, () => {
      if (!host.alive || host.node !== node || !this.executing.delete(key)) return
      node.bodyEnded(job, obligation, { kind: 'killed' }, this.now, this.now)
      this.#settle(host)
    })
  }

  #announced(job: JobId, state: LedgerState): void {
    const left = [...this.executing.values()].filter(e => e.job === job)
    if (left.length > 0) this.violations.push(`announced while ${left.map(e => e.path).join(', ')} execute`)
    if (this.announcements.some(a => a.job === job)) this.violations.push(`${job} announced twice`)
    const verdictRecords = state.records.map(decodeRecord).map(({ path, outcome, peer, attempt }) => ({ path, outcome, peer, attempt }))
    this.announcements.push({ job, at: this.now, state, verdictRecords })
  }

  #later(delay: number, run: () => void): void {
    this.#order += 1
    this.#push({ at: this.now + delay, order: this.#order, run })
  }

  #push(item: { at: number; order: number; run: () => void }): void {
    const heap = this.#queue
    heap.push(item)
    let index = heap.length - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !before(item, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = item
  }

  #pop(): void {
    const heap = this.#queue
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      let next = heap[child]
      const right = heap[child + 1]
      if (next === undefined) break
      if (right !== undefined && before(right, next)) {
        child += 1
        next = right
      }
      if (!before(next, last)) break
      heap[index] = next
      index = child
    }
    heap[index] = last
  }
}

function before(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** A small seeded generator (mulberry32), so that a failing schedule can be run again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
