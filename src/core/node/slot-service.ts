import type { Reserve } from '../frames.ts'
import type { Engagement, Monotonic, PeerId } from '../ids.ts'
import type { SlotGrant, SlotRequest } from '../placement/index.ts'
import type { Step } from '../termination/index.ts'
import type { Admission } from './admission.ts'
import type { HostSide } from './host-side.ts'
import type { Outbox } from './outbox.ts'

export interface SlotServiceInit {
  readonly host: HostSide
  readonly admission: Admission
  readonly outbox: Outbox
  readonly apply: (at: Step) => void
}

/** This host's slots at work: takes requests for them, grants them as they fall free, starts what was handed off. */
export class SlotService {
  readonly #init: SlotServiceInit

  constructor(init: SlotServiceInit) {
    this.#init = init
  }

  reserve(from: PeerId, frame: Reserve): void {
    const { admission, host } = this.#init
    const { request, job, root, capability, count } = frame
    const of = { from, request, job, root, capability }
    if (!admission.open || !host.slots.request(of, count)) this.refuse([of])
  }

  refuse(requests: readonly SlotRequest[]): void {
    for (const { from, request, job } of requests) this.#init.outbox.send(from, { kind: 'busy', request, job })
  }

  offer(grant: SlotGrant, engagement: Engagement): void {
    const { from, request, job, slots } = grant
    this.#init.outbox.send(from, { kind: 'reserved', request, job, engagement, slots })
  }

  /** Sets free slots aside for those who wait; a job without an engagement asks its root for one first. */
  grant(now: Monotonic): void {
    const { host, apply } = this.#init
    for (const grant of host.slots.grant(now)) {
      const at: Step = { now, out: [] }
      const participant = host.join(grant.job, grant.root)
      if (participant.live(at) === undefined) {
        host.awaitEngagement(grant, now)
        participant.engage(at)
      } else {
        this.offer(grant, participant.engagement)
      }
      apply(at)
    }
  }

  startBodies(now: Monotonic, wall: number): void {
    const { host, outbox, apply } = this.#init
    for (const { job, obligation, capability } of host.slots.startable()) {
      const at: Step = { now, out: [] }
      const tree = host.participant(job)?.live(at)
      const vertex = tree?.vertex(obligation)
      const begins = tree?.started(obligation, wall) ?? false
      apply(at)
      if (vertex === undefined || !begins) {
        host.slots.leave(capability)
        continue
      }
      const { task, attempts } = vertex
      host.began(job, obligation, task.capability)
      outbox.push({ kind: 'start', job, obligation, task, attempts })
    }
  }

  /** What waits for a capability that is offered no more goes back to its owners. */
  giveBackStranded(now: Monotonic): void {
    const { host, apply } = this.#init
    const at: Step = { now, out: [] }
    for (const { job, obligation } of host.slots.stranded()) host.participant(job)?.live(at)?.giveBack(obligation, at)
    apply(at)
  }
}
