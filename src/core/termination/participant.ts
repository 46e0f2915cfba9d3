import type { Grant, Renewed, RenewItem, TaskRecord } from '../frames.ts'
import {
  type Boot,
  type Engagement,
  type JobId,
  type Monotonic,
  type ObligationId,
  type PeerId,
  sameBoot
} from '../ids.ts'
import type { Step } from './effects.ts'
import { EngagedTree } from './engaged-tree.ts'
import { Fences } from './fences.ts'
import { ABANDONED_AFTER_MS, ENGAGE_RETRY_MS, LEASE_MS } from './timing.ts'
import type { BodyEnd } from './vertex.ts'

export interface ParticipantInit {
  readonly job: JobId
  readonly root: PeerId
  readonly self: PeerId
  readonly boot: Boot
  readonly encodeRecord: (record: TaskRecord) => Uint8Array
}

/**
 * One daemon's part in one job: its engagement and lease (termination.md 1.6; C2, C3, C8, C12).
 *
 * Whatever is done under the engagement is reached through `live`, which first ends an engagement whose lease is over:
 * so nothing is started, sent or committed after the end of a lease (R1, I5).
 */
export class Participant {
  readonly job: JobId
  readonly root: PeerId
  readonly #init: ParticipantInit
  #tree: EngagedTree | undefined
  #leaseUntil: Monotonic = Number.NEGATIVE_INFINITY
  #askedAt: Monotonic | undefined
  /** When this participant first asked: an older grant was meant for one that is forgotten, and may be over. */
  #firstAskedAt: Monotonic = Number.POSITIVE_INFINITY
  /** When the grant of the present engagement was asked for: what is said of an older request is not about it. */
  #engagedAt: Monotonic = Number.NEGATIVE_INFINITY
  /** Highest engagement of this boot that is over with all its bodies reaped. */
  #lostMax: Engagement = 0
  /** Engagement that is over while `#dying` bodies are not yet reaped. */
  #losing: Engagement = 0
  readonly #dying = new Set<ObligationId>()
  /** When the last engagement ended; undefined while there is one, or when its root is given up. */
  #endedAt: Monotonic | undefined
  #state: 'open' | 'abandoned' | 'leaving' | 'left' | 'over' = 'open'

  constructor(init: ParticipantInit) {
    this.#init = init
    this.job = init.job
    this.root = init.root
  }

  /** 0 when there is none. */
  get engagement(): Engagement {
    return this.#tree?.engagement ?? 0
  }

  /**
   * The job is over and nothing of it is left here: the participant can be dropped. One that has only left is kept: a new
   * one would not know which engagements this boot has lost, and might be granted them again (C8).
   */
  get finished(): boolean {
    return this.#state === 'over' && this.#dying.size === 0
  }

