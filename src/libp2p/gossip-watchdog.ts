import type { GossipSub } from '@chainsafe/libp2p-gossipsub'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import { STATE_TOPIC } from '../wire/names.ts'
import type { NetworkTiming } from './timing.ts'

const GOSSIP_PROTOCOL_PREFIX = '/meshsub/'

/** Looks in a row at which a sick link is asked to open its gossip streams again. */
const POKES_AT: ReadonlySet<number> = new Set([1, 3, 6])

/** Looks in a row after which a sick link is cut, to be made anew. */
const HANG_UP_AT = 12

/** Own lateness at which no link is judged: then this host is the slow one. */
const LATE_MS = 500

export interface GossipWatchdogInit {
  readonly node: Libp2p
  readonly pubsub: GossipSub
  /** Runs identify on a connection: its end makes libp2p tell gossipsub of the peer again, which reopens its stream. */
  identify(connection: Connection): Promise<unknown>
  readonly clock: Clock
  readonly timing: NetworkTiming
  readonly logger: Logger
}

/**
 * Gossipsub never reopens a stream that was lost alone: the link then carries no gossip, in one direction, for ever.
 * This looks at each link whether a gossip stream is open in both directions and the peer is subscribed. When not, it
 * makes gossipsub open its stream again on the same connection; only when that does not help it cuts the connection.
 */
export class GossipWatchdog {
  readonly #init: GossipWatchdogInit
  readonly #sick = new Map<string, number>()
  #timer: Timer | undefined
  #pokes = 0
  #hangups = 0

  constructor(init: GossipWatchdogInit) {
    this.#init = init
  }

  get pokes(): number {
    return this.#pokes
  }

  get hangups(): number {
    return this.#hangups
  }

  start(): void {
    const { clock, timing } = this.#init
    const dueAt = clock.now() + timing.watchdogMs
    this.#timer = clock.after(timing.watchdogMs, () => {
      this.start()
      if (clock.now() - dueAt < LATE_MS) this.#look()
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #look(): void {
    const { node, pubsub, clock, timing } = this.#init
    const subscribers = new Set(pubsub.getSubscribers(STATE_TOPIC).map(String))
    const connections = node.getConnections()
    const live = new Set(connections.map(({ id }) => id))
    for (const id of this.#sick.keys()) if (!live.has(id)) this.#sick.delete(id)
    for (const connection of connections) {
      // libp2p's time line is wall clock; a jump only delays or hastens one look.
      const age = clock.wall() - connection.timeline.open
      if (connection.status !== 'open' || age < timing.watchdogGraceMs) continue
      const healthy = abortHalfClosed(connection) && subscribers.has(connection.remotePeer.toString())
      if (healthy) this.#sick.delete(connection.id)
      else this.#treat(connection, (this.#sick.get(connection.id) ?? 0) + 1)
    }
  }

  #treat(connection: Connection, looks: number): void {
    const peer = connection.remotePeer.toString()
    this.#sick.set(connection.id, looks)
    if (looks >= HANG_UP_AT) {
      this.#hangups += 1
      this.#sick.delete(connection.id)
      this.#init.logger.warn('gossip stays dead, cutting the link', { peer })
      connection.abort(new Error('gossip dead'))
      return
    }
    if (!POKES_AT.has(looks)) return
    this.#pokes += 1
    this.#init.identify(connection).catch((error: unknown) => {
      this.#init.logger.debug('gossip poke failed', { peer, error: String(error) })
    })
  }
}

/**
 * Whether both directions carry gossip. A half-closed stream is aborted: gossipsub keeps it in its table, and as long
 * as it does, it opens no other.
 */
function abortHalfClosed(connection: Connection): boolean {
  const streams = connection.streams.filter(
    stream => stream.protocol.startsWith(GOSSIP_PROTOCOL_PREFIX) && stream.status === 'open'
  )
  const alive = (stream: Stream): boolean =>
    (stream.direction === 'outbound' ? stream.writeStatus : stream.remoteWriteStatus) === 'writable'
  for (const stream of streams) if (!alive(stream)) stream.abort(new Error('half closed'))
  const has = (direction: Stream['direction']): boolean =>
    streams.some(stream => stream.direction === direction && alive(stream))
  return has('outbound') && has('inbound')
}
