import type { PeerId } from '../core/ids.ts'
import type { Role } from './network.ts'

/**
 * What a daemon keeps to prove that it is a member, and to admit others. Synchronous: each write is durable when the
 * call returns (it is made before an answer leaves).
 */
export interface MembershipStore {
  /** The swarm that this daemon belongs to; undefined before it has made or joined one. */
  swarm(): Swarm | undefined
  /** @throws StarlingError ALREADY_MEMBER when another swarm is stored. */
  saveSwarm(swarm: Swarm): void

  /** Stores a token that this daemon will redeem. */
  saveToken(token: IssuedToken): void
  token(id: string): IssuedToken | undefined
  tokens(): IssuedToken[]
  /** Notes that `joiner` has redeemed the token and got `chain`. Idempotent per joiner. */
  burnToken(id: string, joiner: PeerId, chain: readonly Uint8Array[]): void
  /** Chain given to `joiner` for this token before, if any: a lost answer is answered again. */
  redeemed(id: string, joiner: PeerId): readonly Uint8Array[] | undefined
  redemptions(id: string): number

  /** Members linked before, with addresses, so that a restart does not depend on discovery. Bounded by PEERS_MAX. */
  members(): { peer: PeerId; name: string; addresses: string[]; lastSeen: number }[]
  saveMember(member: { peer: PeerId; name: string; addresses: string[]; lastSeen: number }): void
}

export interface Swarm {
  /** Ed25519 public key of the swarm, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Seed of the swarm key; only where certificates are issued. Kept 0600, never sent. */
  readonly seed: Uint8Array | undefined
  /** Own certificate chain, leaf first. */
  readonly chain: readonly Uint8Array[]
  readonly role: Role
}

export interface IssuedToken {
  /** 16 hex digits. */
  readonly id: string
  readonly secret: Uint8Array
  readonly role: Role
  readonly uses: number
  /** Wall clock, milliseconds since 1970. */
  readonly expiresAt: number
}