  /** Nothing of the job is held here. */
  get idle(): boolean {
    return (this.#tree?.idle ?? true) && this.#dying.size === 0
  }

  /** The engagement's tree, if its lease is not over. Every entry goes through here. */
  live(at: Step): EngagedTree | undefined {
    if (this.#tree !== undefined && at.now >= this.#leaseUntil) this.#selfFence('its lease is over', at)
    return this.#tree
  }

  /** `live`, for a frame that is meant for engagement `wanted`; asks the root for one when there is none (R3). */
  liveFor(wanted: Engagement, at: Step): EngagedTree | undefined {
    const tree = this.live(at)
    if (tree === undefined) this.engage(at)
    return tree?.engagement === wanted ? tree : undefined
  }

  /** The tree as it stands, for display and tests; acts on nothing. */
  peek(): EngagedTree | undefined {
    return this.#tree
  }

  /** Milliseconds until the lease ends unless it is renewed; undefined without an engagement. */
  leaseLeft(now: Monotonic): number | undefined {
    return this.#tree === undefined ? undefined : this.#leaseUntil - now
  }

  renewItem(): RenewItem | undefined {
    return this.#tree?.renewItem()
  }

  /** Asks the root for an engagement unless there is one, one is being asked for, or bodies of the last one live (R2). */
  engage(at: Step): void {
    if (this.live(at) !== undefined || this.#state !== 'open' || this.#dying.size > 0) return
    if (this.#askedAt !== undefined && at.now - this.#askedAt < ENGAGE_RETRY_MS) return
    this.#askedAt = at.now
    this.#firstAskedAt = Math.min(this.#firstAskedAt, at.now)
    const { job, boot } = this.#init
    at.out.push({
      kind: 'send',
      to: this.root,
      frame: { kind: 'engage', job, boot, lost: this.#lostMax, sentAt: at.now }
    })
  }

  granted(from: PeerId, frame: Grant, at: Step): void {
    this.live(at)
    if (from !== this.root || this.#state !== 'open' || !sameBoot(frame.boot, this.#init.boot)) return
    if (frame.engagement <= Math.max(this.#lostMax, this.#losing)) return
    if (frame.sentAt > at.now || frame.sentAt + LEASE_MS <= at.now) return
    if (this.#tree === undefined) {
      if (frame.sentAt < this.#firstAskedAt) return
      const { job, root, self, encodeRecord } = this.#init
      const { engagement } = frame
      this.#tree = new EngagedTree({ job, root, self, engagement, fences: new Fences(frame.fenced), encodeRecord })
      this.#leaseUntil = frame.sentAt + LEASE_MS
      this.#engagedAt = frame.sentAt
      this.#askedAt = undefined
      this.#endedAt = undefined
      at.out.push({ kind: 'engaged', job, engagement })
    } else if (this.#tree.engagement !== frame.engagement) {
      return
    }
    this.#renew(frame.sentAt, frame.pendingFences, at)
  }

  /** This job's part of a RENEWED. */
  renewed(from: PeerId, frame: Renewed, at: Step): void {
    const tree = this.live(at)
    if (from !== this.root || !sameBoot(frame.boot, this.#init.boot)) return
    if (frame.done.includes(this.job)) return this.done(from, at)
    if (frame.lost.includes(this.job)) {
      if (frame.sentAt >= this.#engagedAt) this.#selfFence('the root has fenced it', at)
      return
    }
    const item = frame.items.find(({ job }) => job === this.job)
    if (item === undefined || item.engagement !== tree?.engagement || frame.sentAt > at.now) return
    this.#renew(frame.sentAt, item.pendingFences, at)
  }

  stale(from: PeerId, boot: Boot, incarnation: number, at: Step): void {
    if (from === this.root && sameBoot(boot, this.#init.boot)) at.out.push({ kind: 'stale-boot', incarnation })
  }

  /** The job is over: everything that is left here is killed and forgotten. */
  done(from: PeerId, at: Step): void {
    if (from !== this.root || this.#state === 'over') return
    this.#state = 'over'
    this.#end('the job is over', false, at)
  }

  /** Call at least once per RENEW_INTERVAL_MS. */
  tick(at: Step): void {
    const tree = this.live(at)
    if (tree !== undefined) return tree.tick(at)
    if (this.#lostMax > 0 || this.#askedAt !== undefined) this.engage(at)
    if (this.#state !== 'open' || this.#endedAt === undefined || at.now - this.#endedAt < ABANDONED_AFTER_MS) return
    this.#state = 'abandoned'
    at.out.push({ kind: 'abandoned', job: this.job, root: this.root })
  }

  /** Gives the engagement up for good; LEAVE follows once all bodies are reaped (C12). Idempotent. */
  leave(at: Step): void {
    this.live(at)
    if (this.#state !== 'open' && this.#state !== 'abandoned') return
    this.#state = 'leaving'
    this.#selfFence('the daemon is stopping', at, false)
    if (this.#dying.size === 0) this.#left(at)
  }

  /** This machine was asleep: what its clock says of leases, held or asked for, is not true any more. */
  slept(at: Step): void {
    this.#selfFence('this machine was asleep', at)
    this.#askedAt = undefined
    this.#firstAskedAt = Number.POSITIVE_INFINITY
  }

  /** A body is gone, with all its processes. */
  bodyEnded(id: ObligationId, end: BodyEnd, wall: number, at: Step): void {
    if (this.#dying.delete(id)) {
      if (this.#dying.size === 0) this.#reaped(at)
      return
    }
    const tree = this.live(at)
    // The lease may have ended just now, which put this very body among the dying ones.
    if (this.#dying.has(id)) this.bodyEnded(id, end, wall, at)
    else tree?.bodyEnded(id, end, wall, at)
  }

  /** A new link, or (without a peer) the slow timer: send again what may have been missed. */
  resend(peer: PeerId | undefined, linked: (peer: PeerId) => boolean, at: Step): void {
    const tree = this.live(at)
    if (tree !== undefined) return tree.resend(peer, linked, at)
    if (peer !== undefined && peer !== this.root) return
    if (this.#lostMax === 0 && this.#askedAt === undefined) return
    if (this.#state === 'abandoned') {
      if (peer === undefined) return
      this.#state = 'open'
      this.#endedAt = at.now
    }
    this.#askedAt = undefined
    this.engage(at)
  }

  #renew(sentAt: Monotonic, pending: Grant['pendingFences'], at: Step): void {
    this.#leaseUntil = Math.max(this.#leaseUntil, sentAt + LEASE_MS)
    for (const fence of pending) this.#tree?.fence(fence, at)
  }

  #selfFence(reason: string, at: Step, hard = true): void {
    if (this.#tree === undefined) return
    this.#losing = this.#tree.engagement
    const fields = { job: this.job, engagement: this.#losing, reason }
    at.out.push({ kind: 'log', level: 'warn', message: 'engagement given up', fields })
    this.#end(reason, hard, at)
    if (this.#dying.size === 0) this.#lostMax = this.#losing
  }

  #end(reason: string, hard: boolean, at: Step): void {
    for (const id of this.#tree?.abandon(reason, hard, at) ?? []) this.#dying.add(id)
    this.#tree = undefined
    this.#askedAt = undefined
    this.#endedAt = at.now
    at.out.push({ kind: 'disengaged', job: this.job })
  }

  /** R2: a loss is reported only when every body of it is gone. */
  #reaped(at: Step): void {
    this.#lostMax = Math.max(this.#lostMax, this.#losing)
    if (this.#state === 'leaving') this.#left(at)
    else this.engage(at)
  }

  #left(at: Step): void {
    this.#state = 'left'
    if (this.#losing === 0) return
    const { job, boot } = this.#init
    at.out.push({ kind: 'send', to: this.root, frame: { kind: 'leave', job, engagement: this.#losing, boot } })
  }
}
