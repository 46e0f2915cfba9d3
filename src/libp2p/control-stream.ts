import { once } from 'node:events'
import type { Stream } from '@libp2p/interface'
import type { Frame } from '../core/frames.ts'
import { FRAME_BYTES_MAX } from '../core/limits.ts'
import { decodeFrame, encodeFrame, FRAME_HEADER_BYTES } from '../wire/frame-codec.ts'

/**
 * Bytes that may wait for a peer that does not read. A link that needs more is of no use: it is cut, and its state is
 * sent anew when it is back. The same as for a job's largest burst of inputs at one peer.
 */
export const SEND_BUFFER_BYTES_MAX = 64 * 1024 * 1024

/** Frames collected within one microtask become one write; at this size it is made at once, to bound its copy. */
export const WRITE_BYTES_MAX = 64 * 1024

/** Sent frames that may stay at the front of the queue: moving it for each write would cost its square. */
const SENT_FRAMES_KEPT_MAX = 4_096

/** Bytes of the length field. */
const LENGTH_BYTES = 3

export interface ControlStreamEvents {
  /** In order. */
  frame(frame: Frame): void
  /** A frame of a type that this version does not know. */
  unknown(type: number): void
  /** Bytes that are no frame, or a length over FRAME_BYTES_MAX. Nothing more is read; the owner cuts the link. */
  malformed(error: Error): void
  /** The stream is gone, for whatever reason. Once. */
  closed(reason: string): void
}

/** Frames over one libp2p stream: 3-byte length (big-endian) of type and body, type byte, body. */
export class ControlStream {
  readonly #stream: Stream
  readonly #events: ControlStreamEvents
  #outgoing: Uint8Array[] = []
  /** Frames at the front of `#outgoing` that are with the connection already. */
  #sent = 0
  #outgoingBytes = 0
  #flushScheduled = false
  #incoming: Uint8Array[] = []
  #incomingBytes = 0
  /** Bytes of the next frame with its header; FRAME_HEADER_BYTES until its length is known. */
  #needed = FRAME_HEADER_BYTES
  #open = true

