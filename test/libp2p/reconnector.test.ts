import { beforeEach, describe, expect, test } from 'vitest'
import { PEERS_MAX } from '../../src/core/limits.ts'
import { ADDRESSES_PER_PEER_MAX } from '../../src/libp2p/addresses.ts'
import { GateError } from '../../src/libp2p/gate-error.ts'
import {
  DialError,
  Reconnector,
  type ReconnectorInit,
  UNPROVEN_DIALS_MAX,
  UNPROVEN_FAILURES_MAX
} from '../../src/libp2p/reconnector.ts'
import { DEFAULT_TIMING } from '../../src/libp2p/timing.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import { ManualClock } from './manual-clock.ts'

const ADDRESS = '/ip4/10.0.0.2/tcp/4001'
const PEER = '12D3KooWPeer'

describe('the reconnector', () => {
  let clock: ManualClock
  let dialled: { address: string; at: number }[]
  let answer: (address: string, signal: AbortSignal) => Promise<string>
  let linked: Set<string>
  let reconnector: Reconnector

  const make = (init: Partial<ReconnectorInit> = {}): Reconnector =>
    new Reconnector({
      self: '12D3KooWA',
      clock,
      random: { next: () => 0.5, hex: () => '', id: () => '' },
      timing: DEFAULT_TIMING,
      logger: silentLogger,
      dial: (address, signal) => {
        dialled.push({ address, at: clock.now() })
        return answer(address, signal)
      },
      linked: peer => linked.has(peer),
      eligible: () => true,
      ownHosts: () => new Set(),
      onlyLoopback: false,
      ...init
    })

  beforeEach(() => {
    clock = new ManualClock()
    dialled = []
    linked = new Set()
    answer = async () => {
      throw new DialError('refused', {})
    }
    reconnector = make()
  })

  const gaps = (): number[] => dialled.slice(1).map(({ at }, index) => at - (dialled[index]?.at ?? 0))

  test('dials for ever, with a back-off that doubles up to 15 seconds', async () => {
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(3_600_000)
    expect(gaps().slice(0, 8)).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000])
    expect(dialled.length).toBeGreaterThan(200)
    expect(reconnector.unreachable()).toEqual([{ peer: PEER, addresses: [ADDRESS], lastError: 'refused' }])
  })

  test('names the peer in what it dials, so that nobody else is taken for it', async () => {
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(0)
    expect(dialled[0]?.address).toBe(`${ADDRESS}/p2p/${PEER}`)
  })

  test('the peer with the higher id waits a little', async () => {
    reconnector = make({ self: '12D3KooWZ' })
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(DEFAULT_TIMING.politeMs - 1)
    expect(dialled).toEqual([])
    await clock.advance(1)
    expect(dialled).toHaveLength(1)
  })

  test('a sighting ends the back-off, with the new address first', async () => {
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(600_000)
    dialled = []
    const moved = '/ip4/10.0.0.2/tcp/5001'
    reconnector.sighted(PEER, [moved])
    await clock.advance(1)
    expect(dialled.map(({ address }) => address)).toEqual([`${moved}/p2p/${PEER}`, `${ADDRESS}/p2p/${PEER}`])
  })

  test('a lost link is dialled again at once, one that is lost at once is not', async () => {
    reconnector.addKnown(PEER, [ADDRESS])
    answer = async () => {
      linked.add(PEER)
      reconnector.linkUp(PEER, 'outbound', ADDRESS)
      return PEER
    }
    await clock.advance(10_000)
    expect(dialled).toHaveLength(1)
    linked.delete(PEER)
    reconnector.linkDown(PEER)
    await clock.advance(0)
    expect(dialled).toHaveLength(2)
    linked.delete(PEER)
    reconnector.linkDown(PEER)
    await clock.advance(249)
    expect(dialled).toHaveLength(2)
    await clock.advance(1)
    expect(dialled).toHaveLength(3)
  })

  test('a link that the peer has made ends the own dial; one that the dial makes does not', async () => {
    let signal: AbortSignal | undefined
    answer = (_address, given) => {
      signal = given
      return new Promise((_resolve, reject) => given.addEventListener('abort', () => reject(new DialError('cut', {}))))
    }
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(0)
    reconnector.linkUp(PEER, 'outbound', ADDRESS)
    expect(signal?.aborted).toBe(false)
    reconnector.linkUp(PEER, 'inbound', '/ip4/10.0.0.2/tcp/50000')
    expect(signal?.aborted).toBe(true)
    expect(reconnector.addresses(PEER)).toEqual([ADDRESS])
  })

  test('a corpse at the other side is dialled over at once', async () => {
    answer = async () => {
      throw new DialError('dup', {
        peer: PEER,
        gate: new GateError('dup-open', { nonce: 'n' }),
        corpse: dialled.length < 2
      })
    }
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(1)
    expect(dialled).toHaveLength(2)
    expect(gaps()).toEqual([0])
  })

  test('crossed dials are no failures', async () => {
    answer = async () => {
      throw new DialError('dup', { peer: PEER, gate: new GateError('dup-pending') })
    }
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(5_000)
    expect(new Set(gaps())).toEqual(new Set([500]))
    expect(reconnector.unreachable()).toEqual([])
  })

  test('a configured address without an id is dialled for ever, whoever lives there', async () => {
    reconnector.addFixed('/ip4/127.0.0.1/tcp/4001')
    await clock.advance(600_000)
    expect(dialled.length).toBeGreaterThan(UNPROVEN_FAILURES_MAX + 10)
    expect(dialled[0]?.address).toBe('/ip4/127.0.0.1/tcp/4001')
    answer = async () => {
      linked.add(PEER)
      return PEER
    }
    await clock.advance(30_000)
    const count = dialled.length
    await clock.advance(600_000)
    expect(dialled).toHaveLength(count)
    linked.delete(PEER)
    reconnector.linkDown(PEER)
    await clock.advance(1_000)
    expect(dialled.length).toBeGreaterThan(count)
  })

  test('invented peers do not starve the real one, are few at a time, and are forgotten', async () => {
    let open = 0
    let most = 0
    answer = async address => {
      if (address.includes(PEER)) return PEER
      open += 1
      most = Math.max(most, open)
      await new Promise(resolve => setImmediate(resolve))
      open -= 1
      throw new DialError('nobody', {})
    }
    for (let index = 0; index < 10_000; index += 1) reconnector.sighted(`fake${index}`, ['/ip4/10.0.0.9/tcp/1'])
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(0)
    expect(dialled.some(({ address }) => address.endsWith(PEER))).toBe(true)
    await clock.advance(2_000)
    expect(most).toBeLessThanOrEqual(UNPROVEN_DIALS_MAX)
    expect(reconnector.unreachable().length).toBeLessThan(PEERS_MAX)
  })

  test('a peer that was never linked is forgotten after twenty failures', async () => {
    reconnector.learn(PEER, [ADDRESS])
    await clock.advance(3_600_000)
    expect(dialled).toHaveLength(UNPROVEN_FAILURES_MAX)
    expect(reconnector.addresses(PEER)).toEqual([])
  })

  test('keeps eight addresses of a peer, and a hint can replace an old one but not the best', () => {
    const many = Array.from({ length: ADDRESSES_PER_PEER_MAX + 3 }, (_, index) => `/ip4/10.0.0.2/tcp/${4001 + index}`)
    reconnector.learn(PEER, many)
    expect(reconnector.addresses(PEER)).toEqual(many.slice(0, ADDRESSES_PER_PEER_MAX))
    reconnector.learn(PEER, ['/ip4/10.0.0.2/tcp/9000', 'nonsense'])
    expect(reconnector.addresses(PEER).slice(0, 2)).toEqual([many[0], '/ip4/10.0.0.2/tcp/9000'])
    expect(reconnector.addresses(PEER)).toHaveLength(ADDRESSES_PER_PEER_MAX)
  })

  test('a newcomer dials nobody but the issuer until it is a member', async () => {
    let member = false
    reconnector = make({ eligible: peer => member || peer === '12D3KooWIssuer' })
    reconnector.addKnown('12D3KooWIssuer', [ADDRESS])
    reconnector.sighted(PEER, [ADDRESS])
    await clock.advance(100)
    expect(new Set(dialled.map(({ address }) => address))).toEqual(new Set([`${ADDRESS}/p2p/12D3KooWIssuer`]))
    member = true
    reconnector.wakeAll()
    await clock.advance(0)
    expect(dialled.at(-1)?.address).toBe(`${ADDRESS}/p2p/${PEER}`)
  })

  test('dials nothing more after it was stopped', async () => {
    reconnector.addKnown(PEER, [ADDRESS])
    await clock.advance(100)
    const count = dialled.length
    reconnector.stop()
    reconnector.learn(PEER, ['/ip4/10.0.0.3/tcp/1'])
    await clock.advance(60_000)
    expect(dialled).toHaveLength(count)
  })
})
