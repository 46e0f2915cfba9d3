import type { Boot, Engagement, FenceId, JobId, ObligationId, PeerId, TaskPath } from './ids.ts'

/**
 * What daemons say to each other on the control stream of a link, as plain values (termination.md 1.6.4).
 *
 * Delivery: in order while a link lives; a frame may be lost when the link goes down, and is then sent again from the
 * sender's state. Handlers must bear loss, duplicates and any delay. `wire/` turns these values into protobuf.
 */
export type Frame = MembershipFrame | EngagementFrame | PlacementFrame | ObligationFrame

export type MembershipFrame = Hello | Heartbeat | HeartbeatAck | Peers | Goodbye | Drain
export type EngagementFrame =
  | Engage
  | Grant
  | Stale
  | Renew
  | Renewed
  | Leave
  | Done
  | Fence
  | Fenced
  | Exclusive
  | Permit
export type PlacementFrame = Reserve | Reserved | Busy | Release
export type ObligationFrame = Handoff | Settle | SettlePart | Settled | Cancel | Relay

export type FrameKind = Frame['kind']

/** What a daemon offers and how busy it is. The newest (incarnation, sequence) of a peer wins. */
export interface Advertisement {
  readonly peer: PeerId
  readonly incarnation: number
  readonly sequence: number
  readonly name: string
  readonly version: string
  readonly capabilities: readonly OfferedCapability[]
  /** Task attempts that execute now. */
  readonly running: number
  /** Task attempts accepted here that wait for a slot, and tasks of this daemon's jobs that wait for a host. */
  readonly queued: number
  /** Multiaddrs at which the daemon listens, without its peer id. */
  readonly addresses: readonly string[]
  readonly drain: DrainState
}

/** `draining`: takes nothing new, and still holds work; `drained`: holds none. */
export const DRAIN_STATES = ['no', 'draining', 'drained'] as const
export type DrainState = (typeof DRAIN_STATES)[number]

export interface OfferedCapability {
  readonly name: string
  readonly slots: number
  /** Slots that are neither running a task nor reserved. */
  readonly free: number
}

/** First frame in both directions of every link: state exchange, so that nothing depends on one publish. */
export interface Hello {
  readonly kind: 'hello'
  readonly boot: Boot
  readonly advertisement: Advertisement
}

/** Sent every HEARTBEAT_INTERVAL_MS on every link. `sequence` is echoed, so the sender can measure the round trip. */
export interface Heartbeat {
  readonly kind: 'heartbeat'
  readonly sequence: number
}

export interface HeartbeatAck {
  readonly kind: 'heartbeatAck'
  readonly sequence: number
}

/** Peer exchange: addresses of members that the sender is linked with. Hints, tried only after the gate agrees. */
export interface Peers {
  readonly kind: 'peers'
  readonly peers: readonly { readonly peer: PeerId; readonly addresses: readonly string[] }[]
}

/**
 * An admin asks the receiver to take no new work, to give back what has not begun, and to let the rest end or be moved
 * within `deadlineMs`; `end` takes the request back.
 */
export interface Drain {
  readonly kind: 'drain'
  readonly deadlineMs: number
  readonly end: boolean
}

/** The sender stops now; it is to be shown as left, not as suspect. */
export interface Goodbye {
  readonly kind: 'goodbye'
}

/** Asks the root for an engagement. `lost` is the highest engagement of this boot whose executors are all reaped. */
export interface Engage {
  readonly kind: 'engage'
  readonly job: JobId
  readonly boot: Boot
  readonly lost: Engagement
  /** Sender's monotonic clock, echoed in the grant: the lease runs from here. */
  readonly sentAt: number
}

/** Grants or confirms an engagement. `fenced` is adopted only together with a new engagement (C8). */
export interface Grant {
  readonly kind: 'grant'
  readonly job: JobId
  readonly engagement: Engagement
  readonly boot: Boot
  readonly sentAt: number
  readonly fenced: readonly FencedPeer[]
  readonly pendingFences: readonly PendingFence[]
}

/** All engagements of `peer` up to `upTo` are fenced. */
export interface FencedPeer {
  readonly peer: PeerId
  readonly upTo: Engagement
}

export interface PendingFence {
  readonly fence: FenceId
  readonly peer: PeerId
  readonly cause: FenceCause
}

