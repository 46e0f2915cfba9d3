import { beforeEach, describe, expect, test } from 'vitest'
import { GossipWatchdog, type GossipWatchdogInit } from '../../src/libp2p/gossip-watchdog.ts'
import { DEFAULT_TIMING } from '../../src/libp2p/timing.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import { ManualClock } from './manual-clock.ts'

/** Just enough of a gossip stream. */
class FakeStream {
  readonly protocol = '/meshsub/1.2.0'
  readonly direction: 'inbound' | 'outbound'
  status = 'open'
  writeStatus = 'writable'
  remoteWriteStatus = 'writable'

  constructor(direction: 'inbound' | 'outbound') {
    this.direction = direction
  }

  abort(): void {
    this.status = 'aborted'
  }
}

describe('the gossip watchdog', () => {
  let clock: ManualClock
  let streams: FakeStream[]
  let subscribers: string[]
  let status: string
  let watchdog: GossipWatchdog

  beforeEach(() => {
    clock = new ManualClock()
    streams = [new FakeStream('inbound'), new FakeStream('outbound')]
    subscribers = ['peer']
    status = 'open'
    const connection = {
      id: 'c1',
      remotePeer: 'peer',
      timeline: { open: clock.wall() },
      get status() {
        return status
      },
      get streams() {
        return streams
      },
      abort() {
        status = 'aborted'
      }
    }
    watchdog = new GossipWatchdog({
      node: { getConnections: () => (status === 'open' ? [connection] : []) },
      pubsub: { getSubscribers: () => subscribers },
      identify: async () => {},
      clock,
      timing: DEFAULT_TIMING,
      logger: silentLogger
    } as unknown as GossipWatchdogInit)
    watchdog.start()
  })

  test('leaves a healthy link alone', async () => {
    await clock.advance(60_000)
    expect(watchdog).toMatchObject({ pokes: 0, hangups: 0 })
  })

  test.each<[string, () => void]>([
    ['has no outbound stream', () => streams.splice(1, 1)],
    ['has no inbound stream', () => streams.splice(0, 1)],
    ['has a peer that is not subscribed', () => subscribers.splice(0)]
  ])('asks three times, and cuts after twelve looks, when a link %s', async (_what, spoil) => {
    spoil()
    await clock.advance(DEFAULT_TIMING.watchdogGraceMs + 5_000)
    expect(watchdog).toMatchObject({ pokes: 3, hangups: 0 })
    await clock.advance(5_000)
    expect(status).toBe('open')
    await clock.advance(1_000)
    expect(watchdog).toMatchObject({ pokes: 3, hangups: 1 })
    expect(status).toBe('aborted')
  })

  test('aborts a stream that is closed in one direction: nobody else would notice', async () => {
    const [inbound, outbound] = streams
    if (inbound === undefined || outbound === undefined) throw new Error('no streams')
    inbound.remoteWriteStatus = 'closed'
    await clock.advance(DEFAULT_TIMING.watchdogGraceMs)
    expect([inbound.status, outbound.status]).toEqual(['aborted', 'open'])
    outbound.writeStatus = 'closed'
    await clock.advance(1_000)
    expect(outbound.status).toBe('aborted')
    expect(watchdog.pokes).toBeGreaterThan(0)
  })

  test('gives a new link time, and a healed one a new start', async () => {
    subscribers = []
    await clock.advance(DEFAULT_TIMING.watchdogGraceMs - 1)
    expect(watchdog.pokes).toBe(0)
    await clock.advance(10_000)
    subscribers = ['peer']
    await clock.advance(1_000)
    subscribers = []
    await clock.advance(10_000)
    expect(watchdog.hangups).toBe(0)
  })

  test('judges nobody when it is late itself', async () => {
    subscribers = []
    const late = new GossipWatchdog({
      node: { getConnections: () => [] },
      pubsub: {
        getSubscribers: () => {
          throw new Error('looked')
        }
      },
      identify: async () => {},
      clock: lateClock(clock, 501),
      timing: DEFAULT_TIMING,
      logger: silentLogger
    } as unknown as GossipWatchdogInit)
    late.start()
    await clock.advance(30_000)
    late.stop()
  })
})

/** The same clock with timers that come later than asked. */
function lateClock(clock: ManualClock, lateMs: number) {
  return {
    now: () => clock.now(),
    wall: () => clock.wall(),
    after: (delayMs: number, fire: () => void) => clock.after(delayMs + lateMs, fire)
  }
}
