import type { Frame, TaskError, TaskSpec } from '../frames.ts'
import type { Engagement, JobId, Monotonic, ObligationId, PeerId, TaskPath } from '../ids.ts'

/** One step: the time it happens at, and where its effects go, in order. */
export interface Step {
  readonly now: Monotonic
  readonly out: TerminationEffect[]
}

/** What a participant or a ledger wants done. Carried out in order. */
export type TerminationEffect =
  | { readonly kind: 'send'; readonly to: PeerId; readonly frame: Frame }
  /** Find a host for this obligation, then call `bind`. */
  | {
      readonly kind: 'place'
      readonly job: JobId
      readonly obligation: ObligationId
      readonly task: TaskSpec
      readonly on: PeerId | undefined
      readonly avoid: PeerId | undefined
      /** Back-off: no host is asked before. */
      readonly notBefore: Monotonic
    }
  /** The obligation needs no host any more. */
  | { readonly kind: 'withdraw'; readonly job: JobId; readonly obligation: ObligationId }
  /** A vertex waits for a slot; the host starts it when there is one, through `started`. */
  | {
      readonly kind: 'enqueue'
      readonly job: JobId
      readonly obligation: ObligationId
      readonly owner: PeerId
      readonly request: number
      readonly task: TaskSpec
    }
  /** The vertex will not run: it was cancelled before its body began. */
  | { readonly kind: 'dequeue'; readonly job: JobId; readonly obligation: ObligationId }
  /**
   * End the body by force; `bodyEnded` follows when nothing of it is left. `hard`: its lease is over, it must be gone
   * within KILL_GRACE_MS, so no time is left for it to clean up.
   */
  | {
      readonly kind: 'kill'
      readonly job: JobId
      readonly obligation: ObligationId
      readonly reason: string
      readonly hard: boolean
    }
  /** A child that a body spawned here has settled. */
  | {
      readonly kind: 'child-settled'
      readonly job: JobId
      readonly parent: ObligationId
      readonly path: string
      readonly outcome: 'completed' | 'failed' | 'cancelled' | 'lost'
      readonly result: Uint8Array
      readonly error: TaskError | undefined
    }
  /** An engagement begins: reservations that waited for it can be answered. */
  | { readonly kind: 'engaged'; readonly job: JobId; readonly engagement: Engagement }
  /** The engagement ended: reservations and queued vertices of the job are void. */
  | { readonly kind: 'disengaged'; readonly job: JobId }
  /** The root knows a newer boot of this peer id: this home is a copy, or was restored (C2). */
  | { readonly kind: 'stale-boot'; readonly incarnation: number }
  /** An attempt that had been issued again, since its host was taken for lost, has ended after all. */
  | { readonly kind: 'late'; readonly job: JobId; readonly path: TaskPath; readonly peer: PeerId }
  /** The root of a job in which this host had work has not been heard for ABANDONED_AFTER_MS. */
  | { readonly kind: 'abandoned'; readonly job: JobId; readonly root: PeerId }
  /** The job is over: tell its waiters, once (only by the ledger). */
  | { readonly kind: 'announce'; readonly job: JobId }
  | {
      readonly kind: 'log'
      readonly level: 'debug' | 'warn'
      readonly message: string
      readonly fields: Record<string, unknown>
    }
