import type { RenewItem, TaskRecord } from '../frames.ts'
import type { Boot, JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { RESERVATION_TTL_MS, type SlotGrant, type SlotRequest, SlotTable } from '../placement/index.ts'
import { Participant, type Step } from '../termination/index.ts'

export interface HostSideInit {
  readonly self: PeerId
  readonly boot: Boot
  readonly encodeRecord: (record: TaskRecord) => Uint8Array
}

interface Running {
  readonly capability: string
  blocked: boolean
}

/** What this daemon does for jobs as a host: its part in each, its slots, and what occupies them. */
export class HostSide {
  readonly slots = new SlotTable()
  readonly #init: HostSideInit
  readonly #participants = new Map<JobId, Participant>()
  readonly #running = new Map<string, Running>()
  /** Slots set aside for requests of jobs whose engagement is still being asked for. */
  readonly #ungranted = new Map<JobId, { grants: SlotGrant[]; since: Monotonic }>()

  constructor(init: HostSideInit) {
    this.#init = init
  }

  get running(): number {
    return this.#running.size
  }

  participant(job: JobId): Participant | undefined {
    return this.#participants.get(job)
  }

  participants(): Participant[] {
    return [...this.#participants.values()]
  }

  /** This daemon's part in a job; its root is the one named first and never changes. */
  join(job: JobId, root: PeerId): Participant {
    const known = this.#participants.get(job)
    if (known !== undefined && !known.finished) return known
    const participant = new Participant({ job, root, ...this.#init })
    this.#participants.set(job, participant)
    return participant
  }

  /** Forgets participants whose job is over and reaped. */
  prune(): void {
    for (const [job, participant] of this.#participants) if (participant.finished) this.#participants.delete(job)
  }

  /** A granted slot waits until the job's engagement is there. */
  awaitEngagement(grant: SlotGrant, now: Monotonic): void {
    const waiting = this.#ungranted.get(grant.job)
    if (waiting === undefined) this.#ungranted.set(grant.job, { grants: [grant], since: now })
    else waiting.grants.push(grant)
  }

  /** Grants that waited for this job's engagement. */
  engaged(job: JobId): SlotGrant[] {
    const waiting = this.#ungranted.get(job)
    this.#ungranted.delete(job)
    return waiting?.grants ?? []
  }

  /** Returns the requests that are void by it: they are to be refused, or their owners would wait for ever. */
  disengaged(job: JobId): SlotRequest[] {
    this.#ungranted.delete(job)
    return this.slots.drop(job)
  }

  /** Requests that got no engagement from their root in time; they are to be refused. */
  overdue(now: Monotonic): SlotRequest[] {
    const overdue: SlotRequest[] = []
    for (const [job, { grants, since }] of this.#ungranted) {
      if (now - since < RESERVATION_TTL_MS) continue
      this.#ungranted.delete(job)
      for (const grant of grants) {
        this.slots.release(grant.from, grant.request, grant.slots, true)
        overdue.push(grant)
      }
    }
    return overdue
  }

  /** Attempts that have not begun go back to their owners. */
  giveBackQueued(at: Step): void {
    for (const participant of this.#participants.values()) {
      for (const { id } of participant.live(at)?.vertices() ?? []) participant.live(at)?.giveBack(id, at)
    }
  }

  /** Everything goes back to its owners; bodies that run are killed first. */
  moveAll(reason: string, at: Step): void {
    for (const participant of this.#participants.values()) participant.live(at)?.moveAll(reason, at)
  }

  /** Nothing of any job is held here, and no hand-off is on its way. */
  get idle(): boolean {
    return this.running === 0 && this.slots.promised() === 0 && this.participants().every(({ idle }) => idle)
  }

  began(job: JobId, obligation: ObligationId, capability: string): void {
    this.#running.set(`${job} ${obligation}`, { capability, blocked: false })
  }

  /** Gives the slot of a body that is gone back. */
  ended(job: JobId, obligation: ObligationId): void {
    const key = `${job} ${obligation}`
    const running = this.#running.get(key)
    if (running === undefined) return
    this.#running.delete(key)
    if (!running.blocked) this.slots.leave(running.capability)
  }

  /** A body waits for a child, or goes on: while it waits its slot is free, or a tree of waiting tasks would deadlock. */
  blocked(job: JobId, obligation: ObligationId, blocked: boolean): void {
    const running = this.#running.get(`${job} ${obligation}`)
    if (running === undefined || running.blocked === blocked) return
    running.blocked = blocked
    if (blocked) this.slots.leave(running.capability)
    else this.slots.enter(running.capability)
  }

  /** Milliseconds that are left of each lease. */
  leases(now: Monotonic): Map<JobId, number> {
    const leases = new Map<JobId, number>()
    for (const [job, participant] of this.#participants) {
      const left = participant.leaseLeft(now)
      if (left !== undefined) leases.set(job, left)
    }
    return leases
  }

  /** What is to be renewed with each root. */
  renewals(): Map<PeerId, RenewItem[]> {
    const renewals = new Map<PeerId, RenewItem[]>()
    for (const participant of this.#participants.values()) {
      const item = participant.renewItem()
      if (item === undefined) continue
      const items = renewals.get(participant.root)
      if (items === undefined) renewals.set(participant.root, [item])
      else items.push(item)
    }
    return renewals
  }
}
