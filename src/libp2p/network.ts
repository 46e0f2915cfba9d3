import type { Clock, Random } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import type { MembershipStore, Swarm } from '../ports/membership.ts'
import type { LocalIdentity, Network } from '../ports/network.ts'
import { Adapter } from './adapter.ts'
import type { NetworkTiming } from './timing.ts'
import type { JoinToken } from './token.ts'

export interface Libp2pNetworkInit {
  readonly identity: LocalIdentity
  /** Holds a swarm, or `token` is given. */
  readonly store: MembershipStore
  /** Joins the token's swarm when the store has none; ignored when it has. */
  readonly token?: JoinToken | undefined
  /** Multiaddrs to listen on, without peer id. */
  readonly listen: readonly string[]
  readonly mdns: boolean
  /** Multiaddrs tried for ever, with or without `/p2p/ID`. */
  readonly peers: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** For tests only. */
  readonly timing?: Partial<NetworkTiming> | undefined
}

/** Counts since start, for metrics. */
export interface NetworkCounters {
  /** Frames that were no valid frame; each one cost its sender the link. */
  readonly malformedFrames: number
  /** Frames of a type that this version does not know; dropped. */
  readonly unknownFrames: number
  /** Links cut because more than SEND_BUFFER_BYTES_MAX waited on them. */
  readonly sendBufferOverflows: number
  /** Stale links replaced by a newer one of the same peer. */
  readonly displacedLinks: number
  /** Control streams opened again on a connection that lived on. */
  readonly reopenedStreams: number
  readonly dials: number
  /** Gossip messages that were malformed, of another author, too big or too many. */
  readonly rejectedGossip: number
  /** Times that the gossip watchdog asked for the streams of a link again, and links that it cut. */
  readonly gossipPokes: number
  readonly gossipHangups: number
  /** Times that the mDNS service was restarted. */
  readonly mdnsRestarts: number
}

/** The `Network` port over libp2p, and what only the composition root needs of it. */
export interface Libp2pNetwork extends Network {
  /**
   * Resolves with the swarm when this daemon is a member of it: at once when the store has one, else when the token has
   * been redeemed (the swarm is stored then, and the link to the issuer comes up by itself). Call after `start`.
   * @throws StarlingError TOKEN_REFUSED (final), TIMED_OUT when the issuer was not reached within `timeoutMs` (it is
   * tried further until `stop`), DAEMON_STOPPING when the adapter was stopped, STORAGE_FAILED.
   */
  joined(timeoutMs: number): Promise<Swarm>
  counters(): NetworkCounters
}

/** Makes the adapter; nothing happens before `start`. @throws StarlingError INTERNAL without swarm and token. */
export function libp2pNetwork(init: Libp2pNetworkInit): Libp2pNetwork {
  return new Adapter(init)
}
