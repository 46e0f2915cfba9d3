import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import type { Frame } from '../core/frames.ts'
import type { PeerId } from '../core/ids.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import type { LinkInfo } from '../ports/network.ts'
import { CONTROL_PROTOCOL } from '../wire/names.ts'
import { ControlStream } from './control-stream.ts'
import type { Links } from './links.ts'
import type { NetworkTiming } from './timing.ts'

/** Streams per connection and direction: the one in use, and the one that replaces it before its end is noticed. */
const STREAMS_PER_CONNECTION_MAX = 2

/** Tries to open the stream again on a live connection, before the connection itself is given up. */
const OPEN_TRIES_MAX = 3

/** One try to open a stream: negotiation is one round trip. */
const OPEN_TIMEOUT_MS = 2_000

export interface ControlStreamsInit {
  readonly node: Libp2p
  readonly links: Links
  readonly clock: Clock
  readonly timing: NetworkTiming
  readonly logger: Logger
  /** Exactly once per stream, before any of its frames. */
  up(peer: PeerId, link: LinkInfo): void
  /** Exactly once for each `up`. */
  down(peer: PeerId, reason: string): void
  frame(peer: PeerId, frame: Frame): void
}

interface Channel {
  readonly connection: Connection
  readonly stream: ControlStream
}

/**
 * One control stream per link. The side that dialled the link opens it, and opens it again when it alone was lost; the
 * other side only accepts, and a newer one replaces the older. A connection without one is cut.
 */
export class ControlStreams {
  readonly #init: ControlStreamsInit
  readonly #channels = new Map<PeerId, Channel>()
  readonly #deadlines = new Map<Connection, Timer>()
  readonly #timers = new Set<Timer>()
  #stopped = false
  readonly counters = { malformedFrames: 0, unknownFrames: 0, sendBufferOverflows: 0, reopenedStreams: 0 }

  constructor(init: ControlStreamsInit) {
    this.#init = init
  }

  async start(): Promise<void> {
    const { node } = this.#init
    node.addEventListener('connection:open', this.#connectionOpened)
    node.addEventListener('connection:close', this.#connectionClosed)
    await node.handle(CONTROL_PROTOCOL, (stream, connection) => this.#use(stream, connection), {
      maxInboundStreams: STREAMS_PER_CONNECTION_MAX,
      maxOutboundStreams: STREAMS_PER_CONNECTION_MAX
    })
  }

  /** Queues a frame; false without a link, or when its buffer is full (then the link is cut). */
  send(peer: PeerId, frame: Frame): boolean {
    const channel = this.#channels.get(peer)
    if (channel === undefined) return false
    const result = channel.stream.send(frame)
    if (result === 'full') {
      this.counters.sendBufferOverflows += 1
      this.#init.logger.warn('send buffer full, cutting the link', { peer, kind: frame.kind })
      channel.connection.abort(new Error('send buffer full'))
    }
    return result === 'queued'
  }

  peers(): PeerId[] {
    return [...this.#channels.keys()]
  }

  /** Ends all streams; waits until the others have read what was queued, for at most `flushMs`. */
  async stop(): Promise<void> {
    this.#stopped = true
    const { node, timing, logger } = this.#init
    node.removeEventListener('connection:open', this.#connectionOpened)
    node.removeEventListener('connection:close', this.#connectionClosed)
    for (const timer of [...this.#timers, ...this.#deadlines.values()]) timer.cancel()
    const signal = AbortSignal.timeout(timing.flushMs)
    const flushes = [...this.#channels].map(async ([peer, { stream }]) => {
      try {
        await stream.finish(signal)
      } catch (error) {
        logger.debug('frames lost at stop', { peer, error: String(error) })
      }
    })
    await Promise.all(flushes)
  }

  #connectionOpened = (event: CustomEvent<Connection>): void => {
    const connection = event.detail
    this.#expectStream(connection)
    if (connection.direction === 'outbound') void this.#open(connection, 1)
  }

  #connectionClosed = (event: CustomEvent<Connection>): void => {
    this.#deadlines.get(event.detail)?.cancel()
    this.#deadlines.delete(event.detail)
  }

  /** Arms the deadline by which the connection must carry a control stream. */
  #expectStream(connection: Connection): void {
    const { clock, timing } = this.#init
    this.#deadlines.get(connection)?.cancel()
    const timer = clock.after(timing.controlMissingMs, () => {
      this.#deadlines.delete(connection)
      if (this.#channels.get(connection.remotePeer.toString())?.connection !== connection)
        this.#cut(connection, 'no control stream')
    })
    this.#deadlines.set(connection, timer)
  }

  async #open(connection: Connection, attempt: number): Promise<void> {
    const peer = connection.remotePeer.toString()
    try {
      const stream = await connection.newStream(CONTROL_PROTOCOL, { signal: AbortSignal.timeout(OPEN_TIMEOUT_MS) })
      this.#use(stream, connection)
    } catch (error) {
      if (connection.status !== 'open' || this.#stopped) return
      this.#init.logger.debug('control stream not opened', { peer, attempt, error: String(error) })
      if (attempt >= OPEN_TRIES_MAX) this.#cut(connection, 'control stream cannot be opened')
      else this.#later(this.#init.timing.reopenMs * 2 ** attempt, () => this.#open(connection, attempt + 1))
    }
  }

  #use(raw: Stream, connection: Connection): void {
    const peer = connection.remotePeer.toString()
    const link = this.#init.links.get(peer)
    // A stream of a connection that was replaced meanwhile must not displace the one of its successor.
    if (link === undefined || this.#stopped || connection.status !== 'open' || raw.status !== 'open') {
      raw.abort(new Error('no link'))
      return
    }
    const old = this.#channels.get(peer)
    if (old !== undefined) this.#lost(peer, old, 'replaced by a newer stream')
    old?.stream.abort('replaced by a newer stream')
    this.#deadlines.get(connection)?.cancel()
    this.#deadlines.delete(connection)
    const { direction, remoteAddress, role } = link
    this.#init.up(peer, { direction, remoteAddress, role })
    const stream = new ControlStream(raw, {
      frame: frame => {
        if (this.#channels.get(peer) === channel) this.#init.frame(peer, frame)
      },
      unknown: type => {
        this.counters.unknownFrames += 1
        this.#init.logger.debug('frame of an unknown type', { peer, type })
      },
      malformed: error => {
        this.counters.malformedFrames += 1
        this.#init.logger.warn('malformed frame, cutting the link', { peer, error: error.message })
        this.#cut(connection, 'malformed frame')
      },
      closed: reason => this.#lost(peer, channel, reason)
    })
    const channel: Channel = { connection, stream }
    this.#channels.set(peer, channel)
  }

  #lost(peer: PeerId, channel: Channel, reason: string): void {
    if (this.#channels.get(peer) !== channel) return
    this.#channels.delete(peer)
    this.#init.down(peer, reason)
    const { connection } = channel
    if (this.#stopped || connection.status !== 'open') return
    this.#expectStream(connection)
    if (connection.direction !== 'outbound') return
    this.#later(this.#init.timing.reopenMs, () => {
      if (connection.status !== 'open' || this.#channels.has(peer)) return
      this.counters.reopenedStreams += 1
      void this.#open(connection, 1)
    })
  }

  #cut(connection: Connection, reason: string): void {
    if (connection.status === 'open') connection.abort(new Error(reason))
  }

  #later(delayMs: number, run: () => void): void {
    const timer = this.#init.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      if (!this.#stopped) run()
    })
    this.#timers.add(timer)
  }
}
