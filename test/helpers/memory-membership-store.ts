import { StarlingError } from '../../src/core/errors.ts'
import type { PeerId } from '../../src/core/ids.ts'
import { PEERS_MAX } from '../../src/core/limits.ts'
import type { IssuedToken, MembershipStore, Swarm } from '../../src/ports/membership.ts'

type Member = ReturnType<MembershipStore['members']>[number]

/** The membership store without a disk. Hand the same object to a second daemon to simulate a restart. */
export class MemoryMembershipStore implements MembershipStore {
  #swarm: Swarm | undefined
  readonly #tokens = new Map<string, IssuedToken>()
  readonly #redeemed = new Map<string, Map<PeerId, readonly Uint8Array[]>>()
  readonly #members = new Map<PeerId, Member>()
  /** Set to make every write fail, as a full disk does. */
  failing = false

  swarm(): Swarm | undefined {
    return this.#swarm
  }

  saveSwarm(swarm: Swarm): void {
    this.#write()
    if (this.#swarm !== undefined && Buffer.compare(this.#swarm.publicKey, swarm.publicKey) !== 0)
      throw new StarlingError('ALREADY_MEMBER', 'another swarm is stored')
    this.#swarm = swarm
  }

  saveToken(token: IssuedToken): void {
    this.#write()
    this.#tokens.set(token.id, token)
  }

  token(id: string): IssuedToken | undefined {
    return this.#tokens.get(id)
  }

  tokens(): IssuedToken[] {
    return [...this.#tokens.values()]
  }

  burnToken(id: string, joiner: PeerId, chain: readonly Uint8Array[]): void {
    this.#write()
    const uses = this.#redeemed.get(id) ?? new Map<PeerId, readonly Uint8Array[]>()
    if (!uses.has(joiner)) uses.set(joiner, chain)
    this.#redeemed.set(id, uses)
  }

  redeemed(id: string, joiner: PeerId): readonly Uint8Array[] | undefined {
    return this.#redeemed.get(id)?.get(joiner)
  }

  redemptions(id: string): number {
    return this.#redeemed.get(id)?.size ?? 0
  }

  members(): Member[] {
    return [...this.#members.values()]
  }

  saveMember(member: Member): void {
    this.#write()
    this.#members.delete(member.peer)
    this.#members.set(member.peer, member)
    const [oldest] = this.#members.keys()
    if (this.#members.size > PEERS_MAX && oldest !== undefined) this.#members.delete(oldest)
  }

  #write(): void {
    if (this.failing) throw new StarlingError('STORAGE_FAILED', 'the disk is full')
  }
}