/**
 * What a fence means for the tasks that were handed to the lost engagement (C11). `left`: its host gave it up in order;
 * they are issued again at no cost. `lost`: each costs one of LOSSES_MAX. `final`: the job has lost too many hosts; they
 * are written off.
 */
export const FENCE_CAUSES = ['left', 'lost', 'final'] as const
export type FenceCause = (typeof FENCE_CAUSES)[number]

/** Answer to an ENGAGE of a boot that is not the newest one known: take `incarnation + 1` and ask again (C2). */
export interface Stale {
  readonly kind: 'stale'
  readonly job: JobId
  readonly boot: Boot
  readonly incarnation: number
}

/** Renews the sender's leases with one root, all jobs in one frame; also carries progress as a soft hint. */
export interface Renew {
  readonly kind: 'renew'
  readonly boot: Boot
  readonly sentAt: number
  readonly items: readonly RenewItem[]
}

export interface RenewItem {
  readonly job: JobId
  readonly engagement: Engagement
  /** Attempts that execute here now. */
  readonly running: number
  /** Attempts accepted here that have not begun. */
  readonly queued: number
  /** Attempts that ended here since the engagement began. */
  readonly ended: number
  /** Those of them that failed. */
  readonly failed: number
  /** Children spawned here since the engagement began. */
  readonly spawned: number
}

/** Answer to RENEW. A job of the request that is in no list: no information. */
export interface Renewed {
  readonly kind: 'renewed'
  readonly boot: Boot
  readonly sentAt: number
  readonly items: readonly {
    readonly job: JobId
    readonly engagement: Engagement
    readonly pendingFences: readonly PendingFence[]
  }[]
  /** Jobs in which the sender's engagement is fenced or being revoked. */
  readonly lost: readonly JobId[]
  /** Jobs that are over or unknown to the root. */
  readonly done: readonly JobId[]
}

/** The sender has reaped all executors of the job and gives the engagement up (C12). */
export interface Leave {
  readonly kind: 'leave'
  readonly job: JobId
  readonly engagement: Engagement
  readonly boot: Boot
}

/** The job is over (only from its root): kill what is left, forget it. */
export interface Done {
  readonly kind: 'done'
  readonly job: JobId
}

/** (peer, engagements up to `fence`) is lost: cancel what it owned, issue again what was sent to it, then answer FENCED. */
export interface Fence {
  readonly kind: 'fence'
  readonly job: JobId
  readonly fence: FenceId
  readonly peer: PeerId
  readonly cause: FenceCause
  /** The receiver's engagement that this is for; ignored when it is not current. */
  readonly yourEngagement: Engagement
}

export interface Fenced {
  readonly kind: 'fenced'
  readonly job: JobId
  readonly fence: FenceId
  readonly engagement: Engagement
}

/** Asks the root for leave to have an exclusive task begun under this obligation; repeated until PERMIT (C5). */
export interface Exclusive {
  readonly kind: 'exclusive'
  readonly job: JobId
  readonly obligation: ObligationId
}

/** No fence is open: whatever ran under an earlier obligation for the task is gone everywhere. */
export interface Permit {
  readonly kind: 'permit'
  readonly job: JobId
  readonly obligation: ObligationId
}

/** Owner asks a host for up to `count` slots; the host grants them as they fall free (late binding, placement.md 3.3). */
export interface Reserve {
  readonly kind: 'reserve'
  readonly request: number
  readonly job: JobId
  readonly root: PeerId
  readonly capability: string
  readonly count: number
}

/** `slots` slots are held for `request` for RESERVATION_TTL_MS. Work for them must name `engagement`. */
export interface Reserved {
  readonly kind: 'reserved'
  readonly request: number
  readonly job: JobId
  readonly engagement: Engagement
  readonly slots: number
}

/** The host does not take this request (too many waiting, capability gone, leaving): ask others. */
export interface Busy {
  readonly kind: 'busy'
  readonly request: number
  readonly job: JobId
}

/** Gives back `slots` reserved slots; `all` also ends the request. */
export interface Release {
  readonly kind: 'release'
  readonly request: number
  readonly job: JobId
  readonly slots: number
  readonly all: boolean
}

/** What is to be run. `input` is JSON text in UTF-8. */
export interface TaskSpec {
  readonly path: TaskPath
  readonly capability: string
  readonly input: Uint8Array
  /** W3C trace context, "" when there is none. */
  readonly traceparent: string
  /** Undefined: DEFAULT_POLICY. */
  readonly policy?: TaskPolicy | undefined
}

