import type { Frame, Reserved } from '../frames.ts'
import type { Engagement, JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { SLOTS_MAX } from '../limits.ts'

/**
 * Hosts asked per waiting task: "the least loaded of two random ones" does nearly all that asking everybody would
 * (Mitzenmacher 2001), and a second answer covers a host that has just become busy.
 */
export const SAMPLE = 2

/** A task waits this long for a capability that nobody offers any more; a partition heals or a host restarts in less. */
export const UNPLACEABLE_AFTER_MS = 60_000

/** What is known of a host that might take a task. */
export interface Candidate {
  readonly peer: PeerId
  /** Free slots in its newest advertisement. */
  readonly free: number
  /** This daemon itself: its figures are exact and asking costs nothing. */
  readonly local: boolean
}

export interface Demand {
  readonly job: JobId
  readonly obligation: ObligationId
  readonly capability: string
  readonly root: PeerId
  /** The only peer that may run it. */
  readonly on: PeerId | undefined
  readonly avoid: PeerId | undefined
  /** When it needs a host: not before (back-off of a task that failed). */
  readonly since: Monotonic
}

/** A host's answer to a request; the work for it must name `engagement`. */
export type SlotOffer = Pick<Reserved, 'request' | 'job' | 'engagement' | 'slots'>

/** A slot was offered for a waiting task. */
export interface Match {
  readonly demand: Demand
  readonly to: PeerId
  readonly toEngagement: Engagement
  readonly request: number
  /** Hosts that had been asked when the slot came. */
  readonly asked: readonly PeerId[]
}

interface Group {
  readonly job: JobId
  readonly capability: string
  readonly root: PeerId
  readonly on: PeerId | undefined
  readonly waiting: Map<ObligationId, Demand>
  /** Slots asked for and not yet answered, per host. */
  readonly asked: Map<PeerId, { readonly request: number; open: number }>
  /** When somebody was last known to offer the capability. */
  offeredAt: Monotonic
}

/**
 * The owner's side of placement: tasks wait here, in the order of their spawning, until a host offers a slot
 * (reserve, then bind to the first free one; placement.md 3.3). Stale load figures only choose whom to ask.
 */
export class Placer {
  readonly #groups = new Map<string, Group>()
  readonly #byRequest = new Map<number, Group>()
  readonly #groupOf = new Map<ObligationId, Map<JobId, Group>>()
  #requests = 0

  get waiting(): number {
    let waiting = 0
    for (const group of this.#groups.values()) waiting += group.waiting.size
    return waiting
  }

  waitingFor(job: JobId): number {
    let waiting = 0
    for (const group of this.#groups.values()) if (group.job === job) waiting += group.waiting.size
    return waiting
  }

  add(demand: Demand): void {
    const key = `${demand.job} ${demand.capability} ${demand.on ?? ''}`
    let group = this.#groups.get(key)
    if (group === undefined) {
      const { job, capability, root, on } = demand
      group = { job, capability, root, on, waiting: new Map(), asked: new Map(), offeredAt: demand.since }
      this.#groups.set(key, group)
    }
    group.waiting.set(demand.obligation, demand)
    const jobs = this.#groupOf.get(demand.obligation) ?? new Map<JobId, Group>()
    jobs.set(demand.job, group)
    this.#groupOf.set(demand.obligation, jobs)
  }

  withdraw(job: JobId, obligation: ObligationId): void {
    const jobs = this.#groupOf.get(obligation)
    jobs?.get(job)?.waiting.delete(obligation)
    jobs?.delete(job)
    if (jobs?.size === 0) this.#groupOf.delete(obligation)
  }

  /** The hosts may have changed, or tasks wait: asks more hosts where that helps, ends requests that nobody needs. */
  evaluate(
    candidates: (capability: string) => readonly Candidate[],
    random: () => number
  ): { to: PeerId; frame: Frame }[] {
    const frames: { to: PeerId; frame: Frame }[] = []
    for (const [key, group] of [...this.#groups]) {
      if (group.waiting.size === 0) {
        this.#groups.delete(key)
        for (const [to, { request }] of group.asked) {
          this.#byRequest.delete(request)
          frames.push({ to, frame: { kind: 'release', request, job: group.job, slots: 0, all: true } })
        }
        continue
      }
      this.#ask(group, candidates(group.capability), random, frames)
    }
    return frames
  }

  /**
   * A host offers slots: the tasks for them, oldest first. What is not used is to be given back by the caller. An offer
   * may be an answer to an earlier boot of this daemon, which has given the same number to another job's request.
   */
  reserved(from: PeerId, offer: SlotOffer): { matches: Match[]; unused: number } {
    const { request, job, engagement, slots } = offer
    const group = this.#byRequest.get(request)
    const asked = group?.asked.get(from)
    if (group === undefined || group.job !== job || asked?.request !== request) return { matches: [], unused: slots }
    asked.open = Math.max(0, asked.open - slots)
    if (asked.open === 0) {
      group.asked.delete(from)
      this.#byRequest.delete(request)
    }
    const matches: Match[] = []
    const hosts = [...new Set([from, ...group.asked.keys()])]
    for (const demand of group.waiting.values()) {
      if (matches.length === slots) break
      matches.push({ demand, to: from, toEngagement: engagement, request, asked: hosts })
    }
    for (const { demand } of matches) this.withdraw(demand.job, demand.obligation)
    // Nothing waits any more: the caller ends the request by giving all back.
    if (matches.length === 0) this.refused(from, request)
    return { matches, unused: slots - matches.length }
  }

  /** A host will not answer a request: ask others. */
  refused(from: PeerId, request: number): void {
    const group = this.#byRequest.get(request)
    if (group?.asked.get(from)?.request !== request) return
    group.asked.delete(from)
    this.#byRequest.delete(request)
  }

  /** The link to a host is gone. */
  forget(peer: PeerId): void {
    for (const group of this.#groups.values()) {
      const asked = group.asked.get(peer)
      if (asked === undefined) continue
      group.asked.delete(peer)
      this.#byRequest.delete(asked.request)
    }
  }

  /** Tasks that wait for a capability that nobody has offered for too long. Call at every tick. */
  unplaceable(offerers: (capability: string) => readonly PeerId[], now: Monotonic): Demand[] {
    const out: Demand[] = []
    for (const group of this.#groups.values()) {
      if (offerers(group.capability).some(peer => group.on === undefined || group.on === peer)) group.offeredAt = now
      for (const demand of group.waiting.values()) {
        if (now - Math.max(demand.since, group.offeredAt) >= UNPLACEABLE_AFTER_MS) out.push(demand)
      }
    }
    return out
  }

  #ask(group: Group, all: readonly Candidate[], random: () => number, frames: { to: PeerId; frame: Frame }[]): void {
    const need = group.waiting.size
    const hosts = withoutAvoided(group, eligible(group, all))
    const local = hosts.find(host => host.local)
    const wanted = need * (local !== undefined && local.free >= need ? 1 : SAMPLE)
    // What the asked hosts are likely to give soon. A busy one counts for one slot, however much it is asked for: with a
    // large backlog everybody must be asked.
    let expected = 0
    const likely = (open: number, free: number) => Math.min(open, Math.max(1, free))
    for (const { peer, free } of hosts) expected += likely(group.asked.get(peer)?.open ?? 0, free)
    const left = hosts.filter(({ peer }) => !group.asked.has(peer))
    while (expected < wanted && left.length > 0) {
      const [host] = left.splice(pick(left, group, random), 1)
      if (host !== undefined) expected += likely(this.#reserve(group, host.peer, need, frames), host.free)
    }
    // Everybody has been asked: ask again for what has come since, but not for every single task.
    if (expected >= wanted) return
    for (const [peer, asked] of group.asked)
      if (asked.open <= need / 2) this.#reserve(group, peer, need - asked.open, frames)
  }

  #reserve(group: Group, to: PeerId, slots: number, frames: { to: PeerId; frame: Frame }[]): number {
    const count = Math.min(slots, SLOTS_MAX)
    let asked = group.asked.get(to)
    if (asked === undefined) {
      this.#requests += 1
      asked = { request: this.#requests, open: 0 }
      group.asked.set(to, asked)
      this.#byRequest.set(asked.request, group)
    }
    asked.open += count
    const { job, root, capability } = group
    frames.push({ to, frame: { kind: 'reserve', request: asked.request, job, root, capability, count } })
    return count
  }
}

function eligible(group: Group, candidates: readonly Candidate[]): Candidate[] {
  return candidates.filter(({ peer }) => group.on === undefined || group.on === peer)
}

/** A host that gave the oldest task back is left out while another one is free: it might do so again at once. */
function withoutAvoided(group: Group, hosts: Candidate[]): Candidate[] {
  const avoid = group.waiting.values().next().value?.avoid
  const others = hosts.filter(({ peer }) => peer !== avoid)
  return others.some(({ free }) => free > 0) ? others : hosts
}

/** This host when it is free, else random, weighted by free slots; busy hosts keep a chance, since figures age. */
function pick(candidates: readonly Candidate[], group: Group, random: () => number): number {
  const here = candidates.findIndex(({ local, free }) => local && free > 0)
  if (here >= 0) return here
  const first = group.waiting.values().next().value
  const weights = candidates.map(({ peer, free }) => (peer === first?.avoid ? 0.01 : free + 0.1))
  let point = random() * weights.reduce((sum, weight) => sum + weight, 0)
  for (const [index, weight] of weights.entries()) {
    point -= weight
    if (point < 0) return index
  }
  return candidates.length - 1
}
