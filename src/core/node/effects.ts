import type { Advertisement, Frame, TaskError, TaskSpec } from '../frames.ts'
import type { JobId, ObligationId, PeerId, TaskPath } from '../ids.ts'
import type { MemberState } from '../membership/index.ts'
import type { LedgerRecord, LedgerState } from '../termination/index.ts'

/** What a daemon must do after a step, in this order, and after the step's records are durable. */
export type NodeEffect =
  | { readonly kind: 'send'; readonly to: PeerId; readonly frame: Frame }
  | { readonly kind: 'publish'; readonly advertisement: Advertisement }
  /** Cut the link to a peer that has gone silent. */
  | { readonly kind: 'cut'; readonly peer: PeerId; readonly reason: string }
  /** Addresses heard from other members: hints for the reconnector. */
  | { readonly kind: 'learn'; readonly peer: PeerId; readonly addresses: readonly string[] }
  /** Start a body; report its end with `bodyEnded`. */
  | {
      readonly kind: 'start'
      readonly job: JobId
      readonly obligation: ObligationId
      readonly task: TaskSpec
      /** Fencing token: attempt numbers from the root task down; the last one is this task's. */
      readonly attempts: readonly number[]
    }
  /** End a body by force, at once when `hard`: then its lease is over, and no time is left for it to clean up. */
  | {
      readonly kind: 'kill'
      readonly job: JobId
      readonly obligation: ObligationId
      readonly reason: string
      readonly hard: boolean
    }
  | {
      readonly kind: 'child-settled'
      readonly job: JobId
      readonly parent: ObligationId
      readonly path: string
      readonly outcome: 'completed' | 'failed' | 'cancelled' | 'lost'
      readonly result: Uint8Array
      readonly error: TaskError | undefined
    }
  /** An attempt that had been issued again, since its host was taken for lost, has ended after all. */
  | { readonly kind: 'late'; readonly job: JobId; readonly path: TaskPath; readonly peer: PeerId }
  /** The root of a job in which this host had work has not been heard for a minute. */
  | { readonly kind: 'abandoned'; readonly job: JobId; readonly root: PeerId }
  /** The job is over; `state` is final. Comes exactly once per job and life of the daemon. */
  | { readonly kind: 'announce'; readonly job: JobId; readonly state: LedgerState }
  | {
      readonly kind: 'member-changed'
      readonly peer: PeerId
      readonly from: MemberState | undefined
      readonly to: MemberState
    }
  /** This home is a copy of one that lived on: its incarnation must become higher than this one before it may work. */
  | { readonly kind: 'stale-boot'; readonly incarnation: number }
  | {
      readonly kind: 'log'
      readonly level: 'debug' | 'info' | 'warn'
      readonly message: string
      readonly fields: Record<string, unknown>
    }

/** One step's result: the records are to be durable before any of its effects, or of a later step's, is carried out. */
export interface NodeOutput {
  readonly records: readonly { readonly job: JobId; readonly record: LedgerRecord }[]
  readonly effects: readonly NodeEffect[]
}
