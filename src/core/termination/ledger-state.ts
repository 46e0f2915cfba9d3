import type { FenceCause, TaskError, TaskRecord } from '../frames.ts'
import {
  type Boot,
  type Engagement,
  type FenceId,
  type JobId,
  type Monotonic,
  type ObligationId,
  obligationId,
  type PeerId,
  ROOT_ENGAGEMENT
} from '../ids.ts'
import { LATE_RECORDS_MAX } from '../limits.ts'
import { Fences } from './fences.ts'
import { DAMAGED_ERROR, firstAttempt, type Obligation, reissued } from './obligation.ts'
import type { LedgerRecord, SubmittedRecord } from './records.ts'
import { lostRecord } from './vertex.ts'

/** Path of a job's only root task. */
export const ROOT_PATH = '0'

export interface OpenFence {
  readonly peer: PeerId
  readonly cause: FenceCause
  /** Engagements that have not yet confirmed (I7). */
  readonly waiting: Map<PeerId, Engagement>
}

/** State of a job at its root: nothing but the fold of its records. No effects, no time. */
export class LedgerState {
  readonly submitted: SubmittedRecord
  /** What the virtual root is still owed; undefined once the root task has settled. */
  obligation: Obligation | undefined
  readonly grants = new Map<PeerId, { readonly engagement: Engagement; readonly boot: Boot }>()
  readonly fences = new Fences()
  readonly openFences = new Map<FenceId, OpenFence>()
  engagementCounter: Engagement = 0
  /** Engagements that ended otherwise than by leaving in order. */
  lostEngagements = 0
  cancelRequested = false
  announced = false
  result: Uint8Array | undefined
  error: TaskError | undefined
  placement: unknown
  lastEndedAt: Monotonic | undefined
  #sequence = 1
  #settledRecords: readonly Uint8Array[] = []
  readonly #late: Uint8Array[] = []

  constructor(submitted: SubmittedRecord) {
    this.submitted = submitted
    const { capability, input, traceparent, policy } = submitted
    const task = { path: ROOT_PATH, capability, input, traceparent, policy }
    // The deadline of a job is on the wall clock, which the state does not know: the ledger watches it.
    this.obligation = { ...firstAttempt(obligationId(ROOT_ENGAGEMENT, 1), task, [], 0), deadlineAt: undefined }
  }

  get job(): JobId {
    return this.submitted.job
  }

  /** Encoded records of the settled tree, and of late ends of the root task. */
  get records(): readonly Uint8Array[] {
    return this.#late.length === 0 ? this.#settledRecords : [...this.#settledRecords, ...this.#late]
  }

  /** Ends a job that cannot be carried on, because a part of its records is gone: its root task counts as lost. */
  abandon(encodeRecord: (record: TaskRecord) => Uint8Array, self: PeerId): void {
    if (this.obligation !== undefined) {
      this.error = DAMAGED_ERROR
      this.#settledRecords = [encodeRecord(lostRecord(this.obligation, self, 'lost', DAMAGED_ERROR))]
    }
    this.obligation = undefined
    this.announced = true
  }

  apply(record: LedgerRecord): void {
    switch (record.kind) {
      case 'submitted':
        return
      case 'granted':
        this.engagementCounter = Math.max(this.engagementCounter, record.engagement)
        this.grants.set(record.peer, { engagement: record.engagement, boot: record.boot })
        return
      case 'bound':
        return this.#bound(record)
      case 'settled':
        return this.#settled(record)
      case 'fence-opened':
        return this.#fenceOpened(record.fence, record.peer, record.cause)
      case 'reissued':
        if (this.obligation === undefined) return
        this.obligation = reissued(this.obligation, record.obligation, record.why)
        return this.#named(record.obligation)
      case 'late':
        if (this.#late.length < LATE_RECORDS_MAX) this.#late.push(record.record)
        return
      case 'fence-answered':
        this.openFences.get(record.fence)?.waiting.delete(record.peer)
        return this.#dropClosed()
      case 'cancel-requested':
        this.cancelRequested = true
        return
      case 'announced':
        this.announced = true
    }
  }

  #bound(record: LedgerRecord & { kind: 'bound' }): void {
    if (this.obligation === undefined) return
    const { to, toEngagement, request } = record
    // At replay the name in the record is the one that left; the one made by the constructor never did.
    this.obligation = { ...this.obligation, id: record.obligation, binding: { to, toEngagement, request } }
    this.#named(record.obligation)
    this.placement = record.placement
  }

  #settled(record: LedgerRecord & { kind: 'settled' }): void {
    const obligation = this.obligation
    if (obligation === undefined) return
    this.obligation = undefined
    this.#settledRecords = record.records
    this.lastEndedAt = record.lastEndedAt
    if (record.outcome === 'completed') this.result = record.result
    else this.error = record.error
  }

  #fenceOpened(fence: FenceId, peer: PeerId, cause: FenceCause): void {
    if (cause !== 'left') this.lostEngagements += 1
    this.grants.delete(peer)
    this.fences.add({ fence, peer, cause })
    for (const open of this.openFences.values()) open.waiting.delete(peer)
    const waiting = new Map([...this.grants].map(([other, { engagement }]) => [other, engagement] as const))
    this.openFences.set(fence, { peer, cause, waiting })
    this.#dropClosed()
  }

  #dropClosed(): void {
    for (const [fence, { waiting }] of this.openFences) if (waiting.size === 0) this.openFences.delete(fence)
  }

  /** The name of the next attempt of the root task. */
  nextId(): ObligationId {
    return obligationId(ROOT_ENGAGEMENT, this.#sequence + 1)
  }

  #named(id: ObligationId): void {
    this.#sequence = Math.max(this.#sequence, Number(id.split(':')[1] ?? 0))
  }
}
