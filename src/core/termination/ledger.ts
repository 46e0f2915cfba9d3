import type {
  Engage,
  Exclusive,
  FenceCause,
  Fenced,
  Leave,
  PendingFence,
  RenewItem,
  Settle,
  SettlePart,
  TaskError,
  TaskRecord
} from '../frames.ts'
import {
  type Boot,
  type Engagement,
  type FenceId,
  type JobId,
  type Monotonic,
  type ObligationId,
  type PeerId,
  sameBoot
} from '../ids.ts'
import { LOST_ENGAGEMENTS_MAX } from '../limits.ts'
import type { Step } from './effects.ts'
import { LedgerState, ROOT_PATH } from './ledger-state.ts'
import {
  backoffMs,
  CANCELLED_ERROR,
  DEADLINE_ERROR,
  handoffOf,
  JOB_LOSSES_ERROR,
  LOST_ERROR,
  mayReissue,
  policyOf,
  RETURNED_ERROR,
  type Reissue,
  unplaceableOutcome
} from './obligation.ts'
import type { LedgerRecord, SubmittedRecord } from './records.ts'
import { PartialSettles } from './settle-frames.ts'
import { Superseded } from './superseded.ts'
import { LEASE_EXPIRY_MS, RESEND_INTERVAL_MS } from './timing.ts'
import { lostRecord, NOTHING } from './vertex.ts'

export interface LedgerInit {
  readonly self: PeerId
  readonly encodeRecord: (record: TaskRecord) => Uint8Array
}

/** A step of the root: effects, and the records that must be durable before any of them leaves. */
export interface LedgerStep extends Step {
  readonly records: LedgerRecord[]
}

/** What the newest RENEW of a host said, a soft figure. */
export interface HostProgress extends Omit<RenewItem, 'job' | 'engagement'> {
  readonly peer: PeerId
  readonly at: Monotonic
}

/**
 * The root of one job: the one authority that grants engagements, opens fences and announces the end
 * (termination.md 1.6; C5-C8, C12). It runs where the job was submitted; its host takes part in the job like any other.
 *
 * Every change of state is a record, applied by the same code now and at replay. Announcing is judged only by `#close`,
 * at the end of a step (C7): the root task has settled and no fence is open (I3). The records of one step are one
 * write, so that a crash never comes between the opening of a fence and what it makes of the root task.
 */
export class Ledger {
  readonly #init: LedgerInit
  readonly #state: LedgerState
  readonly #expiresAt = new Map<PeerId, Monotonic>()
  readonly #progress = new Map<PeerId, HostProgress>()
  readonly #partial = new PartialSettles()
  readonly #superseded = new Superseded()
  /** When each fence was opened in this life of the daemon: the slow timer leaves alone what has just left. */
  readonly #fenceSentAt = new Map<FenceId, Monotonic>()
  #deadlineAt: Monotonic = Number.POSITIVE_INFINITY
  /** The attempt that a host is being looked for. */
  #placing: ObligationId | undefined
  /** The host that gave the last attempt back, or failed it. */
  #avoid: PeerId | undefined

  /** A new job, or the fold of `history` (the records after its `submitted`). */
  constructor(init: LedgerInit, submitted: SubmittedRecord, history: readonly LedgerRecord[] = []) {
    this.#init = init
    this.#state = new LedgerState(submitted)
    for (const record of history) this.#state.apply(record)
    // It was read from the clock of an earlier boot, which cannot be compared with this one's.
    if (history.length > 0) this.#state.lastEndedAt = undefined
  }

  get job(): JobId {
    return this.#state.job
  }

  get state(): LedgerState {
    return this.#state
  }

