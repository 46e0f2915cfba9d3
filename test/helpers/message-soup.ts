import type { Handoff, TaskRecord } from '../../src/core/frames.ts'
import type { Engagement, ObligationId, PeerId } from '../../src/core/ids.ts'
import { dispatchJobFrame, type JobFrame } from '../../src/core/node/frame-dispatch.ts'
import { HostSide } from '../../src/core/node/host-side.ts'
import { RootSide } from '../../src/core/node/root-side.ts'
import {
  type EngagedTree,
  KILL_GRACE_MS,
  LEASE_MS,
  type LedgerRecord,
  type LedgerState,
  type LedgerStep,
  RENEW_INTERVAL_MS,
  RESEND_INTERVAL_MS,
  type SubmittedRecord,
  type TerminationEffect
} from '../../src/core/termination/index.ts'
import { VirtualTime } from './virtual-time.ts'

export const SOUP_JOB = 'soupsoupsoup'
const TICK_MS = 250
const text = new TextEncoder()

export interface Plan {
  readonly durationMs: number
  readonly children: number
  readonly fails?: boolean
}

export interface SoupOptions {
  readonly hosts: number
  readonly random: () => number
  /** What a body does; asked anew at each attempt. */
  readonly plan: (path: string) => Plan
  /** Longest delay of a frame. Frames overtake each other, on one link too. */
  readonly delayMs?: number
  /** Chance that a delivered frame is delivered once more, up to REDELIVERY_MS later. */
  readonly redelivery?: number
  /** Chance that a queued attempt is given back instead of started. */
  readonly returns?: number
  /** Chance that a hand-off is bound to an engagement that its host had before, as if its RESERVED had been delayed. */
  readonly staleOffers?: number
  /** The machines' own invariants are checked at every n-th step. @default 1 */
  readonly invariantsEvery?: number
}

/** A re-delivered frame comes up to this late: past several leases. */
const REDELIVERY_MS = 20_000

interface SoupHost {
  readonly peer: PeerId
  readonly index: number
  side: HostSide
  roots: RootSide
  boot: { incarnation: number; nonce: string }
  alive: boolean
  pausedUntil: number
  /** Difference of its clock to the virtual time: clocks of hosts are never comparable. */
  offset: number
  /** End of its lease by what it has heard, in virtual time. */
  leaseUntil: number
  readonly engagements: Engagement[]
  /** Bodies that execute, whatever the daemon believes. */
  readonly bodies: Map<ObligationId, { path: string; engagement: Engagement }>
  lastRenew: number
  lastResend: number
}

/**
 * One job over several hosts that consist of nothing but the termination machines (`Participant`, `Ledger` and the
 * dispatch of frames), in a soup of messages: any frame may overtake any other and come again at any later time.
 * Placement is a dice. The soup sees everything and is the oracle for what really executes.
 */
export class MessageSoup {
  readonly time = new VirtualTime()
  readonly hosts: SoupHost[] = []
  readonly journal: LedgerRecord[] = []
  readonly violations: string[] = []
  readonly announced: { at: number; state: LedgerState }[] = []
  /** Bodies started, by path. */
  readonly started = new Map<string, number>()
  readonly spawned = new Set<string>()
  /** Spawns that came after the end of their body, since a pause had held them up. */
  refusedSpawns = 0
  /** First copies of frames on their way, by kind and obligation. */
  readonly inFlight = new Map<string, number>()
  readonly frameCounts = new Map<string, number>()
  readonly submitted: SubmittedRecord
  lastBodyEnd = 0
  #steps = 0
  /** Called after every event. */
  observe: (() => void) | undefined
  readonly #options: SoupOptions
  readonly #cut = new Set<string>()
  readonly #placing = new Set<ObligationId>()
  readonly #accepted = new Set<ObligationId>()

  constructor(options: SoupOptions) {
    this.#options = options
    this.submitted = {
      kind: 'submitted',
      job: SOUP_JOB,
      capability: 'work',
      input: text.encode('null'),
      on: undefined,
      traceparent: '',
      submittedAt: 0
    }
    for (let index = 0; index < options.hosts; index += 1) {
      const peer = `host${index}`
      const boot = { incarnation: 1, nonce: '0'.repeat(16) }
      const never = Number.NEGATIVE_INFINITY
      const host: SoupHost = {
        ...this.#machines(peer, boot),
        peer,
        index,
        boot,
        alive: true,
        pausedUntil: 0,
        offset: Math.floor(options.random() * 1e6),
        leaseUntil: never,
        engagements: [],
        bodies: new Map(),
        lastRenew: never,
        lastResend: never
      }
      this.hosts.push(host)
      this.#tick(host, host.side)
    }
    this.#adopt([])
  }

