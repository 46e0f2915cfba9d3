import type { Frame, Reserved } from '../frames.ts'
import type { JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import type { MemberView } from '../membership/index.ts'
import { type Candidate, type Demand, type Match, Placer } from '../placement/index.ts'
import type { LedgerStep } from '../termination/index.ts'
import { boundDecision, type Considered } from './explain.ts'
import type { HostSide } from './host-side.ts'
import type { RootSide } from './root-side.ts'

export interface OwnerSideInit {
  readonly view: MemberView
  readonly host: HostSide
  readonly roots: RootSide
  readonly random: () => number
  /** What this daemon offers, or would offer if it took work. */
  readonly wanted: () => ReadonlyMap<string, number>
  readonly consider: (capability: string, on: PeerId | undefined, now: Monotonic) => Considered[]
  readonly send: (to: PeerId, frame: Frame) => void
  readonly commit: (job: JobId, at: LedgerStep) => void
}

/** What this daemon does as an owner of tasks: it finds hosts for those of its vertices and of its jobs' roots. */
export class OwnerSide {
  readonly #init: OwnerSideInit
  readonly #placer = new Placer()
  /** Tasks that failed and wait before their next attempt. */
  readonly #delayed = new Map<string, Demand>()
  #dirty = false

  constructor(init: OwnerSideInit) {
    this.#init = init
  }

  get waiting(): number {
    return this.#placer.waiting + this.#delayed.size
  }

  waitingFor(job: JobId): number {
    const delayed = [...this.#delayed.values()].filter(demand => demand.job === job)
    return this.#placer.waitingFor(job) + delayed.length
  }

  /** Hosts or tasks have changed: the next `evaluate` looks at all again. */
  dirty(): void {
    this.#dirty = true
  }

  add(demand: Demand, now: Monotonic): void {
    if (demand.since > now) this.#delayed.set(`${demand.job} ${demand.obligation}`, demand)
    else this.#placer.add(demand)
    this.#dirty = true
  }

  /** Call at every tick: tasks whose back-off is over look for hosts again. */
  tick(now: Monotonic): void {
    for (const [key, demand] of this.#delayed) {
      if (demand.since > now) continue
      this.#delayed.delete(key)
      this.#placer.add(demand)
    }
    this.#giveUp(now)
    this.#dirty = true
  }

  withdraw(job: JobId, obligation: ObligationId): void {
    this.#delayed.delete(`${job} ${obligation}`)
    this.#placer.withdraw(job, obligation)
    this.#dirty = true
  }

  refused(from: PeerId, request: number): void {
    this.#placer.refused(from, request)
    this.#dirty = true
  }

  forget(peer: PeerId): void {
    this.#placer.forget(peer)
    this.#dirty = true
  }

  /** A host offers slots: binds the oldest tasks to them and gives the rest back. */
  reserved(from: PeerId, frame: Reserved, now: Monotonic): void {
    const { request, job } = frame
    const { matches, unused } = this.#placer.reserved(from, frame)
    let free = unused
    for (const match of matches) if (!this.#bind(match, now)) free += 1
    const all = matches.length === 0
    if (free > 0) this.#init.send(from, { kind: 'release', request, job, slots: free, all })
    this.#dirty = true
  }

  /** Asks hosts for what waits, when anything has changed. A stopping daemon's own slots do not count. */
  evaluate(stopping: boolean): void {
    if (!this.#dirty) return
    this.#dirty = false
    const frames = this.#placer.evaluate(capability => this.#candidates(capability, stopping), this.#init.random)
    for (const { to, frame } of frames) this.#init.send(to, frame)
  }

  /** Settles as failed what nobody has offered to do for too long. */
  #giveUp(now: Monotonic): void {
    const { host, roots, commit } = this.#init
    for (const { job, obligation, capability } of this.#placer.unplaceable(c => this.#offerers(c), now)) {
      const error = { code: 'NO_CAPABLE_PEER', message: `No peer has offered "${capability}" for a minute.` }
      const at: LedgerStep = { now, out: [], records: [] }
      const ledger = roots.owner(job, obligation)
      if (ledger !== undefined) ledger.unplaceable(obligation, error, at)
      else host.participant(job)?.live(at)?.unplaceable(obligation, error, at)
      commit(job, at)
    }
  }

  /** False when the slot was not used. */
  #bind(match: Match, now: Monotonic): boolean {
    const { demand, to, toEngagement, request } = match
    const { host, roots, consider, commit } = this.#init
    const { job, obligation } = demand
    const binding = { to, toEngagement, request }
    const at: LedgerStep = { now, out: [], records: [] }
    const ledger = roots.owner(job, obligation)
    const tree = ledger === undefined ? host.participant(job)?.live(at) : undefined
    let bound: boolean
    if (ledger !== undefined) {
      const candidates = consider(demand.capability, demand.on, now)
      bound = ledger.bind(obligation, binding, boundDecision(to, candidates, match.asked, now - demand.since), at)
    } else {
      bound = tree?.bind(obligation, binding, at) ?? false
    }
    const owed = ledger?.state.obligation?.id === obligation ? ledger.state.obligation : tree?.obligation(obligation)
    if (!bound && owed !== undefined && owed.binding === undefined) this.#placer.add(demand)
    commit(job, at)
    return bound
  }

  /** Who may take such a task some time: also hosts that drain, or have just lost their link. */
  #offerers(capability: string): PeerId[] {
    const { view, wanted } = this.#init
    const offerers = view.members().filter(({ state, advertisement }) => {
      const there = state === 'alive' || state === 'suspect'
      return there && advertisement?.capabilities.some(({ name }) => name === capability)
    })
    const own = wanted().has(capability) ? [view.self] : []
    return [...own, ...offerers.map(({ peer }) => peer)]
  }

  #candidates(capability: string, stopping: boolean): Candidate[] {
    const { view, host } = this.#init
    const candidates: Candidate[] = []
    const own = host.slots.offered().find(({ name }) => name === capability)
    if (own !== undefined && !stopping) candidates.push({ peer: view.self, free: own.free, local: true })
    for (const { peer, state, linked, advertisement } of view.members()) {
      if (state !== 'alive' || !linked || advertisement?.drain !== 'no') continue
      const offer = advertisement?.capabilities.find(({ name }) => name === capability)
      if (offer !== undefined && offer.slots > 0) candidates.push({ peer, free: offer.free, local: false })
    }
    return candidates
  }
}
