import type { Stream } from '@libp2p/interface'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { Frame } from '../../src/core/frames.ts'
import { FRAME_BYTES_MAX } from '../../src/core/limits.ts'
import { ControlStream, SEND_BUFFER_BYTES_MAX, WRITE_BYTES_MAX } from '../../src/libp2p/control-stream.ts'
import { encodeFrame } from '../../src/wire/frame-codec.ts'

/** The side of a libp2p stream that the control stream uses, with the back-pressure in the test's hand. */
class FakeStream extends EventTarget {
  status = 'open'
  writableNeedsDrain = false
  ended = false
  readonly writeBufferLength = 0
  readonly writes: Uint8Array[] = []

  send(data: Uint8Array): boolean {
    this.writes.push(data)
    return !this.writableNeedsDrain
  }

  async close(): Promise<void> {
    this.ended = true
  }

  abort(error: Error): void {
    if (this.status !== 'open') return
    this.status = 'aborted'
    this.dispatchEvent(Object.assign(new Event('close'), { error }))
  }

  drain(): void {
    this.writableNeedsDrain = false
    this.dispatchEvent(new Event('drain'))
  }

  arrive(...parts: Uint8Array[]): void {
    for (const part of parts) this.dispatchEvent(Object.assign(new Event('message'), { data: part }))
  }
}

const beat = (sequence: number): Frame => ({ kind: 'heartbeat', sequence })
const settle = (bytes: number): Frame => ({
  kind: 'settle',
  job: 'a'.repeat(26),
  obligation: '0:1',
  outcome: 'completed',
  result: new Uint8Array(bytes),
  parts: 0,
  records: [],
  endedAgoMs: 0
})

