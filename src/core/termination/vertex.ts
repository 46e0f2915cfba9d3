import type { Outcome, TaskError, TaskRecord, TaskSpec } from '../frames.ts'
import type { Engagement, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { attemptOf, type Obligation } from './obligation.ts'

/**
 * One attempt of one task on this daemon: a vertex of the engagement tree.
 *
 * queued -> running -> waiting -> settled; from each of the first three -> cancelling -> settled.
 */
export interface Vertex {
  readonly id: ObligationId
  readonly task: TaskSpec
  readonly attempts: readonly number[]
  readonly owner: PeerId
  readonly ownerEngagement: Engagement
  state: 'queued' | 'running' | 'waiting' | 'cancelling'
  /** A body was started and is not known to be gone. */
  executing: boolean
  /** What it owes settling of: its deficit is the size of this map. */
  readonly obligations: Map<ObligationId, Obligation>
  /** Children spawned so far. */
  children: number
  end: BodyEnd | undefined
  /** What to settle as after `cancelling`, or once a running body that is being moved is gone. */
  cancelAs: { readonly outcome: 'cancelled' | 'returned' | 'failed'; readonly error: TaskError | undefined } | undefined
  /** Encoded records of settled descendants. */
  readonly records: Uint8Array[]
  /** When the last body of the subtree ended, by this host's clock. */
  lastEndedAt: Monotonic
  startedAtWall: number
  endedAtWall: number
}

/** How a body ended. `result` is JSON text in UTF-8, `digest` its SHA-256, `recorded` itself when it is short, else empty. */
export type BodyEnd =
  | { readonly kind: 'completed'; readonly result: Uint8Array; readonly digest: string; readonly recorded: Uint8Array }
  | { readonly kind: 'failed'; readonly error: TaskError }
  | { readonly kind: 'killed' }
  | { readonly kind: 'returned' }

/** A settle that its owner has not acknowledged (C9). */
export interface PendingSettle {
  readonly id: ObligationId
  readonly owner: PeerId
  readonly ownerEngagement: Engagement
  readonly outcome: Outcome
  readonly result: Uint8Array
  readonly error: TaskError | undefined
  readonly records: readonly Uint8Array[]
  readonly lastEndedAt: Monotonic
  /** When it was last sent: the slow timer leaves alone what has just left. */
  sentAt: Monotonic
}

export const NOTHING = new Uint8Array(0)

/** Record of an attempt that ended here. */
export function ownRecord(vertex: Vertex, peer: PeerId, outcome: Outcome, error: TaskError | undefined): TaskRecord {
  const { path, capability } = vertex.task
  const end = outcome === 'completed' && vertex.end?.kind === 'completed' ? vertex.end : undefined
  return {
    path,
    capability,
    peer,
    outcome,
    attempt: vertex.attempts.at(-1) ?? 1,
    resultDigest: end?.digest ?? '',
    result: end?.recorded ?? NOTHING,
    startedAt: vertex.startedAtWall,
    endedAt: vertex.endedAtWall,
    error
  }
}

/** Record of an attempt that will never report for itself, written by its owner `self`. */
export function lostRecord(
  obligation: Obligation,
  self: PeerId,
  outcome: Outcome,
  error: TaskError | undefined
): TaskRecord {
  const { path, capability } = obligation.task
  const peer = obligation.binding?.to ?? self
  const nothing = { resultDigest: '', result: NOTHING, startedAt: 0, endedAt: 0 }
  return { path, capability, peer, outcome, attempt: attemptOf(obligation), ...nothing, error }
}

/** What a quiet vertex settles as. */
export function endOf(vertex: Vertex): { outcome: Outcome; error: TaskError | undefined; result: Uint8Array } {
  const { state, cancelAs, end } = vertex
  if (state === 'cancelling' && cancelAs !== undefined) return { ...cancelAs, result: NOTHING }
  if (end?.kind === 'completed') return { outcome: 'completed', error: undefined, result: end.result }
  return { outcome: 'failed', error: end?.kind === 'failed' ? end.error : undefined, result: NOTHING }
}
