import type { MessageStream } from '@libp2p/interface'
import type { PeerId } from '../core/ids.ts'
import type { Role } from '../ports/network.ts'
import { GateError } from './gate-error.ts'
import { NO_NONCE, type Opening } from './gate-message.ts'

/** The one connection with a peer, as the gate has agreed on it. */
export interface Link {
  readonly peer: PeerId
  /** Name of the link, the same at both sides; hex. */
  readonly nonce: string
  /** Nonce of the other side's boot; hex. */
  readonly boot: string
  readonly direction: 'inbound' | 'outbound'
  /** Multiaddr of the other end, without its peer id. */
  readonly remoteAddress: string
  readonly role: Role
  /** Wall clock at which the other side's membership ends. */
  readonly notAfter: number
  /** The encrypted connection: its end is the end of the link. */
  readonly stream: MessageStream
}

/** One of our own dials that has said hello and waits for the answer. */
interface PendingDial {
  readonly nonce: string
  readonly cancel: (error: GateError) => void
}

/**
 * Exactly one link per pair of peers, without timers: both sides apply the same rule to the same two names.
 *
 * Invariants: at most one entry in `open` per peer, and its stream is open; at most one entry in `pending` per peer,
 * from the hello to the answer of one of our dials. Everything is synchronous, so each decision is atomic.
 */
export class Links {
  readonly #self: PeerId
  readonly #open = new Map<PeerId, Link>()
  readonly #pending = new Map<PeerId, PendingDial>()
  /** Links that the other side holds and we do not: the next dial replaces them. */
  readonly #corpses = new Map<PeerId, string>()
  readonly #opened: (link: Link) => void
  readonly #closed: (link: Link) => void
  #displaced = 0

  /** The callbacks run inside the gate: they must not throw and not close links. */
  constructor(self: PeerId, on: { opened(link: Link): void; closed(link: Link): void }) {
    this.#self = self
    this.#opened = on.opened
    this.#closed = on.closed
  }

  /** Stale links that were replaced. */
  get displaced(): number {
    return this.#displaced
  }

  get(peer: PeerId): Link | undefined {
    const link = this.#open.get(peer)
    return link?.stream.status === 'open' ? link : undefined
  }

  all(): Link[] {
    return [...this.#open.values()]
  }

  /** Before the hello of an own dial. @throws GateError dup-open, dup-pending */
  begin(peer: PeerId, nonce: string, cancel: (error: GateError) => void): { replaces: string } {
    const link = this.get(peer)
    if (link !== undefined) throw new GateError('dup-open', { nonce: link.nonce })
    const pending = this.#pending.get(peer)
    if (pending !== undefined) throw new GateError('dup-pending', { nonce: pending.nonce })
    this.#pending.set(peer, { nonce, cancel })
    const replaces = this.#corpses.get(peer) ?? NO_NONCE
    this.#corpses.delete(peer)
    return { replaces }
  }

  /** After the answer, or the failure, of an own dial. */
  finish(peer: PeerId, nonce: string): void {
    if (this.#pending.get(peer)?.nonce === nonce) this.#pending.delete(peer)
  }

  /**
   * Decides on the hello of an inbound dial: returns when it is to be accepted. A newcomer's always beats our own dial,
   * which it cannot accept before it is a member. @throws GateError dup-open with the name of the link that stands,
   * dup-pending with the name of our own dial.
   */
  admit(peer: PeerId, opening: Opening, newcomer = false): void {
    const link = this.get(peer)
    if (link !== undefined) {
      const stale = opening.boot !== link.boot || opening.replaces === link.nonce
      if (!stale) throw new GateError('dup-open', { nonce: link.nonce })
      this.#displaced += 1
      this.#remove(link)
      link.stream.abort(new GateError('displaced'))
    }
    const pending = this.#pending.get(peer)
    if (pending === undefined) return
    if (this.#self < peer && !newcomer) throw new GateError('dup-pending', { nonce: pending.nonce })
    this.#pending.delete(peer)
    pending.cancel(new GateError('dup-lost'))
  }

  /** From now on this is the link with its peer, until its stream closes. */
  claim(link: Link): void {
    this.#open.set(link.peer, link)
    link.stream.addEventListener('close', () => this.#remove(link))
    this.#opened(link)
    if (link.stream.status !== 'open') this.#remove(link)
  }

  /**
   * The other side refused our dial because of a link `nonce`. True when we have no such link: it holds a corpse, and
   * the next dial will say so, at once.
   */
  noteCorpse(peer: PeerId, nonce: string): boolean {
    if (this.get(peer) !== undefined) return false
    this.#corpses.set(peer, nonce)
    return true
  }

  #remove(link: Link): void {
    if (this.#open.get(link.peer) !== link) return
    this.#open.delete(link.peer)
    this.#closed(link)
  }
}
