import type { Stream } from '@libp2p/interface'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Advertisement } from '../../src/core/frames.ts'
import { ADVERTISEMENT_BYTES_MAX, AUTHOR_BURST_MAX } from '../../src/libp2p/gossip.ts'
import type { NetworkTiming } from '../../src/libp2p/index.ts'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain } from '../../src/libp2p/swarm.ts'
import { encodeAdvertisement } from '../../src/wire/frame-codec.ts'
import { CONTROL_PROTOCOL, STATE_TOPIC } from '../../src/wire/names.ts'
import { addressOf, advertisementOf, type Daemon, linked, newIdentity, Pool, until } from './harness.ts'
import { type RawNode, RawNodes } from './raw-node.ts'

describe('gossip', () => {
  const pool = new Pool()
  const raws = new RawNodes()
  let alice: Daemon

  const begin = async (timing: Partial<NetworkTiming> = {}): Promise<void> => {
    alice = await pool.founder({ timing })
  }
  beforeEach(() => begin())
  afterEach(async () => {
    await Promise.all([pool.stop(), raws.stop()])
  })

  /** A member that holds its link but says what it likes. */
  const rawMember = async (): Promise<RawNode> => {
    const swarm = alice.store.swarm()
    if (swarm === undefined) throw new Error('no swarm')
    const identity = newIdentity()
    const subject = publicKeyFromSeed(identity.seed)
    const chain = issueChain(alice.identity, swarm, { subject, role: 'worker', wallMs: Date.now() })
    const raw = await raws.start({ swarm: { ...swarm, chain }, identity })
    const connection = await raw.dial(addressOf(alice))
    const control = await raw.control(connection)
    control.addEventListener('message', () => {})
    await until(() => subscribed(raw, alice), 'the subscription of the adapter')
    return raw
  }
  const subscribed = (raw: RawNode, daemon: Daemon): boolean =>
    raw.node.services.pubsub.getSubscribers(STATE_TOPIC).some(peer => peer.toString() === daemon.identity.peer)
  const own = (raw: RawNode, change: Partial<Advertisement> = {}): Advertisement => ({
    ...advertisementOf(alice),
    peer: raw.identity.peer,
    ...change
  })
  const say = (raw: RawNode, advertisement: Advertisement | Uint8Array): Promise<unknown> =>
    raw.node.services.pubsub.publish(
      STATE_TOPIC,
      advertisement instanceof Uint8Array ? advertisement : encodeAdvertisement(advertisement)
    )

  test('brings what was published before a member came, without being asked', async () => {
    alice.network.publish(advertisementOf(alice, 7))
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => bob.seen.of('advertisement').length > 0, 'the advertisement')
    expect(bob.seen.of('advertisement')[0]?.advertisement.sequence).toBe(7)
  })

  test('is only believed about its author', async () => {
    const raw = await rawMember()
    await say(raw, own(raw, { peer: alice.identity.peer }))
    await say(raw, own(raw, { peer: newIdentity().peer }))
    await say(raw, Buffer.from('no advertisement'))
    await say(raw, Buffer.alloc(ADVERTISEMENT_BYTES_MAX + 1))
    await until(() => alice.network.counters().rejectedGossip === 4, 'all to be rejected')
    await say(raw, own(raw))
    await until(() => alice.seen.of('advertisement').length === 1, 'the honest one')
    expect(alice.seen.of('advertisement')[0]?.peer).toBe(raw.identity.peer)
  })

  test('of one author is bounded in rate', async () => {
    const raw = await rawMember()
    const count = 3 * AUTHOR_BURST_MAX
    for (let sequence = 1; sequence <= count; sequence += 1) await say(raw, own(raw, { sequence }))
    await until(
      () => alice.network.counters().rejectedGossip + alice.seen.of('advertisement').length === count,
      'all to have been judged'
    )
    expect(alice.seen.of('advertisement').length).toBeGreaterThanOrEqual(AUTHOR_BURST_MAX)
    expect(alice.seen.of('advertisement').length).toBeLessThan(2 * AUTHOR_BURST_MAX)
  })

  test('of an author that is no member is not passed on', async () => {
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => linked(alice, bob), 'the link')
    const raw = await rawMember()
    // Bob has no link with the raw member, and has never had one: he cannot know whether it is real.
    await say(raw, own(raw))
    await until(() => alice.seen.of('advertisement').length === 1, 'the advertisement at the linked member')
    await until(() => bob.network.counters().rejectedGossip === 1, 'the judgement of the other one')
    expect(bob.seen.of('advertisement', raw.identity.peer)).toEqual([])
  })

  describe('whose stream was lost alone', () => {
    const streamsOf = (raw: RawNode): Stream[] =>
      raw.node
        .getConnections()
        .flatMap(({ streams }) => streams)
        .filter(({ protocol, direction }) => protocol.startsWith('/meshsub/') && direction === 'inbound')
    /** Publishes until the raw member hears it, for at most `timeoutMs`. */
    const hears = async (raw: RawNode, timeoutMs: number): Promise<boolean> => {
      let heard = false
      raw.node.services.pubsub.addEventListener('message', () => {
        heard = true
      })
      let sequence = 1
      try {
        await until(
          () => {
            sequence += 1
            alice.network.publish(advertisementOf(alice, sequence))
            return heard
          },
          'gossip to be heard',
          timeoutMs
        )
        return true
      } catch {
        return false
      }
    }
    const lose = (raw: RawNode): void => {
      for (const stream of streamsOf(raw)) stream.abort(new Error('lost'))
    }

    test('stays dead without the watchdog', async () => {
      await begin({ watchdogMs: 60_000 })
      const raw = await rawMember()
      await until(() => streamsOf(raw).length === 1, 'the stream')
      expect(await hears(raw, 5_000)).toBe(true)
      lose(raw)
      expect(await hears(raw, 1_500)).toBe(false)
    })

    test('is healed by the watchdog on the same connection', async () => {
      await begin({ watchdogMs: 100, watchdogGraceMs: 0 })
      const raw = await rawMember()
      await until(() => streamsOf(raw).length === 1, 'the stream')
      expect(await hears(raw, 5_000)).toBe(true)
      lose(raw)
      await until(() => streamsOf(raw).length === 1, 'a new stream')
      expect(await hears(raw, 5_000)).toBe(true)
      expect(raw.events.opened).toBe(1)
      expect(alice.network.counters()).toMatchObject({ gossipHangups: 0 })
      expect(alice.network.counters().gossipPokes).toBeGreaterThan(0)
    })

    test('and cannot be healed costs the link', async () => {
      await begin({ watchdogMs: 50, watchdogGraceMs: 0 })
      const raw = await rawMember()
      await raw.node.handle(CONTROL_PROTOCOL, () => {})
      const { pubsub } = raw.node.services
      for (const protocol of pubsub.protocols) await raw.node.unhandle(protocol)
      lose(raw)
      await until(() => alice.seen.of('down').length > 0, 'the link to be cut')
      expect(alice.network.counters().gossipHangups).toBe(1)
    })
  })
})