  get #random(): () => number {
    return this.#options.random
  }

  host(index: number): SoupHost {
    const host = this.hosts[index]
    if (host === undefined) throw new RangeError(`no host ${index}`)
    return host
  }

  tree(host: SoupHost): EngagedTree | undefined {
    return host.side.participant(SOUP_JOB)?.peek()
  }

  /** Holds its engagement by its own clock: what it has in memory counts. */
  engaged(host: SoupHost): boolean {
    return host.alive && this.time.now < host.leaseUntil && this.tree(host) !== undefined
  }

  accepted(id: ObligationId): boolean {
    return this.#accepted.has(id)
  }

  run(forMs: number): boolean {
    return this.time.run(() => this.announced.length > 0, forMs)
  }

  cancel(): void {
    const root = this.host(0)
    if (root.alive) this.#step(root, at => root.roots.ledger(SOUP_JOB)?.cancel(at))
  }

  /** kill -9 of daemon and bodies. */
  crash(host: SoupHost): void {
    host.alive = false
    host.bodies.clear()
  }

  restart(host: SoupHost): void {
    if (host.alive) return
    const incarnation = host.boot.incarnation + 1
    host.boot = { incarnation, nonce: incarnation.toString(16).padStart(16, '0') }
    Object.assign(host, this.#machines(host.peer, host.boot))
    host.alive = true
    host.pausedUntil = 0
    host.offset = Math.floor(this.#random() * 1e6)
    host.leaseUntil = Number.NEGATIVE_INFINITY
    host.lastRenew = host.lastResend = Number.NEGATIVE_INFINITY
    if (host.index === 0 && this.announced.length === 0) this.#adopt([...this.journal])
    for (const other of this.hosts) if (other !== host) this.#link(host, other)
    this.#tick(host, host.side)
  }

  /** The daemon stands still (SIGSTOP, swap, a busy loop); its bodies run on until the supervisor ends them. */
  pause(host: SoupHost, forMs: number): void {
    if (!host.alive) return
    host.pausedUntil = Math.max(host.pausedUntil, this.time.now + forMs)
    const { side } = host
    const watch = () => {
      if (host.side !== side || !host.alive || this.time.now >= host.pausedUntil) return
      if (this.time.now < host.leaseUntil) return this.time.later(host.leaseUntil - this.time.now + 1, watch)
      for (const id of [...host.bodies.keys()]) this.#reap(host, side, id)
    }
    watch()
  }

  leave(host: SoupHost): void {
    if (host.alive) this.#step(host, at => host.side.participant(SOUP_JOB)?.leave(at))
  }

  cut(a: SoupHost, b: SoupHost): void {
    this.#cut.add(linkOf(a, b)).add(linkOf(b, a))
  }

  heal(a: SoupHost, b: SoupHost): void {
    this.#cut.delete(linkOf(a, b))
    this.#cut.delete(linkOf(b, a))
    this.#link(a, b)
  }

  #machines(self: PeerId, boot: SoupHost['boot']): { side: HostSide; roots: RootSide } {
    const encodeRecord = (record: TaskRecord) => text.encode(JSON.stringify({ ...record, result: [] }))
    return { side: new HostSide({ self, boot, encodeRecord }), roots: new RootSide({ self, encodeRecord }) }
  }

  #adopt(history: readonly LedgerRecord[]): void {
    const root = this.host(0)
    this.#step(root, at => root.roots.adopt(this.submitted, history).start(0, at))
  }

  #link(a: SoupHost, b: SoupHost): void {
    for (const [x, y] of [
      [a, b],
      [b, a]
    ] as const) {
      if (!x.alive || !y.alive || this.#cut.has(linkOf(x, y))) continue
      this.#step(x, at => {
        x.side.participant(SOUP_JOB)?.resend(y.peer, peer => this.#linked(x, peer), at)
        x.roots.ledger(SOUP_JOB)?.resend(y.peer, at)
      })
    }
  }

  #linked(host: SoupHost, peer: PeerId): boolean {
    const other = this.hosts.find(candidate => candidate.peer === peer)
    return other?.alive === true && !this.#cut.has(linkOf(host, other))
  }

  #tick(host: SoupHost, side: HostSide): void {
    if (!host.alive || host.side !== side) return
    if (this.time.now < host.pausedUntil) {
      return this.time.later(host.pausedUntil - this.time.now, () => this.#tick(host, side))
    }
    const { now } = this.time
    const renew = now - host.lastRenew >= RENEW_INTERVAL_MS
    const resend = now - host.lastResend >= RESEND_INTERVAL_MS
    if (renew) host.lastRenew = now
    if (resend) host.lastResend = now
    this.#step(host, at => {
      const participant = host.side.participant(SOUP_JOB)
      participant?.tick(at)
      if (resend) participant?.resend(undefined, peer => this.#linked(host, peer), at)
      const ledger = host.roots.ledger(SOUP_JOB)
      ledger?.tick(at)
      if (resend) ledger?.resend(undefined, at)
      for (const [root, items] of renew ? host.side.renewals() : []) {
        at.out.push({ kind: 'send', to: root, frame: { kind: 'renew', boot: host.boot, sentAt: at.now, items } })
      }
      host.side.prune()
    })
    this.time.later(TICK_MS, () => this.#tick(host, side))
  }

  /** One step of one host; everything that happens goes through here. */
  #step(host: SoupHost, act: (at: LedgerStep) => void): void {
    const at: LedgerStep = { now: this.time.now + host.offset, out: [], records: [] }
    act(at)
    this.journal.push(...at.records)
    for (const effect of at.out) this.#effect(host, effect)
    this.#steps += 1
    const tree = this.#steps % (this.#options.invariantsEvery ?? 1) === 0 ? this.tree(host) : undefined
    for (const broken of tree?.checkInvariants() ?? []) this.violations.push(`${host.peer}: ${broken}`)
    this.observe?.()
  }

  /** Like `#step`, from outside: not before a pause ends, never in another life. */
  #enter(host: SoupHost, side: HostSide, act: (at: LedgerStep) => void): void {
    if (!host.alive || host.side !== side) return
    const wait = host.pausedUntil - this.time.now
    if (wait > 0) this.time.later(wait + this.#random(), () => this.#enter(host, side, act))
    else this.#step(host, act)
  }

  #effect(host: SoupHost, effect: TerminationEffect): void {
    const { side } = host
    switch (effect.kind) {
      case 'send':
        return this.#send(host, effect.to, effect.frame as JobFrame)
      case 'place':
        this.#placing.add(effect.obligation)
        return this.#place(host, side, effect.obligation)
      case 'withdraw':
        this.#placing.delete(effect.obligation)
        return
      case 'enqueue':
        this.#accepted.add(effect.obligation)
        return this.time.later(this.#random() * 100, () => this.#begin(host, side, effect.obligation))
      case 'kill':
        return this.time.later(this.#random() * KILL_GRACE_MS * 0.9, () => this.#reap(host, side, effect.obligation))
      case 'engaged':
        host.engagements.push(effect.engagement)
        return
      case 'announce':
        return this.#announce(host)
      default:
        return
    }
  }

  #send(from: SoupHost, to: PeerId, frame: JobFrame): void {
    this.frameCounts.set(frame.kind, (this.frameCounts.get(frame.kind) ?? 0) + 1)
    const target = this.hosts.find(({ peer }) => peer === to)
    if (target === undefined) return
    const copy = () => this.#deliver(from, target, frame)
    const delay = this.#random() * (from === target ? 1 : (this.#options.delayMs ?? 20))
    const key = 'obligation' in frame ? `${frame.kind} ${frame.obligation}` : undefined
    if (key !== undefined) this.inFlight.set(key, (this.inFlight.get(key) ?? 0) + 1)
    this.time.later(delay, () => {
      if (key !== undefined) this.inFlight.set(key, (this.inFlight.get(key) ?? 0) - 1)
      copy()
      if (this.#random() < (this.#options.redelivery ?? 0)) this.time.later(this.#random() ** 3 * REDELIVERY_MS, copy)
    })
  }

  #deliver(from: SoupHost, to: SoupHost, frame: JobFrame): void {
    if (this.#cut.has(linkOf(from, to))) return
    this.#enter(to, to.side, at => {
      dispatchJobFrame({ host: to.side, roots: to.roots, oneWayMs: 0 }, from.peer, frame, at)
      const granted = frame.kind === 'grant' || frame.kind === 'renewed'
      if (granted && this.tree(to) !== undefined && frame.boot.nonce === to.boot.nonce) {
        to.leaseUntil = Math.max(to.leaseUntil, frame.sentAt - to.offset + LEASE_MS)
      }
    })
  }

  /** Reserve and bind, with a dice for the host. */
  #place(owner: SoupHost, side: HostSide, id: ObligationId): void {
    const again = (delay: number) => this.time.later(delay, () => this.#place(owner, side, id))
    if (!owner.alive || owner.side !== side || !this.#placing.has(id)) return
    const host = this.host(Math.floor(this.#random() * this.hosts.length))
    const hop = 1 + this.#random() * (this.#options.delayMs ?? 20)
    if (!host.alive || this.#cut.has(linkOf(owner, host)) || this.time.now < host.pausedUntil) return again(50)
    this.time.later(hop, () => {
      let engagement = 0
      this.#enter(host, host.side, at => {
        const participant = host.side.join(SOUP_JOB, this.host(0).peer)
        if (participant.live(at) === undefined) participant.engage(at)
        engagement = participant.engagement
        const stale = host.engagements[Math.floor(this.#random() * host.engagements.length)]
        if (stale !== undefined && this.#random() < (this.#options.staleOffers ?? 0)) engagement = stale
      })
      if (engagement === 0) return again(hop * 3)
      this.time.later(hop, () => {
        let bound = false
        this.#enter(owner, side, at => {
          if (!this.#placing.delete(id)) return
          const binding = { to: host.peer, toEngagement: engagement, request: 0 }
          const ledger = owner.roots.owner(SOUP_JOB, id)
          if (ledger !== undefined) bound = ledger.bind(id, binding, null, at)
          else bound = owner.side.participant(SOUP_JOB)?.live(at)?.bind(id, binding, at) ?? false
          const owed = ledger?.state.obligation ?? this.tree(owner)?.obligation(id)
          if (bound || owed?.id !== id || owed.binding !== undefined) return
          this.#placing.add(id)
          again(200)
        })
      })
    })
  }

  #begin(host: SoupHost, side: HostSide, id: ObligationId): void {
    this.#enter(host, side, at => {
      const tree = host.side.participant(SOUP_JOB)?.live(at)
      if (this.#random() < (this.#options.returns ?? 0)) return tree?.giveBack(id, at)
      const vertex = tree?.vertex(id)
      if (tree === undefined || vertex === undefined || !tree.started(id, 1)) return
      this.#run(host, side, id, vertex.task)
    })
  }

  #run(host: SoupHost, side: HostSide, id: ObligationId, { path }: Handoff['task']): void {
    this.started.set(path, (this.started.get(path) ?? 0) + 1)
    const engagement = this.tree(host)?.engagement ?? 0
    if (this.announced.length > 0) this.violations.push(`${path} began after the announcement`)
    if (this.time.now >= host.leaseUntil) this.violations.push(`${path} began after the end of its lease`)
    host.bodies.set(id, { path, engagement })
    const plan = this.#options.plan(path)
    const live = () => host.side === side && host.bodies.has(id)
    for (let index = 0; index < plan.children; index += 1) {
      this.time.later((plan.durationMs * index) / plan.children, () => {
        if (!live()) return
        this.#enter(host, side, at => {
          const child = { capability: 'work', input: text.encode('null'), traceparent: '' }
          const spawned = live() && host.side.participant(SOUP_JOB)?.live(at)?.spawn(id, child, at)
          if (spawned && 'task' in spawned) this.spawned.add(spawned.task.path)
          else this.refusedSpawns += 1
        })
      })
    }
    this.time.later(plan.durationMs, () => {
      if (!live()) return
      host.bodies.delete(id)
      this.lastBodyEnd = this.time.now
      const error = { code: 'TASK_FAILED', message: 'as told' }
      const result = text.encode(JSON.stringify(path))
      const end = plan.fails
        ? ({ kind: 'failed', error } as const)
        : ({ kind: 'completed', result, digest: '', recorded: result } as const)
      this.#enter(host, side, at => host.side.participant(SOUP_JOB)?.bodyEnded(id, end, 1, at))
    })
  }

  #reap(host: SoupHost, side: HostSide, id: ObligationId): void {
    if (host.side !== side || !host.bodies.delete(id)) return
    this.#enter(host, side, at => host.side.participant(SOUP_JOB)?.bodyEnded(id, { kind: 'killed' }, 1, at))
  }

  #announce(root: SoupHost): void {
    const state = root.roots.finish(SOUP_JOB)
    if (this.announced.length > 0) this.violations.push('announced twice')
    for (const host of this.hosts) {
      const paths = [...host.bodies.values()].map(({ path }) => path)
      if (paths.length > 0) this.violations.push(`announced while ${paths} execute on ${host.peer}`)
      if (!this.engaged(host)) continue
      const held = this.tree(host)?.vertices() ?? []
      if (held.length > 0) this.violations.push(`announced while ${host.peer} holds ${held.map(v => v.task.path)}`)
    }
    if (state !== undefined) this.announced.push({ at: this.time.now, state })
  }
}

function linkOf(a: SoupHost, b: SoupHost): string {
  return `${a.peer} ${b.peer}`
}

/** Records of the settled tree. */
export function soupRecords(state: LedgerState): TaskRecord[] {
  return state.records.map(bytes => JSON.parse(new TextDecoder().decode(bytes)) as TaskRecord)
}