  /** Listens at once: no byte may arrive before. */
  constructor(stream: Stream, events: ControlStreamEvents) {
    this.#stream = stream
    this.#events = events
    stream.addEventListener('close', event => this.#closed(event.error?.message ?? 'closed by the other side'))
    // The protocol has no half-closed state: half a stream is a broken one.
    stream.addEventListener('remoteCloseWrite', () => this.abort('ended by the other side'))
    stream.addEventListener('drain', () => this.#flush())
    stream.addEventListener('message', event => this.#receive(event.data.subarray()))
    if (stream.status !== 'open') queueMicrotask(() => this.#closed('closed before use'))
  }

  /** Bytes accepted by `send` that the connection has not taken yet. */
  get waitingBytes(): number {
    return this.#outgoingBytes + this.#stream.writeBufferLength
  }

  /** Queues a frame. False when the stream is gone or SEND_BUFFER_BYTES_MAX would be exceeded. @throws FrameError */
  send(frame: Frame): 'queued' | 'closed' | 'full' {
    if (!this.#open) return 'closed'
    const encoded = encodeFrame(frame)
    if (this.waitingBytes + encoded.length > SEND_BUFFER_BYTES_MAX) return 'full'
    this.#outgoing.push(encoded)
    this.#outgoingBytes += encoded.length
    if (this.#outgoingBytes >= WRITE_BYTES_MAX) this.#flush()
    else if (!this.#flushScheduled) {
      this.#flushScheduled = true
      queueMicrotask(() => {
        this.#flushScheduled = false
        this.#flush()
      })
    }
    return 'queued'
  }

  abort(reason: string): void {
    this.#stream.abort(new Error(reason))
  }

  /**
   * Ends the stream after all that was queued. Resolves when the other side has read it all (it answers the end by its
   * own); rejects when `signal` aborts before.
   */
  async finish(signal: AbortSignal): Promise<void> {
    if (!this.#open) return
    await Promise.all([once(this.#stream, 'close', { signal }), this.#end(signal)])
  }

  async #end(signal: AbortSignal): Promise<void> {
    this.#flush()
    while (this.#open && this.#stream.writableNeedsDrain) {
      signal.throwIfAborted()
      // Not the stream's own onDrain: once resolved it stays so, and this loop would never let go.
      await Promise.race([once(this.#stream, 'drain', { signal }), once(this.#stream, 'close', { signal })])
      this.#flush()
    }
    if (this.#open) await this.#stream.close({ signal })
  }

  #flush(): void {
    while (this.#open && this.#sent < this.#outgoing.length && !this.#stream.writableNeedsDrain) {
      const write = this.#nextWrite()
      try {
        this.#stream.send(write)
      } catch (error) {
        this.abort(error instanceof Error ? error.message : String(error))
        return
      }
    }
  }

  /** One buffer: every part of a list would become its own socket write, muxer header and noise frame. */
  #nextWrite(): Uint8Array {
    const first = this.#sent
    let bytes = 0
    for (; this.#sent < this.#outgoing.length; this.#sent += 1) {
      const length = this.#outgoing[this.#sent]?.length ?? 0
      if (bytes > 0 && bytes + length > WRITE_BYTES_MAX) break
      bytes += length
    }
    const frames = this.#outgoing.slice(first, this.#sent)
    this.#outgoingBytes -= bytes
    if (this.#sent === this.#outgoing.length || this.#sent > SENT_FRAMES_KEPT_MAX) {
      this.#outgoing = this.#outgoing.slice(this.#sent)
      this.#sent = 0
    }
    const [only] = frames
    return frames.length === 1 && only !== undefined ? only : Buffer.concat(frames, bytes)
  }

  #receive(chunk: Uint8Array): void {
    if (!this.#open) return
    this.#incoming.push(chunk)
    this.#incomingBytes += chunk.length
    if (this.#incomingBytes < this.#needed) return
    const [only] = this.#incoming
    const bytes = this.#incoming.length === 1 && only !== undefined ? only : Buffer.concat(this.#incoming)
    const taken = this.#read(bytes)
    const rest = bytes.subarray(taken)
    this.#incoming = rest.length > 0 ? [rest] : []
    this.#incomingBytes = rest.length
  }

  /** Hands out all whole frames; returns the bytes that they took. The length is judged before a byte of the body. */
  #read(bytes: Uint8Array): number {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    this.#needed = FRAME_HEADER_BYTES
    while (this.#open && view.length - at >= FRAME_HEADER_BYTES) {
      const length = view.readUIntBE(at, LENGTH_BYTES)
      if (length < 1 || length > FRAME_BYTES_MAX) {
        this.#malformed(new Error(`frame length ${length}`))
        break
      }
      const end = at + LENGTH_BYTES + length
      if (view.length < end) {
        this.#needed = end - at
        break
      }
      this.#deliver(view.readUInt8(at + LENGTH_BYTES), view.subarray(at + FRAME_HEADER_BYTES, end))
      at = end
    }
    return at
  }

  #deliver(type: number, body: Uint8Array): void {
    let frame: Frame | undefined
    try {
      // A copy: byte fields belong to the receiver and must not keep the whole packet alive.
      frame = decodeFrame(type, new Uint8Array(body))
    } catch (error) {
      this.#malformed(error instanceof Error ? error : new Error(String(error)))
      return
    }
    if (frame === undefined) this.#events.unknown(type)
    else this.#events.frame(frame)
  }

  #malformed(error: Error): void {
    this.#open = false
    this.#events.malformed(error)
    this.abort(`malformed frame: ${error.message}`)
    this.#events.closed(`malformed frame: ${error.message}`)
  }

  #closed(reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.#outgoing = []
    this.#sent = 0
    this.#outgoingBytes = 0
    this.#incoming = []
    this.#events.closed(reason)
  }
}
