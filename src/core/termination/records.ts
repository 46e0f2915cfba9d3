import type { FenceCause, Outcome, TaskError, TaskPolicy } from '../frames.ts'
import type { Boot, Engagement, FenceId, JobId, Monotonic, ObligationId, PeerId, TaskPath } from '../ids.ts'
import type { Reissue } from './obligation.ts'

/**
 * What the root of a job writes into the journal; its state is the fold of these (C7). A record is durable before any
 * effect of the step that made it leaves the daemon. JSON-serialisable, but for `Uint8Array` fields.
 */
export type LedgerRecord =
  | SubmittedRecord
  | { readonly kind: 'granted'; readonly peer: PeerId; readonly engagement: Engagement; readonly boot: Boot }
  /** The attempt `obligation` is given to one host. */
  | {
      readonly kind: 'bound'
      readonly obligation: ObligationId
      readonly path: TaskPath
      readonly attempt: number
      readonly to: PeerId
      readonly toEngagement: Engagement
      readonly request: number
      /** The recorded decision, as shown to users. */
      readonly placement: unknown
    }
  | {
      readonly kind: 'settled'
      readonly obligation: ObligationId
      readonly outcome: Exclude<Outcome, 'returned' | 'late'>
      readonly result: Uint8Array
      readonly error: TaskError | undefined
      readonly records: readonly Uint8Array[]
      /** When the last body of the subtree ended, by the root's monotonic clock; void after a restart. */
      readonly lastEndedAt: Monotonic
    }
  /** The root task is to be tried again, as `obligation`. */
  | { readonly kind: 'reissued'; readonly obligation: ObligationId; readonly why: Reissue }
  /** An attempt of the root task that had been issued again has ended after all: encoded record of its end. */
  | { readonly kind: 'late'; readonly record: Uint8Array }
  | { readonly kind: 'fence-opened'; readonly fence: FenceId; readonly peer: PeerId; readonly cause: FenceCause }
  | { readonly kind: 'fence-answered'; readonly fence: FenceId; readonly peer: PeerId }
  | { readonly kind: 'cancel-requested' }
  | { readonly kind: 'announced' }

export interface SubmittedRecord {
  readonly kind: 'submitted'
  readonly job: JobId
  readonly capability: string
  /** JSON text in UTF-8. */
  readonly input: Uint8Array
  /** The only peer that may run the root task. */
  readonly on: PeerId | undefined
  readonly traceparent: string
  /** Undefined: DEFAULT_POLICY. Its deadline counts from `submittedAt`. */
  readonly policy?: TaskPolicy | undefined
  /** Wall clock, milliseconds since 1970. */
  readonly submittedAt: number
}