describe('a control stream', () => {
  let raw: FakeStream
  let control: ControlStream
  let frames: Frame[]
  let log: string[]

  beforeEach(() => {
    raw = new FakeStream()
    frames = []
    log = []
    control = new ControlStream(raw as unknown as Stream, {
      frame: frame => frames.push(frame),
      unknown: type => log.push(`unknown ${type}`),
      malformed: () => log.push('malformed'),
      closed: () => log.push('closed')
    })
  })

  test('makes one write of all frames of one turn', async () => {
    for (let sequence = 1; sequence <= 100; sequence += 1) expect(control.send(beat(sequence))).toBe('queued')
    expect(raw.writes).toHaveLength(0)
    await Promise.resolve()
    expect(raw.writes).toHaveLength(1)
    raw.arrive(...raw.writes)
    expect(frames).toEqual(Array.from({ length: 100 }, (_, index) => beat(index + 1)))
  })

  test('does not collect more than the bound of one write, except for one big frame', async () => {
    for (let count = 0; count < 10; count += 1) control.send(settle(WRITE_BYTES_MAX / 3))
    control.send(settle(WRITE_BYTES_MAX * 4))
    await Promise.resolve()
    const lengths = raw.writes.map(({ length }) => length)
    expect(lengths.filter(length => length > WRITE_BYTES_MAX)).toHaveLength(1)
    raw.arrive(...raw.writes)
    expect(frames).toHaveLength(11)
  })

  test('reads frames however they are cut into packets', () => {
    const bytes = Buffer.concat([encodeFrame(beat(1)), encodeFrame(settle(300)), encodeFrame(beat(3))])
    for (const size of [1, 2, 3, 5, 64, bytes.length]) {
      frames.length = 0
      for (let at = 0; at < bytes.length; at += size) raw.arrive(bytes.subarray(at, at + size))
      expect(frames).toEqual([beat(1), settle(300), beat(3)])
    }
    expect(log).toEqual([])
  })

  test('hands out bytes that nobody else writes to', () => {
    const bytes = Buffer.from(encodeFrame(settle(300)))
    raw.arrive(bytes)
    bytes.fill(255)
    const [frame] = frames
    expect(frame?.kind === 'settle' && frame.result.every(byte => byte === 0)).toBe(true)
  })

  test('a frame of the largest size is read, one byte more is malformed before its body comes', () => {
    const header = (length: number): Buffer => Buffer.from([length >>> 16, (length >>> 8) & 255, length & 255, 99])
    raw.arrive(header(FRAME_BYTES_MAX), new Uint8Array(FRAME_BYTES_MAX - 1))
    expect(log).toEqual(['unknown 99'])
    raw.arrive(header(FRAME_BYTES_MAX + 1))
    expect(log).toEqual(['unknown 99', 'malformed', 'closed'])
    expect(raw.status).toBe('aborted')
  })

  test.each([
    ['an empty frame', Buffer.from([0, 0, 0, 1])],
    ['a body that is no protobuf', Buffer.from([0, 0, 3, 1, 255, 255])],
    ['a body that breaks the schema', Buffer.concat([Buffer.from([0, 0, 3, 10]), Buffer.from([10, 0])])]
  ])('%s ends the stream, and nothing behind it is read', (_what, bytes) => {
    raw.arrive(Buffer.concat([encodeFrame(beat(1)), bytes, encodeFrame(beat(2))]))
    expect(frames).toEqual([beat(1)])
    expect(log).toEqual(['malformed', 'closed'])
    raw.arrive(encodeFrame(beat(3)))
    expect(frames).toEqual([beat(1)])
  })

  test('a frame of an unknown type is passed over', () => {
    raw.arrive(Buffer.concat([Buffer.from([0, 0, 2, 200, 7]), encodeFrame(beat(2))]))
    expect(log).toEqual(['unknown 200'])
    expect(frames).toEqual([beat(2)])
  })

  test('keeps what the peer does not read up to the bound, in order, and refuses one frame more', async () => {
    raw.writableNeedsDrain = true
    const frame = settle(1024 * 1024)
    const size = encodeFrame(frame).length
    const fits = Math.floor(SEND_BUFFER_BYTES_MAX / size)
    for (let count = 0; count < fits; count += 1) expect(control.send(frame)).toBe('queued')
    expect(control.send(frame)).toBe('full')
    expect(control.waitingBytes).toBe(fits * size)
    expect(raw.writes).toHaveLength(0)
    raw.drain()
    expect(raw.writes.reduce((sum, { length }) => sum + length, 0)).toBe(fits * size)
    expect(control.waitingBytes).toBe(0)
    expect(control.send(frame)).toBe('queued')
  })

  test('stops writing when the stream is full, and goes on when it drains', async () => {
    raw.writableNeedsDrain = true
    const sent = Array.from({ length: 20_000 }, (_, index) => beat(index))
    for (const frame of sent) control.send(frame)
    await Promise.resolve()
    expect(raw.writes).toHaveLength(0)
    raw.drain()
    raw.arrive(...raw.writes)
    expect(frames).toEqual(sent)
  })

  test('half a stream is a broken one', () => {
    raw.dispatchEvent(new Event('remoteCloseWrite'))
    expect(log).toEqual(['closed'])
    expect(control.send(beat(1))).toBe('closed')
  })

  test('tells its end once', () => {
    raw.abort(new Error('reset'))
    control.abort('again')
    expect(log).toEqual(['closed'])
  })

  test('ends when the other side has read everything, or when it is told not to wait longer', async () => {
    raw.writableNeedsDrain = true
    control.send(beat(1))
    await expect(control.finish(AbortSignal.timeout(20))).rejects.toThrow()
    let finished = false
    const finish = control.finish(AbortSignal.timeout(5_000)).then(() => {
      finished = true
    })
    raw.drain()
    await vi.waitFor(() => expect(raw.ended).toBe(true))
    expect(raw.writes).toHaveLength(1)
    expect(finished).toBe(false)
    raw.abort(new Error('ended by the other side'))
    await finish
  })
})
