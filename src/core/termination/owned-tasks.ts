import type { Settle, SettlePart } from '../frames.ts'
import type { Engagement, JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { obligationId } from '../ids.ts'
import type { Step } from './effects.ts'
import { type Binding, backoffMs, handoffOf, type Obligation, policyOf } from './obligation.ts'
import { PartialSettles } from './settle-frames.ts'
import { RENEW_INTERVAL_MS } from './timing.ts'
import type { Vertex } from './vertex.ts'

interface OwnedTasksInit {
  readonly job: JobId
  readonly root: PeerId
  readonly engagement: Engagement
}

interface Owned {
  readonly vertex: Vertex
  readonly obligation: Obligation
}

/**
 * What the vertices of one engagement are owed, by name: looks for hosts, hands off, cancels, and sends all that again.
 * It decides nothing about how an obligation ends; `EngagedTree` does.
 */
export class OwnedTasks {
  readonly #init: OwnedTasksInit
  readonly #owners = new Map<ObligationId, Vertex>()
  readonly #partial = new PartialSettles()
  /** Exclusive tasks that the root has not yet permitted, with the host to avoid. */
  readonly #unpermitted = new Map<ObligationId, PeerId | undefined>()
  readonly #deadlines = new Map<ObligationId, Monotonic>()
  #askedAt: Monotonic = Number.NEGATIVE_INFINITY
  #inputBytes = 0
  #sequence = 0

  constructor(init: OwnedTasksInit) {
    this.#init = init
  }

  get count(): number {
    return this.#owners.size
  }

  /** Bytes of the inputs of all that is owed. */
  get inputBytes(): number {
    return this.#inputBytes
  }

  find(id: ObligationId): Owned | undefined {
    const vertex = this.#owners.get(id)
    const obligation = vertex?.obligations.get(id)
    return vertex === undefined || obligation === undefined ? undefined : { vertex, obligation }
  }

  nextId(): ObligationId {
    this.#sequence += 1
    return obligationId(this.#init.engagement, this.#sequence)
  }

  /** Owed from now on; a host is looked for, as soon as the root permits it when the task is exclusive (C5). */
  add(vertex: Vertex, obligation: Obligation, avoid: PeerId | undefined, at: Step): void {
    const { id, task, deadlineAt } = obligation
    vertex.obligations.set(id, obligation)
    this.#owners.set(id, vertex)
    this.#inputBytes += task.input.length
    if (deadlineAt !== undefined) this.#deadlines.set(id, deadlineAt)
    if (!policyOf(task).exclusive) return this.#place(obligation, avoid, at)
    this.#unpermitted.set(id, avoid)
    this.#askPermit(id, at)
  }

  /** Idempotent. */
  remove({ vertex, obligation }: Owned): void {
    const { id, task } = obligation
    if (!vertex.obligations.delete(id)) return
    this.#inputBytes -= task.input.length
    this.#owners.delete(id)
    this.#unpermitted.delete(id)
    this.#deadlines.delete(id)
    this.#partial.drop(id)
  }

  clear(): void {
    this.#owners.clear()
  }

  permitted(id: ObligationId, at: Step): void {
    const owned = this.find(id)
    if (owned === undefined || !this.#unpermitted.has(id)) return
    const avoid = this.#unpermitted.get(id)
    this.#unpermitted.delete(id)
    this.#place(owned.obligation, avoid, at)
  }

  /** Asks again for what the root has not permitted. */
  askPermits(at: Step): void {
    if (at.now - this.#askedAt < RENEW_INTERVAL_MS) return
    this.#askedAt = at.now
    for (const id of this.#unpermitted.keys()) this.#askPermit(id, at)
  }

  /** What should have settled by now, each once. */
  overdue(now: Monotonic): Owned[] {
    const overdue: Owned[] = []
    for (const [id, deadlineAt] of this.#deadlines) {
      if (now < deadlineAt) continue
      this.#deadlines.delete(id)
      const owned = this.find(id)
      if (owned !== undefined) overdue.push(owned)
    }
    return overdue
  }

  /** The only place where an obligation gets its host (I8). */
  bind(obligation: Obligation, binding: Binding, at: Step): void {
    obligation.binding = binding
    this.sendHandoff(obligation, at)
  }

  sendHandoff(obligation: Obligation, at: Step): void {
    const { binding } = obligation
    if (binding === undefined) return
    const { job, root, engagement } = this.#init
    const frame = handoffOf({ job, root, ownerEngagement: engagement }, obligation, binding)
    at.out.push({ kind: 'send', to: binding.to, frame })
  }

  sendCancel(obligation: Obligation, at: Step): void {
    const { binding, id } = obligation
    if (binding === undefined) return
    const { job, engagement } = this.#init
    const { to, toEngagement } = binding
    const frame = { kind: 'cancel', job, obligation: id, toEngagement, ownerEngagement: engagement } as const
    at.out.push({ kind: 'send', to, frame })
  }

  withdraw(obligation: Obligation, at: Step): void {
    at.out.push({ kind: 'withdraw', job: this.#init.job, obligation: obligation.id })
  }

  settlePart(from: PeerId, frame: SettlePart): void {
    if (this.find(frame.obligation)?.obligation.binding?.to === from) this.#partial.add(frame)
  }

  /** All records of a settle, or undefined when parts of it are missing. */
  recordsOf(frame: Settle): readonly Uint8Array[] | undefined {
    return this.#partial.complete(frame)
  }

  #place(obligation: Obligation, avoid: PeerId | undefined, at: Step): void {
    const { id, task } = obligation
    const notBefore = at.now + backoffMs(obligation)
    at.out.push({ kind: 'place', job: this.#init.job, obligation: id, task, on: undefined, avoid, notBefore })
  }

  #askPermit(id: ObligationId, at: Step): void {
    at.out.push({
      kind: 'send',
      to: this.#init.root,
      frame: { kind: 'exclusive', job: this.#init.job, obligation: id }
    })
  }
}
