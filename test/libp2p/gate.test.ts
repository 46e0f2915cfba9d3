import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BAD_PER_ADDRESS_MAX, PENDING_PER_ADDRESS_MAX } from '../../src/libp2p/admission.ts'
import { issueCertificate, USAGE_MEMBER } from '../../src/libp2p/certificate.ts'
import { createSwarm } from '../../src/libp2p/index.ts'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain } from '../../src/libp2p/swarm.ts'
import type { Swarm } from '../../src/ports/membership.ts'
import type { LocalIdentity } from '../../src/ports/network.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { addressOf, type Daemon, linked, newIdentity, Pool, until } from './harness.ts'
import { type RawNode, RawNodes, rawAddress } from './raw-node.ts'

describe('the gate', () => {
  const pool = new Pool()
  const raws = new RawNodes()
  const sockets: Socket[] = []
  let founder: Daemon
  let swarm: Swarm
  let victim: RawNode

  beforeEach(async () => {
    founder = await pool.founder()
    const stored = founder.store.swarm()
    if (stored === undefined) throw new Error('no swarm')
    swarm = stored
    const identity = newIdentity()
    victim = await raws.start({ swarm: { ...swarm, chain: chainFor(identity) }, identity })
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await Promise.all([pool.stop(), raws.stop()])
  })

  const chainFor = (identity: LocalIdentity, wallMs = Date.now()): Uint8Array[] =>
    issueChain(founder.identity, swarm, { subject: publicKeyFromSeed(identity.seed), role: 'worker', wallMs })

  /** Dials the victim and the founder with this membership, and expects to be nobody to both. */
  const expectRefusal = async (attacker: Parameters<RawNodes['start']>[0], code: string): Promise<void> => {
    const raw = await raws.start(attacker)
    await expect(raw.dial(rawAddress(victim))).rejects.toThrow(code === 'no-noise' ? '' : `gate: ${code}`)
    await expect(raw.dial(addressOf(founder))).rejects.toThrow()
    await until(() => founder.network.discovery().refused[code] === 1, 'both to have refused')
    expect(victim.refused).toEqual([code])
    expect(victim.events).toEqual({ opened: 0, identified: 0, subscribed: 0 })
    expect(victim.node.getConnections()).toEqual([])
    expect(founder.seen.calls).toEqual([])
    expect(founder.network.discovery().refused).toEqual({ [code]: 1 })
    expect(raw.events).toEqual({ opened: 0, identified: 0, subscribed: 0 })
  }

  test('lets a member in', async () => {
    const identity = newIdentity()
    const raw = await raws.start({ swarm: { ...swarm, chain: chainFor(identity) }, identity })
    await raw.dial(rawAddress(victim))
    expect(victim.events.opened).toBe(1)
  })

  test('a member of another swarm fails in the handshake', async () => {
    const identity = newIdentity()
    await expectRefusal({ swarm: createSwarm(identity, new MemoryMembershipStore()), identity }, 'no-noise')
  })

  test('who knows the swarm but comes with the certificate of another one is refused', async () => {
    const identity = newIdentity()
    const other = createSwarm(identity, new MemoryMembershipStore())
    await expectRefusal({ swarm: { ...other, publicKey: swarm.publicKey }, identity }, 'other-swarm')
  })

  test('a forged certificate is refused', async () => {
    const identity = newIdentity()
    const [chain] = chainFor(identity)
    const forged = new Uint8Array(chain ?? [])
    forged[120] = (forged[120] ?? 0) ^ 1
    await expectRefusal({ swarm: { ...swarm, chain: [forged] }, identity }, 'bad-signature')
  })

  test('a stolen certificate is refused', async () => {
    await expectRefusal({ swarm: { ...swarm, chain: chainFor(newIdentity()) } }, 'not-yours')
  })

  test('an expired certificate is refused', async () => {
    const identity = newIdentity()
    const subject = publicKeyFromSeed(identity.seed)
    const fields = { usage: USAGE_MEMBER, role: 'worker', subject, notBefore: 0, notAfter: Date.now() - 1 } as const
    const chain = [issueCertificate(swarm.seed ?? randomBytes(32), fields)]
    await expectRefusal({ swarm: { ...swarm, chain }, identity }, 'expired')
  })

  test('any other libp2p program ends before the handshake', async () => {
    const stock = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false }
    })
    await expect(stock.dial(multiaddr(addressOf(founder)))).rejects.toThrow()
    await stock.stop()
    expect(founder.seen.calls).toEqual([])
  })

  test('a refused daemon sees the reason among the peers that it cannot reach', async () => {
    const identity = newIdentity()
    const store = new MemoryMembershipStore()
    const other = createSwarm(newIdentity(), new MemoryMembershipStore())
    store.saveSwarm({ ...other, publicKey: swarm.publicKey, seed: undefined })
    const stranger = await pool.start({ identity, store, peers: [addressOf(founder)] })
    await until(() => stranger.network.discovery().unreachable.length === 1, 'a failed dial')
    const [item] = stranger.network.discovery().unreachable
    expect(item?.peer).toBe(founder.identity.peer)
    expect(item?.lastError).toContain('not-yours')
  })

  test('silent connections of one address do not shut out a member at another one', async () => {
    const [, port] = addressOf(founder).match(/tcp\/(\d+)/) ?? []
    for (let count = 0; count < 200; count += 1) {
      const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress: '127.0.0.9' })
      socket.on('error', () => {})
      sockets.push(socket)
    }
    await until(() => (founder.network.discovery().refused['address-full'] ?? 0) > 0, 'the address to be full')
    const started = performance.now()
    const member = await pool.member(founder, { peers: [addressOf(founder)] })
    await until(() => linked(founder, member), 'the member to be linked')
    expect(performance.now() - started).toBeLessThan(1_900)
    expect(founder.network.discovery().refused['address-full']).toBeLessThanOrEqual(200 - PENDING_PER_ADDRESS_MAX)
  })

  test('another swarm on the same host, however often it dials, does not shut out members there', async () => {
    const identity = newIdentity()
    const stranger = await raws.start({ swarm: createSwarm(identity, new MemoryMembershipStore()), identity })
    for (let count = 0; count <= BAD_PER_ADDRESS_MAX; count += 1)
      await expect(stranger.dial(addressOf(founder))).rejects.toThrow()
    const member = await pool.member(founder, { peers: [addressOf(founder)] })
    await until(() => linked(founder, member), 'the member to be linked', 4_000)
    expect(founder.network.discovery().refused['address-bad']).toBeUndefined()
  })

  test('an address that comes with forged certificates again and again is dropped unread', async () => {
    const identity = newIdentity()
    const [chain] = chainFor(identity)
    const forged = new Uint8Array(chain ?? [])
    forged[120] = (forged[120] ?? 0) ^ 1
    const forger = await raws.start({ swarm: { ...swarm, chain: [forged] }, identity })
    for (let count = 0; count < BAD_PER_ADDRESS_MAX; count += 1)
      await expect(forger.dial(addressOf(founder))).rejects.toThrow('gate: bad-signature')
    await expect(forger.dial(addressOf(founder))).rejects.toThrow()
    expect(founder.network.discovery().refused).toEqual({ 'bad-signature': BAD_PER_ADDRESS_MAX, 'address-bad': 1 })
  })

  test('links that are up take no slots of those that are to come', async () => {
    for (let count = 0; count <= PENDING_PER_ADDRESS_MAX; count += 1) {
      const identity = newIdentity()
      const raw = await raws.start({ swarm: { ...swarm, chain: chainFor(identity) }, identity })
      await raw.dial(addressOf(founder))
    }
    expect(founder.network.discovery().refused).toEqual({})
  })

  test('a connection that says nothing is dropped', async () => {
    const [, port] = addressOf(founder).match(/tcp\/(\d+)/) ?? []
    const socket = connect({ port: Number(port), host: '127.0.0.1' })
    socket.on('error', () => {})
    sockets.push(socket)
    let closed = false
    socket.on('close', () => {
      closed = true
    })
    await until(() => closed, 'the connection to be dropped')
  })

  test('bytes that are no handshake, however long, cost the connection and nothing else', async () => {
    const [, port] = addressOf(founder).match(/tcp\/(\d+)/) ?? []
    for (const bytes of [randomBytes(70_000), Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
      const socket = connect({ port: Number(port), host: '127.0.0.1' })
      let closed = false
      socket.on('error', () => {})
      socket.on('close', () => {
        closed = true
      })
      sockets.push(socket)
      socket.write(bytes)
      await until(() => closed, 'the connection to be dropped')
    }
    const member = await pool.member(founder, { peers: [addressOf(founder)] })
    await until(() => linked(founder, member), 'the member to be linked')
  })
})
