import type { PeerId } from '../core/ids.ts'
import { PEERS_MAX } from '../core/limits.ts'
import type { Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import type { MembershipStore } from '../ports/membership.ts'

type Member = ReturnType<MembershipStore['members']>[number]

/** Members that were linked once, kept on disk so that a restart does not depend on discovery. At most PEERS_MAX. */
export class MemberBook {
  readonly #store: MembershipStore
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #members: Map<PeerId, Member>

  constructor(init: { store: MembershipStore; clock: Clock; logger: Logger }) {
    this.#store = init.store
    this.#clock = init.clock
    this.#logger = init.logger
    this.#members = new Map(init.store.members().map(member => [member.peer, member]))
  }

  has(peer: PeerId): boolean {
    return this.#members.has(peer)
  }

  all(): Member[] {
    return [...this.#members.values()]
  }

  linked(peer: PeerId, addresses: string[]): void {
    const known = this.#members.get(peer)
    const kept = addresses.length > 0 ? addresses : (known?.addresses ?? [])
    this.#save({ peer, name: known?.name ?? '', addresses: kept, lastSeen: this.#clock.wall() })
  }

  /** The member has said its name. */
  named(peer: PeerId, name: string): void {
    const known = this.#members.get(peer)
    if (known !== undefined && known.name !== name) this.#save({ ...known, name, lastSeen: this.#clock.wall() })
  }

  left(peer: PeerId): void {
    const known = this.#members.get(peer)
    if (known !== undefined) this.#save({ ...known, lastSeen: this.#clock.wall() })
  }

  /** A link works without its entry on disk; the store has its own ways to tell that the disk is full. */
  #save(member: Member): void {
    this.#members.delete(member.peer)
    this.#members.set(member.peer, member)
    const [oldest] = this.#members.keys()
    if (this.#members.size > PEERS_MAX && oldest !== undefined) this.#members.delete(oldest)
    try {
      this.#store.saveMember(member)
    } catch (error) {
      this.#logger.warn('member not saved', { peer: member.peer, error: String(error) })
    }
  }
}
