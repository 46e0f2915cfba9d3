import type { Advertisement, Frame } from '../core/frames.ts'
import type { Boot, PeerId } from '../core/ids.ts'

/**
 * Links to the other members of the swarm. There is at most one link per peer, and it exists only after both sides
 * have proven their membership; for a stranger nothing here ever happens.
 */
export interface Network {
  readonly self: PeerId

  /** Listens and begins to look for members. @throws StarlingError CONFIG_INVALID when an address cannot be used. */
  start(handlers: NetworkHandlers): Promise<void>

  /** Closes all links and listeners; idempotent. No handler is called after it resolves. */
  stop(): Promise<void>

  /** Multiaddrs at which this daemon can be dialled, without its peer id. Empty before start. */
  addresses(): string[]

  /**
   * Queues one frame; never blocks. In order per peer; at most once: lost if the link goes down. False when there is
   * no link, or when more than SEND_BUFFER_BYTES_MAX wait on it (the link is then closed: its state will be sent anew).
   */
  send(peer: PeerId, frame: Frame): boolean

  /** Gossips the advertisement: best effort, soft state only. */
  publish(advertisement: Advertisement): void

  /** Hints where a member may be dialled. Idempotent; never trusted beyond a dial that the gate then judges. */
  learn(peer: PeerId, addresses: readonly string[]): void

  /** Addresses at which `peer` was reached or seen, best first. For peer exchange and display. */
  known(peer: PeerId): string[]

  /** Cuts the link to `peer` now; the reconnector will try again unless it is no member any more. */
  disconnect(peer: PeerId, reason: string): void

  /** State of discovery as measured, never assumed. */
  discovery(): Discovery
}

/** Called in order, never re-entrantly, never after `stop` has resolved. They must not throw and not block. */
export interface NetworkHandlers {
  /** A link is up and its control stream carries frames. Called before any frame of the link. */
  linkUp(peer: PeerId, link: LinkInfo): void
  /** The link (with its control stream) is gone. `linkUp` may follow at any time. */
  linkDown(peer: PeerId, reason: string): void
  /** One frame from a member. Byte fields belong to the receiver. */
  frame(peer: PeerId, frame: Frame): void
  /** An advertisement by gossip; `peer` is its proven author. */
  advertisement(peer: PeerId, advertisement: Advertisement): void
}

export interface LinkInfo {
  readonly direction: 'inbound' | 'outbound'
  /** Multiaddr of the other end, without its peer id. */
  readonly remoteAddress: string
  /** Role in the member's certificate. */
  readonly role: Role
}

export type Role = 'submitter' | 'worker' | 'admin'

export interface Discovery {
  readonly mdns: {
    /** `ok`: own queries are heard on the wire; `silent`: sent but not heard back; `failed`: cannot send; `off`: by configuration. */
    readonly state: 'ok' | 'silent' | 'failed' | 'off'
    readonly detail?: string | undefined
  }
  /**
   * Members dialled or being dialled without a link now, with the reason of the last failure. `peer` is empty for a
   * configured address at which nobody has answered yet.
   */
  readonly unreachable: readonly {
    readonly peer: PeerId
    readonly addresses: readonly string[]
    readonly lastError: string
  }[]
  /** Refused inbound links by reason since start (strangers, other swarms, expired certificates). */
  readonly refused: Readonly<Record<string, number>>
}

/** Who this daemon is, handed to the network adapter. */
export interface LocalIdentity {
  readonly peer: PeerId
  /** Ed25519 seed, 32 bytes. Never logged, never sent. */
  readonly seed: Uint8Array
  readonly boot: Boot
}
