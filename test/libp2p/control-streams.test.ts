import type { Stream } from '@libp2p/interface'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain } from '../../src/libp2p/swarm.ts'
import { encodeFrame } from '../../src/wire/frame-codec.ts'
import { CONTROL_PROTOCOL } from '../../src/wire/names.ts'
import { addressOf, type Daemon, newIdentity, Pool, until } from './harness.ts'
import { type RawNode, RawNodes, rawAddress } from './raw-node.ts'

describe('the control stream of a link', () => {
  const pool = new Pool()
  const raws = new RawNodes()
  let alice: Daemon
  let raw: RawNode

  const begin = async (controlMissingMs = 60_000): Promise<void> => {
    alice = await pool.founder({ timing: { controlMissingMs } })
    const swarm = alice.store.swarm()
    if (swarm === undefined) throw new Error('no swarm')
    const identity = newIdentity()
    const subject = publicKeyFromSeed(identity.seed)
    const chain = issueChain(alice.identity, swarm, { subject, role: 'worker', wallMs: Date.now() })
    raw = await raws.start({ swarm: { ...swarm, chain }, identity })
  }
  beforeEach(() => begin())
  afterEach(async () => {
    await Promise.all([pool.stop(), raws.stop()])
  })

  /** Lets the adapter dial the raw member; gives the streams that it opens. */
  const accept = async (): Promise<Stream[]> => {
    const streams: Stream[] = []
    await raw.node.handle(CONTROL_PROTOCOL, stream => {
      stream.addEventListener('message', () => {})
      streams.push(stream)
    })
    alice.network.learn(raw.identity.peer, [rawAddress(raw).replace(/\/p2p.*/, '')])
    await until(() => alice.seen.linked(raw.identity.peer), 'the link')
    return streams
  }

  const kinds = (): string[] => alice.seen.calls.map(({ kind }) => kind)

  test('is opened again by the side that dialled, on the same connection', async () => {
    const streams = await accept()
    streams[0]?.abort(new Error('lost'))
    await until(() => alice.seen.of('up').length === 2, 'the second stream')
    expect(kinds()).toEqual(['up', 'down', 'up'])
    expect(raw.events.opened).toBe(1)
    expect(streams).toHaveLength(2)
    expect(alice.network.counters().reopenedStreams).toBe(1)
    expect(alice.network.send(raw.identity.peer, { kind: 'goodbye' })).toBe(true)
  })

  test('that was closed in one direction only is a lost one', async () => {
    const streams = await accept()
    await streams[0]?.close()
    await until(() => alice.seen.of('up').length === 2, 'the second stream')
  })

  test('is replaced by a newer one of the side that dialled', async () => {
    const connection = await raw.dial(addressOf(alice))
    const first = await raw.control(connection)
    await until(() => alice.seen.linked(raw.identity.peer), 'the link')
    const second = await raw.control(connection)
    await until(() => alice.seen.of('up').length === 2, 'the second stream')
    expect(kinds()).toEqual(['up', 'down', 'up'])
    await until(() => first.status !== 'open', 'the end of the first stream')
    second.send(encodeFrame({ kind: 'heartbeat', sequence: 5 }))
    await until(() => alice.seen.of('frame').length === 1, 'a frame on the second stream')
  })

  test('has to come in time, or the connection is cut', async () => {
    await begin(300)
    const connection = await raw.dial(addressOf(alice))
    expect(connection.status).toBe('open')
    await until(() => connection.status !== 'open', 'the connection to be cut')
    expect(alice.seen.calls).toEqual([])
  })

  test('carries the first frame after linkUp even when it comes with the first packet', async () => {
    const connection = await raw.dial(addressOf(alice))
    const stream = await raw.control(connection)
    stream.send(encodeFrame({ kind: 'heartbeat', sequence: 1 }))
    await until(() => alice.seen.of('frame').length === 1, 'the frame')
    expect(kinds()).toEqual(['up', 'frame'])
  })

  test('costs its sender the link when it carries no frames, and this is counted', async () => {
    const connection = await raw.dial(addressOf(alice))
    const stream = await raw.control(connection)
    await until(() => alice.seen.linked(raw.identity.peer), 'the link')
    stream.send(Buffer.from([0xff, 0xff, 0xff, 1, 2, 3]))
    await until(() => connection.status !== 'open', 'the connection to be cut')
    await until(() => alice.seen.of('down').length === 1, 'the end of the link')
    expect(alice.network.counters().malformedFrames).toBe(1)
    expect(kinds()).toEqual(['up', 'down'])
  })

  test('passes over frames of a later version, and counts them', async () => {
    const connection = await raw.dial(addressOf(alice))
    const stream = await raw.control(connection)
    stream.send(Buffer.concat([Buffer.from([0, 0, 1, 250]), encodeFrame({ kind: 'heartbeat', sequence: 1 })]))
    await until(() => alice.seen.of('frame').length === 1, 'the frame behind it')
    expect(alice.network.counters().unknownFrames).toBe(1)
  })

  test('whose reader does not read fills up to the bound, and then the link is cut', { timeout: 60_000 }, async () => {
    const streams = await accept()
    streams[0]?.pause()
    const frame = {
      kind: 'settle',
      job: 'a'.repeat(26),
      obligation: '0:1',
      outcome: 'completed',
      result: new Uint8Array(1024 * 1024),
      parts: 0,
      records: [],
      endedAgoMs: 0
    } as const
    let sent = 0
    while (alice.network.send(raw.identity.peer, frame)) sent += 1
    expect(sent).toBeGreaterThanOrEqual(60)
    expect(sent).toBeLessThanOrEqual(66)
    expect(alice.network.send(raw.identity.peer, { kind: 'goodbye' })).toBe(false)
    await until(() => alice.seen.of('down').length === 1, 'the end of the link')
    expect(alice.network.counters().sendBufferOverflows).toBe(1)
  })
})
