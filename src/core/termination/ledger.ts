import type {
  Engage,
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
  type JobId,
  type Monotonic,
  type ObligationId,
  type PeerId,
  sameBoot
} from '../ids.ts'
import { RETURNS_MAX } from '../limits.ts'
import type { Step } from './effects.ts'
import { LedgerState, ROOT_PATH } from './ledger-state.ts'
import { CANCELLED_ERROR, handoffOf, LOST_ERROR, RETURNED_ERROR } from './obligation.ts'
import type { LedgerRecord, SubmittedRecord } from './records.ts'
import { PartialSettles } from './settle-frames.ts'
import { LEASE_EXPIRY_MS } from './timing.ts'
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
 * at the end of a step (C7): the root task has settled and no fence is open (I3).
 */
export class Ledger {
  readonly #init: LedgerInit
  readonly #state: LedgerState
  readonly #expiresAt = new Map<PeerId, Monotonic>()
  readonly #progress = new Map<PeerId, HostProgress>()
  readonly #partial = new PartialSettles()

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

  /** Begins a new job, or carries on after a restart: call once. */
  start(at: LedgerStep): void {
    // A host that was engaged before the restart may still work under its lease: it gets one whole lease to show up.
    for (const peer of this.#state.grants.keys()) this.#expiresAt.set(peer, at.now + LEASE_EXPIRY_MS)
    this.#writeOffFenced(at)
    this.#place(undefined, at)
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
    if (lost) this.#openFence(from, at)
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
    this.#openFence(from, at)
    this.#close(at)
  }

  /** A newer boot of `peer` has introduced itself: what the older one held is gone (its bodies were reaped first, C3). */
  newBoot(peer: PeerId, boot: Boot, at: LedgerStep): void {
    const grant = this.#state.grants.get(peer)
    if (grant === undefined || grant.boot.incarnation >= boot.incarnation) return
    this.#openFence(peer, at)
    this.#close(at)
  }

  fenced(from: PeerId, frame: Fenced, at: LedgerStep): void {
    const waiting = this.#state.openFences.get(frame.fence)?.waiting
    if (waiting?.get(from) !== frame.engagement) return
    this.#record({ kind: 'fence-answered', fence: frame.fence, peer: from }, at)
    this.#close(at)
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
    this.#settleHere('failed', error, at)
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
      return
    }
    if (obligation.binding?.to !== from) return
    const records = this.#partial.complete(frame)
    if (records === undefined) return
    at.out.push({ kind: 'send', to: from, frame: settled })
    const back = frame.outcome === 'returned' || (frame.outcome === 'cancelled' && !this.#state.cancelRequested)
    if (back) this.#takeBack(from, at)
    // A tombstone: the host has never had the task, so it cannot write its record.
    else if (frame.outcome === 'cancelled' && records.length === 0) this.#settleHere('cancelled', CANCELLED_ERROR, at)
    else {
      const { outcome, result, error } = frame
      const lastEndedAt = at.now - frame.endedAgoMs - oneWayMs
      this.#record({ kind: 'settled', obligation: obligation.id, outcome, result, error, records, lastEndedAt }, at)
    }
    this.#close(at)
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
    for (const [peer, expiresAt] of [...this.#expiresAt]) if (at.now >= expiresAt) this.#openFence(peer, at)
    this.#close(at)
  }

  /** A new link to `peer`, or (without one) the slow timer: send again what may have been missed. */
  resend(peer: PeerId | undefined, at: LedgerStep): void {
    const to = this.#state.obligation?.binding?.to
    if (to !== undefined && (peer === undefined || peer === to)) {
      if (this.#state.cancelRequested) this.#sendCancel(at)
      else if (peer !== undefined) this.#handoff(at)
    }
    for (const [fence, { peer: lost, waiting }] of this.#state.openFences) {
      for (const [waited, engagement] of waiting) {
        if (peer === undefined || peer === waited) this.#sendFence(fence, lost, waited, engagement, at)
      }
    }
  }

  #openFence(peer: PeerId, at: LedgerStep): void {
    const grant = this.#state.grants.get(peer)
    this.#expiresAt.delete(peer)
    this.#progress.delete(peer)
    if (grant === undefined) return
    const fence = grant.engagement
    this.#record({ kind: 'fence-opened', fence, peer }, at)
    at.out.push({
      kind: 'log',
      level: 'warn',
      message: 'fence opened',
      fields: { job: this.job, peer, engagement: fence }
    })
    for (const [waited, engagement] of this.#state.openFences.get(fence)?.waiting ?? []) {
      this.#sendFence(fence, peer, waited, engagement, at)
    }
    this.#writeOffFenced(at)
  }

  /** What was handed to a fenced engagement is lost. */
  #writeOffFenced(at: LedgerStep): void {
    const hit = this.#state.obligation?.binding
    if (hit === undefined || !this.#state.fences.covers(hit.to, hit.toEngagement)) return
    this.#settleHere('lost', LOST_ERROR, at)
  }

  #sendFence(fence: number, peer: PeerId, to: PeerId, yourEngagement: Engagement, at: LedgerStep): void {
    at.out.push({ kind: 'send', to, frame: { kind: 'fence', job: this.job, fence, peer, yourEngagement } })
  }

  #pendingFences(from: PeerId): PendingFence[] {
    const pending: PendingFence[] = []
    for (const [fence, { peer, waiting }] of this.#state.openFences)
      if (waiting.has(from)) pending.push({ fence, peer })
    return pending
  }

  #place(avoid: PeerId | undefined, at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation === undefined || obligation.binding !== undefined) return
    if (this.#state.cancelRequested) return this.#settleHere('cancelled', CANCELLED_ERROR, at)
    const { id, task } = obligation
    at.out.push({ kind: 'place', job: this.job, obligation: id, task, on: this.#state.submitted.on, avoid })
  }

  /** The host gave the root task back: another attempt, unless that makes no sense any more. */
  #takeBack(from: PeerId, at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation === undefined) return
    if (this.#state.cancelRequested) return this.#settleHere('cancelled', CANCELLED_ERROR, at)
    if (obligation.returns >= RETURNS_MAX) return this.#settleHere('failed', RETURNED_ERROR, at)
    const nothing = { result: NOTHING, error: undefined, records: [], lastEndedAt: at.now }
    this.#record({ kind: 'settled', obligation: obligation.id, outcome: 'returned', ...nothing }, at)
    this.#place(from, at)
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

  /** The root itself settles its task, because no host will. */
  #settleHere(outcome: 'failed' | 'lost' | 'cancelled', error: TaskError, at: LedgerStep): void {
    const obligation = this.#state.obligation
    if (obligation === undefined) return
    const records = [this.#init.encodeRecord(lostRecord(obligation, this.#init.self, outcome, error))]
    const nothing = { result: NOTHING, lastEndedAt: at.now }
    this.#record({ kind: 'settled', obligation: obligation.id, outcome, error, records, ...nothing }, at)
  }

  #record(record: LedgerRecord, at: LedgerStep): void {
    this.#state.apply(record)
    at.records.push(record)
  }

  /** I3: announced exactly once, when nothing is owed and no fence is open; `done` goes to all who took part. */
  #close(at: LedgerStep): void {
    if (this.#state.announced || this.#state.obligation !== undefined || this.#state.openFences.size > 0) return
    const engaged = [...this.#state.grants.keys()]
    this.#record({ kind: 'announced' }, at)
    at.out.push({ kind: 'announce', job: this.job })
    for (const to of engaged) at.out.push({ kind: 'send', to, frame: { kind: 'done', job: this.job } })
  }
}
