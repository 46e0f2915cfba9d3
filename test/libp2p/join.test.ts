import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createSwarm, type JoinToken } from '../../src/libp2p/index.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { addressOf, type Daemon, linked, newIdentity, Pool, tokenOf, until } from './harness.ts'

const WAIT_MS = 8_000

describe('joining', () => {
  const pool = new Pool()
  let alice: Daemon

  beforeEach(async () => {
    alice = await pool.founder()
  })
  afterEach(() => pool.stop())

  const refusal = async (token: JoinToken): Promise<unknown> => {
    const newcomer = await pool.start({ token })
    const error: unknown = await newcomer.network.joined(WAIT_MS).catch((thrown: unknown) => thrown)
    expect(newcomer.store.swarm()).toBeUndefined()
    expect(newcomer.seen.calls).toEqual([])
    expect(alice.seen.calls).toEqual([])
    return error
  }

  test('a token makes a member, and the connection of the join is its first link', async () => {
    const bob = await pool.start({ token: tokenOf(alice, { role: 'submitter' }) })
    const swarm = await bob.network.joined(WAIT_MS)
    expect(swarm.role).toBe('submitter')
    expect(swarm.seed).toBeUndefined()
    expect(bob.store.swarm()).toEqual(swarm)
    await until(() => linked(alice, bob), 'the first link')
    expect(bob.network.counters().dials).toBe(1)
    expect(alice.seen.of('up')[0]?.link.role).toBe('submitter')
    expect(bob.seen.of('up')[0]?.link.role).toBe('admin')
  })

  test('a member that has never heard of the newcomer takes it at once', async () => {
    const carol = await pool.member(alice, { peers: [addressOf(alice)] })
    const bob = await pool.start({ token: tokenOf(alice), peers: [addressOf(carol)] })
    await until(() => linked(alice, bob, carol), 'all to be linked')
  })

  test('a member that was admitted as admin can admit others', async () => {
    const bob = await pool.start({ token: tokenOf(alice, { role: 'admin' }) })
    await bob.network.joined(WAIT_MS)
    const carol = await pool.start({ token: tokenOf(bob), peers: [addressOf(alice)] })
    await carol.network.joined(WAIT_MS)
    await until(() => linked(alice, carol), 'the link with the founder')
  })

  test('a used, expired, unknown or wrong token is refused for good, with the reason', async () => {
    const token = tokenOf(alice)
    const bob = await pool.start({ token })
    await bob.network.joined(WAIT_MS)
    await until(() => linked(alice, bob), 'the first link')
    await bob.network.stop()
    await until(() => alice.seen.of('down').length === 1, 'the end of the link')
    alice.seen.calls.length = 0
    expect(await refusal(token)).toMatchObject({ code: 'TOKEN_REFUSED', message: expect.stringContaining('used up') })
    const expired = tokenOf(alice, { ttlMs: -1 })
    expect(await refusal(expired)).toMatchObject({ code: 'TOKEN_REFUSED', message: expect.stringContaining('expired') })
    const wrong = { ...tokenOf(alice), secret: new Uint8Array(randomBytes(16)) }
    expect(await refusal(wrong)).toMatchObject({ code: 'TOKEN_REFUSED', message: expect.stringContaining('unknown') })
    const unknown = { ...tokenOf(alice), id: '0'.repeat(16) }
    expect(await refusal(unknown)).toMatchObject({
      code: 'TOKEN_REFUSED',
      hint: expect.stringContaining('token create')
    })
  })

  test('a newcomer whose answer was lost gets it again, whatever happened to the token', async () => {
    const token = tokenOf(alice)
    const identity = newIdentity()
    const first = await pool.start({ token, identity })
    await first.network.joined(WAIT_MS)
    await first.network.stop()
    const again = await pool.start({ token, identity, store: new MemoryMembershipStore() })
    expect((await again.network.joined(WAIT_MS)).chain).toEqual(first.store.swarm()?.chain)
  })

  test('a member that did not issue the token is not asked, and the issuer is found', async () => {
    const carol = await pool.member(alice)
    const token = tokenOf(alice, { addresses: [carol.network.addresses()[0] ?? ''] })
    const bob = await pool.start({ token, peers: [addressOf(carol).replace(/\/p2p.*/, '')] })
    await expect(bob.network.joined(300)).rejects.toMatchObject({ code: 'TIMED_OUT' })
    bob.network.learn(alice.identity.peer, alice.network.addresses())
    await bob.network.joined(WAIT_MS)
    expect(carol.network.discovery().refused['bad-token']).toBeUndefined()
  })

  test('who takes the place of the issuer, with its key but another swarm, is not believed', async () => {
    const token = tokenOf(alice)
    await alice.network.stop()
    const store = new MemoryMembershipStore()
    const other = createSwarm(alice.identity, store)
    // Knows the public swarm key, so the handshake works, and takes every token.
    const rogue = new MemoryMembershipStore()
    rogue.saveSwarm({ ...other, publicKey: token.swarm })
    rogue.saveToken({ id: token.id, secret: token.secret, role: 'admin', uses: 9, expiresAt: Date.now() + 60_000 })
    const mallory = await pool.start({ identity: alice.identity, store: rogue })
    const bob = await pool.start({ token: { ...token, addresses: mallory.network.addresses() } })
    await expect(bob.network.joined(1_500)).rejects.toMatchObject({
      code: expect.stringMatching(/TOKEN_REFUSED|TIMED_OUT/)
    })
    expect(bob.store.swarm()).toBeUndefined()
  })

  test('without the issuer it goes on trying, and says so meanwhile', async () => {
    const token = tokenOf(alice)
    const { identity, store } = alice
    await alice.network.stop()
    const bob = await pool.start({ token })
    await expect(bob.network.joined(200)).rejects.toMatchObject({ code: 'TIMED_OUT' })
    const address = token.addresses[0] ?? ''
    await pool.founder({ identity: { ...identity, boot: newIdentity().boot }, store, listen: [address] })
    await bob.network.joined(WAIT_MS)
  })

  test('a membership that cannot be stored is no membership', async () => {
    const store = new MemoryMembershipStore()
    store.failing = true
    const bob = await pool.start({ token: tokenOf(alice), store })
    await expect(bob.network.joined(WAIT_MS)).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    expect(bob.seen.calls).toEqual([])
  })

  test('whoever stops while it waits is told so', async () => {
    const token = { ...tokenOf(alice), addresses: [] }
    const bob = await pool.start({ token })
    const waiting = expect(bob.network.joined(WAIT_MS)).rejects.toMatchObject({ code: 'DAEMON_STOPPING' })
    await bob.network.stop()
    await waiting
  })

  test('a daemon without swarm and token is a defect', () => {
    expect(() => pool.make()).toThrowError(expect.objectContaining({ code: 'INTERNAL' }))
  })

  test('a daemon with a swarm of its own can join another one after a restart of the network', async () => {
    const bob = await pool.founder()
    await bob.network.stop()
    const again = await pool.start({ identity: bob.identity, token: tokenOf(alice) })
    await again.network.joined(WAIT_MS)
    await until(() => linked(alice, again), 'the first link')
  })
})
