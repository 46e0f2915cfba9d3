import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addressOf, type Daemon, freePort, linked, newIdentity, Pool, until } from './harness.ts'
import { TcpProxy } from './tcp-proxy.ts'

describe('a pair of members', () => {
  const pool = new Pool()
  let alice: Daemon

  beforeEach(async () => {
    alice = await pool.founder()
  })
  afterEach(() => pool.stop())

  const ups = (daemon: Daemon, peer: Daemon): number => daemon.seen.of('up', peer.identity.peer).length

  test('has one link after each of forty crossed dials', async () => {
    const timing = { politeMs: 0, backoffMinMs: 0, backoffMaxMs: 0 }
    const port = await freePort()
    const identity = newIdentity()
    const address = `/ip4/127.0.0.1/tcp/${port}`
    const bob = await pool.member(alice, { timing, listen: [address], peers: [`${address}/p2p/${identity.peer}`] })
    const carol = await pool.member(alice, { timing, peers: [addressOf(bob)] })
    await until(() => linked(bob, carol), 'the first link')
    bob.network.learn(carol.identity.peer, carol.network.addresses())
    for (let round = 2; round <= 41; round += 1) {
      // Both notice at once, and both dial at once.
      bob.network.disconnect(carol.identity.peer, 'test')
      carol.network.disconnect(bob.identity.peer, 'test')
      await until(() => ups(bob, carol) === round && ups(carol, bob) === round, `link ${round}`)
    }
    expect(bob.network.send(carol.identity.peer, { kind: 'goodbye' })).toBe(true)
    await until(() => carol.seen.of('frame').length === 1, 'a frame over the last link')
    expect(ups(bob, carol)).toBe(41)
    expect(ups(carol, bob)).toBe(41)
    const dials = bob.network.counters().dials + carol.network.counters().dials
    expect(dials - 41, 'dials that were crossed by another').toBeGreaterThan(20)
    expect(bob.network.counters().displacedLinks + carol.network.counters().displacedLinks).toBe(0)
  })

  test('of ten that start at once has one link each', async () => {
    const ports = await Promise.all(Array.from({ length: 6 }, () => freePort()))
    const addresses = ports.map(port => `/ip4/127.0.0.1/tcp/${port}`)
    const daemons = await Promise.all(
      addresses.map((address, index) =>
        pool.member(alice, {
          listen: [address],
          peers: addresses.filter((_, other) => other !== index),
          timing: { politeMs: 0 }
        })
      )
    )
    await until(() => linked(...daemons), 'the whole mesh')
    for (const a of daemons) for (const b of daemons) if (a !== b) expect(ups(a, b)).toBe(1)
    expect(daemons.reduce((sum, { network }) => sum + network.counters().displacedLinks, 0)).toBe(0)
  })

  test('replaces a link that only one side has lost', async () => {
    const proxy = new TcpProxy(alice.network.addresses()[0] ?? '')
    const address = await proxy.listen()
    const bob = await pool.member(alice, { peers: [`${address}/p2p/${alice.identity.peer}`] })
    await until(() => linked(alice, bob), 'the first link')
    proxy.blackhole()
    bob.network.disconnect(alice.identity.peer, 'silent')
    await until(() => ups(alice, bob) === 2 && ups(bob, alice) === 2, 'the second link')
    expect(alice.network.counters().displacedLinks).toBe(1)
    expect(alice.seen.of('down')).toHaveLength(1)
    bob.network.send(alice.identity.peer, { kind: 'goodbye' })
    await until(() => alice.seen.of('frame').length === 1, 'a frame over the new link')
    await proxy.close()
  })

  test('replaces the link of a member that was restarted, before its end is noticed', async () => {
    const proxy = new TcpProxy(alice.network.addresses()[0] ?? '')
    const address = await proxy.listen()
    const peers = [`${address}/p2p/${alice.identity.peer}`]
    const bob = await pool.member(alice, { peers })
    await until(() => linked(alice, bob), 'the first link')
    proxy.blackhole()
    await bob.network.stop()
    expect(alice.seen.of('down')).toEqual([])
    const identity = { ...bob.identity, boot: newIdentity().boot }
    const again = await pool.member(alice, { identity, store: bob.store, peers })
    await until(() => linked(alice, again) && ups(alice, bob) === 2, 'the second link')
    expect(alice.network.counters().displacedLinks).toBe(1)
    await proxy.close()
  })
})
