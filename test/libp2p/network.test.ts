import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { parseCertificate, VALIDITY_MS } from '../../src/libp2p/certificate.ts'
import { createSwarm } from '../../src/libp2p/index.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { realClock } from '../helpers/real-time.ts'
import { addressOf, advertisementOf, type Daemon, freePort, linked, newIdentity, Pool, until } from './harness.ts'

const pool = new Pool()
let server: Server | undefined

afterEach(async () => {
  await pool.stop()
  server?.close()
})

const settle = {
  kind: 'settle',
  job: 'a'.repeat(26),
  obligation: '0:1',
  outcome: 'completed',
  parts: 0,
  records: [],
  endedAgoMs: 0
} as const

const restarted = (daemon: Daemon) => ({ ...daemon.identity, boot: newIdentity().boot })

describe('listening', () => {
  test('on a port that is taken is a configuration error that says what to do', async () => {
    server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    const start = pool.founder({ listen: [`/ip4/127.0.0.1/tcp/${port}`] })
    await expect(start).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('EADDRINUSE'),
      hint: expect.stringContaining('--listen')
    })
  })

  test('on an address of another host is a configuration error', async () => {
    await expect(pool.founder({ listen: ['/ip4/192.0.2.1/tcp/0'] })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test.each([
    ['listen', { listen: ['hello'] }],
    ['listen', { listen: ['/ip4/127.0.0.1/udp/1'] }]
  ])('with a bad %s address is a configuration error', async (_what, options) => {
    await expect(async () => pool.founder(options)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('a bad peer address is a configuration error', async () => {
    await expect(pool.founder({ peers: ['10.0.0.1:4001'] })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('reconnection', () => {
  test('a member that comes back with another port finds the others by what it has stored', async () => {
    const alice = await pool.founder()
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => linked(alice, bob), 'the first link')
    await until(() => (bob.store.members()[0]?.addresses.length ?? 0) > 0, 'the address to be stored')
    await bob.network.stop()
    const again = await pool.member(alice, { identity: restarted(bob), store: bob.store })
    await until(() => linked(again, alice) && alice.seen.of('up').length === 2, 'the second link')
    expect(again.network.addresses()).not.toEqual(bob.network.addresses())
  })

  test('a member is found again long after a library would have given up', async () => {
    const alice = await pool.founder()
    const port = await freePort()
    const listen = [`/ip4/127.0.0.1/tcp/${port}`]
    const bob = await pool.member(alice, { listen })
    alice.network.learn(bob.identity.peer, bob.network.addresses())
    await until(() => linked(alice, bob), 'the first link')
    await bob.network.stop()
    const before = alice.network.counters().dials
    await until(() => alice.network.counters().dials > before + 8, 'more than eight dials in vain')
    expect(alice.network.discovery().unreachable).toMatchObject([
      { peer: bob.identity.peer, lastError: expect.stringContaining('ECONNREFUSED') }
    ])
    const again = await pool.member(alice, { identity: restarted(bob), store: bob.store, listen })
    await until(() => linked(alice, again) && alice.seen.of('up').length === 2, 'the second link')
    expect(alice.network.discovery().unreachable).toEqual([])
  })

  test('a configured address without an id is dialled again when its daemon has become another one', async () => {
    const alice = await pool.founder()
    const listen = [`/ip4/127.0.0.1/tcp/${await freePort()}`]
    const bob = await pool.member(alice, { listen })
    const carol = await pool.member(alice, { peers: listen })
    await until(() => linked(carol, bob), 'the first link')
    await bob.network.stop()
    await until(() => carol.seen.of('down').length === 1, 'the end of the first link')
    const dave = await pool.member(alice, { listen })
    await until(() => linked(carol, dave), 'the link with the new daemon')
  })

  test('members are stored with their names and addresses', async () => {
    const alice = await pool.founder()
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => linked(alice, bob), 'the link')
    alice.network.send(bob.identity.peer, {
      kind: 'hello',
      boot: alice.identity.boot,
      advertisement: advertisementOf(alice)
    })
    await until(() => bob.store.members()[0]?.name === 'alice', 'the name')
    expect(bob.store.members()).toMatchObject([{ peer: alice.identity.peer, addresses: alice.network.addresses() }])
    await until(() => alice.network.known(bob.identity.peer).length > 0, 'the address of the one that dialled')
    expect(alice.network.known(bob.identity.peer)).toEqual(bob.network.addresses())
  })

  test('a disk that takes no members does not cost a link', async () => {
    const alice = await pool.founder()
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    bob.store.failing = true
    await until(() => linked(alice, bob), 'the link')
  })
})

describe('the adapter', () => {
  test('renews the certificate of a founder whose own is about to end', async () => {
    const store = new MemoryMembershipStore()
    const identity = newIdentity()
    createSwarm(identity, store, Date.now() - VALIDITY_MS + 60_000)
    const alice = await pool.founder({ identity, store })
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => linked(alice, bob), 'the link')
    const { notAfter } = parseCertificate(store.swarm()?.chain[0] ?? new Uint8Array())
    expect(notAfter).toBeGreaterThan(Date.now() + 300 * 24 * 3_600_000)
  })

  test('says that mDNS is off when it is', async () => {
    const alice = await pool.founder()
    expect(alice.network.discovery().mdns).toEqual({ state: 'off' })
  })

  test('cannot be started twice', async () => {
    const alice = await pool.founder()
    await expect(alice.network.start(alice.seen)).rejects.toMatchObject({ code: 'INTERNAL' })
    await alice.network.stop()
    await expect(alice.network.start(alice.seen)).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  test('stops before it was started', async () => {
    const alice = pool.make({ store: (await pool.founder()).store })
    await alice.network.stop()
  })

  test('lets everything leave that was queued before it stops', async () => {
    const alice = await pool.founder()
    const bob = await pool.member(alice, { peers: [addressOf(alice)], timing: { flushMs: 15_000 } })
    await until(() => linked(alice, bob), 'the link')
    const count = 30
    for (let index = 0; index < count; index += 1)
      expect(bob.network.send(alice.identity.peer, { ...settle, result: new Uint8Array(1_000_000) })).toBe(true)
    bob.network.send(alice.identity.peer, { kind: 'goodbye' })
    await bob.network.stop()
    await until(() => alice.seen.of('down').length === 1, 'the end of the link')
    expect(alice.seen.of('frame')).toHaveLength(count + 1)
  })

  test('cuts the link of a member whose membership ends while it is linked', async () => {
    let ahead = 0
    const clock = { ...realClock, wall: () => Date.now() + ahead }
    const alice = await pool.founder({ clock, timing: { expiryCheckMs: 20 } })
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => linked(alice, bob), 'the link')
    ahead = 2 * 365 * 24 * 3_600_000
    await until(() => alice.seen.of('down').length > 0, 'the end of the link')
    await until(() => (alice.network.discovery().refused.expired ?? 0) > 0, 'the next try to be refused')
    expect(alice.seen.linked(bob.identity.peer)).toBe(false)
  })

  test('leaves no server and no connection behind', async () => {
    const handles = (): number => process.getActiveResourcesInfo().filter(name => name.startsWith('TCP')).length
    const alice = await pool.founder()
    const bob = await pool.member(alice, { peers: [addressOf(alice), '/ip4/192.0.2.1/tcp/1'] })
    await until(() => linked(alice, bob), 'the link')
    expect(handles()).toBeGreaterThan(0)
    await pool.stop()
    await until(() => handles() === 0, 'all to be closed')
  })

  test('says which configured address does not answer', async () => {
    const address = `/ip4/127.0.0.1/tcp/${await freePort()}`
    const alice = await pool.founder({ peers: [address] })
    await until(() => alice.network.discovery().unreachable.length > 0, 'a failed dial')
    expect(alice.network.discovery().unreachable).toMatchObject([{ peer: '', addresses: [address] }])
  })

  test('logs a handler that throws, and goes on', async () => {
    const alice = await pool.founder()
    const bob = await pool.member(alice, { peers: [addressOf(alice)] })
    await until(() => linked(alice, bob), 'the link')
    let frames = 0
    alice.seen.frame = () => {
      frames += 1
      throw new Error('a defect of the engine')
    }
    bob.network.send(alice.identity.peer, { kind: 'heartbeat', sequence: 1 })
    bob.network.send(alice.identity.peer, { kind: 'heartbeat', sequence: 2 })
    await until(() => frames === 2, 'both frames')
  })
})