/** What the owner of a task does when it fails, is lost or takes too long. */
export interface TaskPolicy {
  /** Never begun while an earlier attempt of it might still run anywhere, however that one was lost. */
  readonly exclusive: boolean
  /** Attempts that may fail in all; at least 1. */
  readonly attemptsMax: number
  /** Wait before the second attempt; doubled for each later one, up to BACKOFF_MS_MAX. */
  readonly backoffMs: number
  /** From when its owner first owed it until it must have settled, all attempts included; 0: none. */
  readonly deadlineMs: number
}

export const DEFAULT_POLICY: TaskPolicy = { exclusive: false, attemptsMax: 1, backoffMs: 1_000, deadlineMs: 0 }

/** Hands one attempt of a task to a host. Sent again from state; the host drops what it has seen. */
export interface Handoff {
  readonly kind: 'handoff'
  readonly job: JobId
  readonly obligation: ObligationId
  readonly toEngagement: Engagement
  readonly ownerEngagement: Engagement
  readonly root: PeerId
  readonly request: number
  readonly task: TaskSpec
  /** Fencing token: attempt numbers from the root task down to this one, compared lexicographically (C6). */
  readonly attempts: readonly number[]
}

/**
 * How an attempt ended. `returned`: it may be tried again by its owner under a new obligation. `late`: its host was taken
 * for lost, the task was issued again, and then its end became known after all: shown, never counted.
 */
export const OUTCOMES = ['completed', 'failed', 'cancelled', 'returned', 'lost', 'late'] as const
export type Outcome = (typeof OUTCOMES)[number]

export interface TaskError {
  readonly code: string
  readonly message: string
}

/**
 * Ends an obligation: the attempt and everything spawned by it is over (the one signal of Dijkstra-Scholten).
 * Kept and sent again until SETTLED (C9). `records` are the encoded records of the settled subtree, opaque on the way.
 */
export interface Settle {
  readonly kind: 'settle'
  readonly job: JobId
  readonly obligation: ObligationId
  readonly outcome: Outcome
  /** JSON text in UTF-8, empty when there is none. */
  readonly result: Uint8Array
  readonly error?: TaskError | undefined
  /** SETTLE-PART frames that belong to this settle and were sent before it. */
  readonly parts: number
  readonly records: readonly Uint8Array[]
  /** Milliseconds since the last body of the subtree ended, at the moment of sending. */
  readonly endedAgoMs: number
}

export interface SettlePart {
  readonly kind: 'settlePart'
  readonly job: JobId
  readonly obligation: ObligationId
  readonly index: number
  readonly records: readonly Uint8Array[]
}

/** The owner has committed the settle, or does not know the obligation: the sender may forget it. */
export interface Settled {
  readonly kind: 'settled'
  readonly job: JobId
  readonly obligation: ObligationId
}

export interface Cancel {
  readonly kind: 'cancel'
  readonly job: JobId
  readonly obligation: ObligationId
  readonly toEngagement: Engagement
  readonly ownerEngagement: Engagement
}

/**
 * Carries a frame between two members that have no link, by way of the job's root, which is linked with every engaged
 * host (C1). `from` is the sender as the root has authenticated it. Never nested.
 */
export interface Relay {
  readonly kind: 'relay'
  readonly job: JobId
  readonly from: PeerId
  readonly to: PeerId
  readonly frame: RelayedFrame
}

/** Frames that may be relayed: they are safe by the names in them, however late they come. */
export type RelayedFrame = Handoff | Settle | SettlePart | Settled | Cancel

/** What is remembered of a task after its end; encoded by `wire/`, folded by the root into the job. */
export interface TaskRecord {
  readonly path: TaskPath
  readonly capability: string
  readonly peer: PeerId
  readonly outcome: Outcome
  readonly attempt: number
  /** Lower-case hex SHA-256 of the result, "" when there is none. */
  readonly resultDigest: string
  /** The result itself when it is at most RECORD_RESULT_BYTES_MAX long, else empty. */
  readonly result: Uint8Array
  /** Wall clock of the executing host, milliseconds since 1970; 0 when the body never began. */
  readonly startedAt: number
  readonly endedAt: number
  readonly error?: TaskError | undefined
}