  progress(): HostProgress[] {
    return [...this.#progress.values()]
  }

  /** Begins a new job, or carries on after a restart: call once. `wall`: milliseconds since 1970, for its deadline. */
  start(wall: number, at: LedgerStep): void {
    // A host that was engaged before the restart may still work under its lease: it gets one whole lease to show up.
    for (const peer of this.#state.grants.keys()) this.#expiresAt.set(peer, at.now + LEASE_EXPIRY_MS)
    const { submittedAt, policy } = this.#state.submitted
    this.#recover('lost', at)
    if ((policy?.deadlineMs ?? 0) > 0) this.#deadlineAt = at.now + submittedAt + (policy?.deadlineMs ?? 0) - wall
    this.#close(at)
  }

  engage(from: PeerId, frame: Engage, at: LedgerStep): void {
    const { job } = this.#state
    if (this.#state.announced) {
      at.out.push({ kind: 'send', to: from, frame: { kind: 'done', job } })
      return
    }
    const grant = this.#state.grants.get(from)
    const lost = grant !== undefined && (!sameBoot(grant.boot, frame.boot) || frame.lost >= grant.engagement)
    if (lost) this.#openFence(from, 'lost', at)
    if (grant === undefined || lost) {
      const engagement = this.#state.engagementCounter + 1
      this.#record({ kind: 'granted', peer: from, engagement, boot: frame.boot }, at)
    }
    this.#expiresAt.set(from, at.now + LEASE_EXPIRY_MS)
    const engagement = this.#state.grants.get(from)?.engagement ?? 0
    const fenced = this.#state.fences.list()
    const pendingFences = this.#pendingFences(from)
    const { boot, sentAt } = frame
    at.out.push({
      kind: 'send',
      to: from,
      frame: { kind: 'grant', job, engagement, boot, sentAt, fenced, pendingFences }
    })
    this.#close(at)
  }

  /** A lease is renewed: what to answer for this job. */
  renew(
    from: PeerId,
    boot: Boot,
    item: RenewItem,
    at: LedgerStep
  ): { pendingFences: PendingFence[] } | 'lost' | 'done' {
    if (this.#state.announced) return 'done'
    const grant = this.#state.grants.get(from)
    if (grant?.engagement !== item.engagement || !sameBoot(grant.boot, boot)) return 'lost'
    this.#expiresAt.set(from, at.now + LEASE_EXPIRY_MS)
    const { running, queued, ended, failed, spawned } = item
    this.#progress.set(from, { peer: from, at: at.now, running, queued, ended, failed, spawned })
    return { pendingFences: this.#pendingFences(from) }
  }

  leave(from: PeerId, frame: Leave, at: LedgerStep): void {
    const grant = this.#state.grants.get(from)
    if (grant?.engagement !== frame.engagement || !sameBoot(grant.boot, frame.boot)) return
    this.#openFence(from, 'left', at)
    this.#close(at)
  }

  /** A newer boot of `peer` has introduced itself: what the older one held is gone (its bodies were reaped first, C3). */
  newBoot(peer: PeerId, boot: Boot, at: LedgerStep): void {
    const grant = this.#state.grants.get(peer)
    if (grant === undefined || grant.boot.incarnation >= boot.incarnation) return
    this.#openFence(peer, 'lost', at)
    this.#close(at)
  }

  fenced(from: PeerId, frame: Fenced, at: LedgerStep): void {
    const waiting = this.#state.openFences.get(frame.fence)?.waiting
    if (waiting?.get(from) !== frame.engagement) return
    this.#record({ kind: 'fence-answered', fence: frame.fence, peer: from }, at)
    this.#close(at)
  }

  /** Whoever asks holds the task under its present name; what ran under an earlier one is gone when no fence is open (C5). */
  permit(from: PeerId, { obligation }: Exclusive, at: LedgerStep): void {
    const grant = this.#state.grants.get(from)
    if (grant === undefined || !obligation.startsWith(`${grant.engagement}:`) || this.#state.openFences.size > 0) return
    at.out.push({ kind: 'send', to: from, frame: { kind: 'permit', job: this.job, obligation } })
  }

  /** Binds the root task to a host and hands it off. False: choose again. */
  bind(
    id: ObligationId,
    binding: { to: PeerId; toEngagement: Engagement; request: number },
    placement: unknown,
    at: LedgerStep
  ): boolean {
    const obligation = this.#state.obligation
    if (obligation?.id !== id || obligation.binding !== undefined || this.#state.cancelRequested) return false
    if (this.#state.fences.covers(binding.to, binding.toEngagement)) return false
    const attempt = obligation.attempts[0] ?? 1
    this.#record({ kind: 'bound', obligation: id, path: ROOT_PATH, attempt, ...binding, placement }, at)
    this.#handoff(at)
    return true
  }

  /** No host can be found for the root task. */
  unplaceable(id: ObligationId, error: TaskError, at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation?.id !== id || obligation.binding !== undefined) return
    at.out.push({ kind: 'withdraw', job: this.job, obligation: id })
    this.#settleHere(unplaceableOutcome(obligation), error, at)
    this.#close(at)
  }

  settlePart(from: PeerId, frame: SettlePart): void {
    const obligation = this.#state.obligation
    if (obligation?.id === frame.obligation && obligation.binding?.to === from) this.#partial.add(frame)
  }

  settle(from: PeerId, frame: Settle, oneWayMs: number, at: LedgerStep): void {
    const obligation = this.#state.obligation
    const settled = { kind: 'settled', job: this.job, obligation: frame.obligation } as const
    if (obligation?.id !== frame.obligation) {
      at.out.push({ kind: 'send', to: from, frame: settled })
      return this.#late(from, frame, at)
    }
    if (obligation.binding?.to !== from) return
    const records = this.#partial.complete(frame)
    if (records === undefined) return
    at.out.push({ kind: 'send', to: from, frame: settled })
    this.#settled(from, frame, records, at.now - frame.endedAgoMs - oneWayMs, at)
    this.#close(at)
  }

  #settled(from: PeerId, frame: Settle, records: readonly Uint8Array[], lastEndedAt: Monotonic, at: LedgerStep): void {
    const { obligation, cancelRequested } = this.#state
    const { outcome, result, error } = frame
    if (obligation === undefined || outcome === 'late') return
    if (obligation.expired && outcome === 'cancelled') {
      return this.#settleHere('failed', DEADLINE_ERROR, at, records.slice(1))
    }
    if (outcome === 'returned' && error === undefined) return this.#takeBack(from, 'left', at)
    if (outcome === 'returned' || (outcome === 'cancelled' && !cancelRequested)) {
      return this.#takeBack(from, 'returned', at)
    }
    if (outcome === 'failed' && !cancelRequested && mayReissue(obligation, 'failed')) {
      return this.#reissue('failed', from, at)
    }
    // A tombstone: the host has never had the task, so it cannot write its record.
    if (outcome === 'cancelled' && records.length === 0) return this.#settleHere('cancelled', CANCELLED_ERROR, at)
    this.#record({ kind: 'settled', obligation: obligation.id, outcome, result, error, records, lastEndedAt }, at)
  }

  /** An attempt that was issued again has ended after all. */
  #late(from: PeerId, frame: Settle, at: LedgerStep): void {
    const end = this.#superseded.lateEnd(from, frame)
    if (end === undefined || this.#state.announced) return
    this.#record({ kind: 'late', record: this.#init.encodeRecord(end) }, at)
    at.out.push({ kind: 'late', job: this.job, path: end.path, peer: from })
  }

  /** The user wants the job to stop. Idempotent; the job is over only when everything is quiet. */
  cancel(at: LedgerStep): void {
    if (this.#state.cancelRequested || this.#state.announced) return
    this.#record({ kind: 'cancel-requested' }, at)
    const obligation = this.#state.obligation
    if (obligation !== undefined && obligation.binding === undefined) {
      at.out.push({ kind: 'withdraw', job: this.job, obligation: obligation.id })
      this.#settleHere('cancelled', CANCELLED_ERROR, at)
    }
    this.#sendCancel(at)
    this.#close(at)
  }

  /** Opens a fence for every engagement whose lease cannot be valid any more. */
  tick(at: LedgerStep): void {
    if (this.#state.announced) return
    for (const [peer, expiresAt] of [...this.#expiresAt]) if (at.now >= expiresAt) this.#openFence(peer, 'lost', at)
    if (at.now >= this.#deadlineAt) this.#expire(at)
    this.#close(at)
  }

  /** A new link to `peer`, or (without one) the slow timer: send again what may have been missed. */
  resend(peer: PeerId | undefined, at: LedgerStep): void {
    const to = this.#state.obligation?.binding?.to
    if (to !== undefined && (peer === undefined || peer === to)) {
      if (this.#state.cancelRequested || this.#state.obligation?.expired) this.#sendCancel(at)
      else if (peer !== undefined) this.#handoff(at)
    }
    for (const [fence, { peer: lost, cause, waiting }] of this.#state.openFences) {
      if (peer === undefined && at.now - (this.#fenceSentAt.get(fence) ?? 0) < RESEND_INTERVAL_MS) continue
      for (const [waited, engagement] of waiting) {
        if (peer === undefined || peer === waited) this.#sendFence({ fence, peer: lost, cause }, waited, engagement, at)
      }
    }
  }

  #openFence(peer: PeerId, why: 'left' | 'lost', at: LedgerStep): void {
    const grant = this.#state.grants.get(peer)
    this.#expiresAt.delete(peer)
    this.#progress.delete(peer)
    if (grant === undefined) return
    const fence = grant.engagement
    const tooMany = why === 'lost' && this.#state.lostEngagements >= LOST_ENGAGEMENTS_MAX
    const cause = tooMany ? 'final' : why
    this.#record({ kind: 'fence-opened', fence, peer, cause }, at)
    at.out.push({
      kind: 'log',
      level: 'warn',
      message: 'fence opened',
      fields: { job: this.job, peer, engagement: fence, cause }
    })
    this.#fenceSentAt.set(fence, at.now)
    for (const [waited, engagement] of this.#state.openFences.get(fence)?.waiting ?? []) {
      this.#sendFence({ fence, peer, cause }, waited, engagement, at)
    }
    this.#recover(cause, at)
  }

  /** What was handed to a fenced engagement is issued again, unless that makes no sense any more. */
  #recover(cause: FenceCause, at: LedgerStep): void {
    const { obligation, fences, cancelRequested } = this.#state
    const hit = obligation?.binding
    if (obligation === undefined || hit === undefined || !fences.covers(hit.to, hit.toEngagement)) return
    if (cancelRequested) return this.#settleHere('cancelled', CANCELLED_ERROR, at)
    if (obligation.expired) return this.#settleHere('failed', DEADLINE_ERROR, at)
    if (cause === 'final') return this.#settleHere('lost', JOB_LOSSES_ERROR, at)
    if (!mayReissue(obligation, cause)) return this.#settleHere('lost', LOST_ERROR, at)
    this.#superseded.add(obligation)
    this.#reissue(cause, undefined, at)
  }

  #sendFence(pending: PendingFence, to: PeerId, yourEngagement: Engagement, at: LedgerStep): void {
    at.out.push({ kind: 'send', to, frame: { kind: 'fence', job: this.job, ...pending, yourEngagement } })
  }

  #pendingFences(from: PeerId): PendingFence[] {
    const pending: PendingFence[] = []
    for (const [fence, { peer, cause, waiting }] of this.#state.openFences)
      if (waiting.has(from)) pending.push({ fence, peer, cause })
    return pending
  }

  /** An exclusive task waits until no fence is open (C5). */
  #place(at: LedgerStep): void {
    const { obligation, openFences, cancelRequested, submitted } = this.#state
    if (obligation === undefined || obligation.binding !== undefined || obligation.id === this.#placing) return
    if (cancelRequested) return this.#settleHere('cancelled', CANCELLED_ERROR, at)
    if (policyOf(obligation.task).exclusive && openFences.size > 0) return
    const { id, task } = obligation
    this.#placing = id
    const where = { on: submitted.on, avoid: this.#avoid, notBefore: at.now + backoffMs(obligation) }
    at.out.push({ kind: 'place', job: this.job, obligation: id, task, ...where })
  }

  #reissue(why: Reissue, avoid: PeerId | undefined, at: LedgerStep): void {
    this.#avoid = avoid
    this.#record({ kind: 'reissued', obligation: this.#state.nextId(), why }, at)
  }

  /** The host gave the root task back: another attempt, unless that makes no sense any more. */
  #takeBack(from: PeerId, why: 'left' | 'returned', at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation === undefined) return
    if (this.#state.cancelRequested) return this.#settleHere('cancelled', CANCELLED_ERROR, at)
    if (obligation.expired) return this.#settleHere('failed', DEADLINE_ERROR, at)
    if (!mayReissue(obligation, why)) return this.#settleHere('failed', RETURNED_ERROR, at)
    this.#reissue(why, from, at)
  }

  /** The job's deadline has passed: its root task is cancelled, and settles as failed. */
  #expire(at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation === undefined || obligation.expired || this.#state.cancelRequested) return
    obligation.expired = true
    if (obligation.binding !== undefined) return this.#sendCancel(at)
    at.out.push({ kind: 'withdraw', job: this.job, obligation: obligation.id })
    this.#settleHere('failed', DEADLINE_ERROR, at)
  }

  #handoff(at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation?.binding === undefined) return
    const frame = handoffOf(
      { job: this.job, root: this.#init.self, ownerEngagement: 0 },
      obligation,
      obligation.binding
    )
    at.out.push({ kind: 'send', to: obligation.binding.to, frame })
  }

  #sendCancel(at: LedgerStep): void {
    const { binding, id } = this.#state.obligation ?? {}
    if (binding === undefined || id === undefined) return
    const { to, toEngagement } = binding
    const frame = { kind: 'cancel', job: this.job, obligation: id, toEngagement, ownerEngagement: 0 } as const
    at.out.push({ kind: 'send', to, frame })
  }

  /** The root itself settles its task, because no host will. `below`: what is known of its descendants. */
  #settleHere(
    outcome: 'failed' | 'lost' | 'cancelled',
    error: TaskError,
    at: LedgerStep,
    below: readonly Uint8Array[] = []
  ): void {
    const obligation = this.#state.obligation
    if (obligation === undefined) return
    const records = [this.#init.encodeRecord(lostRecord(obligation, this.#init.self, outcome, error)), ...below]
    const nothing = { result: NOTHING, lastEndedAt: at.now }
    this.#record({ kind: 'settled', obligation: obligation.id, outcome, error, records, ...nothing }, at)
  }

  #record(record: LedgerRecord, at: LedgerStep): void {
    this.#state.apply(record)
    at.records.push(record)
  }

  /** The end of every step. I3: announced exactly once, when nothing is owed and no fence is open; `done` goes to all who took part. */
  #close(at: LedgerStep): void {
    this.#place(at)
    if (this.#state.announced || this.#state.obligation !== undefined || this.#state.openFences.size > 0) return
    const engaged = [...this.#state.grants.keys()]
    this.#record({ kind: 'announced' }, at)
    at.out.push({ kind: 'announce', job: this.job })
    for (const to of engaged) at.out.push({ kind: 'send', to, frame: { kind: 'done', job: this.job } })
  }
}
