import { describe, expect, test } from 'vitest'
import { parseCertificate, VALIDITY_MS, verifyChain } from '../../src/libp2p/certificate.ts'
import { canIssue, createSwarm, peerIdFromSeed, swarmIdOf } from '../../src/libp2p/index.ts'
import { peerIdFromPublicKey, publicKeyFromPeerId, publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain, renewOwnChain } from '../../src/libp2p/swarm.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { recordingLogger } from '../helpers/recording-logger.ts'
import { admit, newIdentity } from './harness.ts'

const START = 1_700_000_000_000

describe('a swarm', () => {
  test('begins with one member, which is an admin and may admit others', () => {
    const identity = newIdentity()
    const store = new MemoryMembershipStore()
    const swarm = createSwarm(identity, store)
    expect(store.swarm()).toEqual(swarm)
    expect(canIssue(swarm)).toBe(true)
    const subject = publicKeyFromSeed(identity.seed)
    const { leaf } = verifyChain(swarm.chain, { swarm: swarm.publicKey, subject, now: Date.now() })
    expect(leaf.role).toBe('admin')
    expect(swarmIdOf(swarm.publicKey)).toMatch(/^[0-9a-f]{16}$/)
  })

  test('is not made twice in one home', () => {
    const identity = newIdentity()
    const store = new MemoryMembershipStore()
    createSwarm(identity, store)
    expect(() => createSwarm(identity, store)).toThrowError(expect.objectContaining({ code: 'ALREADY_MEMBER' }))
  })

  test('lets admins admit members, and admins of theirs, but no further', () => {
    const founder = { identity: newIdentity(), store: new MemoryMembershipStore() }
    const swarm = createSwarm(founder.identity, founder.store)
    let issuer = founder
    const chains: number[] = []
    for (let depth = 0; depth < 3; depth += 1) {
      const next = { identity: newIdentity(), store: new MemoryMembershipStore() }
      admit(issuer, next.identity, next.store, 'admin')
      const chain = next.store.swarm()?.chain ?? []
      const subject = publicKeyFromSeed(next.identity.seed)
      expect(verifyChain(chain, { swarm: swarm.publicKey, subject, now: Date.now() }).leaf.role).toBe('admin')
      chains.push(chain.length)
      issuer = next
    }
    expect(chains).toEqual([1, 2, 3])
    const last = issuer.store.swarm()
    if (last === undefined) throw new Error('not admitted')
    expect(canIssue(last)).toBe(false)
    const member = { subject: publicKeyFromSeed(newIdentity().seed), role: 'worker', wallMs: Date.now() } as const
    expect(() => issueChain(issuer.identity, last, member)).toThrowError(expect.objectContaining({ code: 'DENIED' }))
  })

  test('renews the certificate of the holder of its key in the last third of its life', () => {
    const identity = newIdentity()
    const store = new MemoryMembershipStore()
    const swarm = createSwarm(identity, store, START)
    expect(renewOwnChain(identity, store, START + (VALIDITY_MS * 2) / 3 - 1, silentLogger)).toEqual(swarm)
    const renewed = renewOwnChain(identity, store, START + (VALIDITY_MS * 2) / 3, silentLogger)
    expect(parseCertificate(renewed?.chain[0] ?? new Uint8Array()).notAfter).toBe(START + (VALIDITY_MS * 5) / 3)
    expect(store.swarm()).toEqual(renewed)
  })

  test('says in the log when another member has to join again soon', () => {
    const founder = { identity: newIdentity(), store: new MemoryMembershipStore() }
    createSwarm(founder.identity, founder.store, START)
    const member = { identity: newIdentity(), store: new MemoryMembershipStore() }
    admit(founder, member.identity, member.store, 'worker', START)
    const logger = recordingLogger()
    renewOwnChain(member.identity, member.store, START + VALIDITY_MS - 1, logger)
    expect(logger.lines.map(({ level }) => level)).toEqual(['warn'])
  })
})

describe('keys', () => {
  test('a peer id is the public key of its daemon', () => {
    const { seed, peer } = newIdentity()
    expect(peer).toMatch(/^12D3KooW/)
    expect(peerIdFromSeed(seed)).toBe(peer)
    const key = publicKeyFromSeed(seed)
    expect(peerIdFromPublicKey(key)).toBe(peer)
    expect(publicKeyFromPeerId(peer)).toEqual(key)
    expect(publicKeyFromPeerId('no peer id')).toBeUndefined()
    // An RSA peer id: a hash, no key.
    expect(publicKeyFromPeerId('QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N')).toBeUndefined()
  })
})
