import type { FencedPeer, TaskError } from '../frames.ts'
import type { Boot, Engagement, FenceId, JobId, ObligationId, PeerId, TaskPath } from '../ids.ts'

/**
 * What the root of a job writes into the journal; its state is the fold of these (C7). A record is durable before any
 * effect of the step that made it leaves the daemon. JSON-serialisable; `Uint8Array` fields are kept as bytes.
 */
export type LedgerRecord =
  | {
      readonly kind: 'submitted'
      readonly job: JobId
      readonly capability: string
      readonly input: Uint8Array
      readonly on: PeerId | undefined
      readonly traceparent: string
      /** Wall clock, milliseconds since 1970. */
      readonly submittedAt: number
    }
  | { readonly kind: 'granted'; readonly peer: PeerId; readonly engagement: Engagement; readonly boot: Boot }
  | {
      readonly kind: 'bound'
      readonly obligation: ObligationId
      readonly path: TaskPath
      readonly attempt: number
      readonly to: PeerId
      readonly toEngagement: Engagement
      readonly request: number
      /** The recorded decision, as shown to users (Placement). */
      readonly placement: unknown
    }
  | {
      readonly kind: 'settled'
      readonly obligation: ObligationId
      readonly path: TaskPath
      readonly outcome: 'completed' | 'failed' | 'cancelled' | 'returned' | 'lost'
      readonly result: Uint8Array
      readonly error: TaskError | undefined
      readonly records: readonly Uint8Array[]
    }
  | {
      readonly kind: 'fence-opened'
      readonly fence: FenceId
      readonly peer: PeerId
      readonly waiting: readonly { readonly peer: PeerId; readonly engagement: Engagement }[]
    }
  | { readonly kind: 'fence-answered'; readonly fence: FenceId; readonly peer: PeerId }
  | { readonly kind: 'cancel-requested' }
  | { readonly kind: 'announced'; readonly verdict: string }

export type { FencedPeer }
