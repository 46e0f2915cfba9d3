import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { verifyChain } from '../../src/libp2p/certificate.ts'
import { GateError } from '../../src/libp2p/gate-error.ts'
import { createSwarm, createToken } from '../../src/libp2p/index.ts'
import { publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { redeemToken } from '../../src/libp2p/redeem.ts'
import { tokenProof } from '../../src/libp2p/token.ts'
import type { IssuedToken } from '../../src/ports/membership.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { newIdentity } from './harness.ts'

const NOW = Date.now()
const identity = newIdentity()
const issuerKey = publicKeyFromSeed(identity.seed)
const [joiner, other] = [publicKeyFromSeed(randomBytes(32)), publicKeyFromSeed(randomBytes(32))]

describe('redeeming a token', () => {
  let store: MemoryMembershipStore
  let token: IssuedToken

  beforeEach(() => {
    store = new MemoryMembershipStore()
    createSwarm(identity, store)
    token = createToken(identity, store, {
      role: 'submitter',
      uses: 1,
      ttlMs: 1_000,
      addresses: [],
      wallMs: NOW
    }).issued
  })

  const redeem = (
    who: Uint8Array = joiner,
    proof: Uint8Array = tokenProof(token.secret, who, issuerKey),
    { tokenId = token.id, wallMs = NOW } = {}
  ) => redeemToken(identity, store, { tokenId, proof, joiner: who, wallMs })

  const codeOf = (run: () => unknown): string => {
    try {
      run()
      return 'none'
    } catch (error) {
      return error instanceof GateError ? error.code : String(error)
    }
  }

  test('gives a chain with the role of the token', () => {
    const swarm = store.swarm()?.publicKey ?? new Uint8Array()
    expect(verifyChain(redeem(), { swarm, subject: joiner, now: NOW }).leaf.role).toBe('submitter')
  })

  test('is possible once per use, and the same newcomer gets the same answer again, even late', () => {
    const chain = redeem()
    expect(redeem()).toEqual(chain)
    expect(redeem(joiner, undefined, { wallMs: NOW + 5_000 })).toEqual(chain)
    expect(codeOf(() => redeem(other))).toBe('token-used')
    expect(store.redemptions(token.id)).toBe(1)
  })

  test('ends when the token expires', () => {
    expect(codeOf(() => redeem(joiner, undefined, { wallMs: token.expiresAt + 1 }))).toBe('token-expired')
    expect(codeOf(() => redeem(joiner, undefined, { wallMs: token.expiresAt }))).toBe('none')
  })

  test('does not tell an unknown token from a wrong secret, nor take a proof of somebody else', () => {
    expect(codeOf(() => redeem(joiner, tokenProof(randomBytes(16), joiner, issuerKey)))).toBe('bad-token')
    expect(codeOf(() => redeem(joiner, undefined, { tokenId: '0'.repeat(16) }))).toBe('bad-token')
    expect(codeOf(() => redeem(other, tokenProof(token.secret, joiner, issuerKey)))).toBe('bad-token')
    expect(codeOf(() => redeem(joiner, tokenProof(token.secret, joiner, other)))).toBe('bad-token')
    expect(store.redemptions(token.id)).toBe(0)
  })

  test('gives nothing when the use cannot be written down', () => {
    store.failing = true
    expect(() => redeem()).toThrowError(expect.objectContaining({ code: 'STORAGE_FAILED' }))
    store.failing = false
    expect(codeOf(() => redeem(other))).toBe('none')
  })
})
