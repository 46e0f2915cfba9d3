import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import { createSwarm, createToken, parseToken } from '../../src/libp2p/index.ts'
import { TOKEN_ADDRESSES_MAX, TOKEN_CHARS_MAX, TOKEN_PREFIX, tokenProof } from '../../src/libp2p/token.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { admit, newIdentity } from './harness.ts'

const identity = newIdentity()

function issuer(): MemoryMembershipStore {
  const store = new MemoryMembershipStore()
  createSwarm(identity, store)
  return store
}

const options = { role: 'worker', uses: 1, ttlMs: 60_000, addresses: ['/ip4/10.0.0.1/tcp/4001'] } as const

function codeOf(run: () => unknown): string {
  try {
    run()
    return 'none'
  } catch (error) {
    return error instanceof StarlingError ? error.code : String(error)
  }
}

describe('a join token', () => {
  test('is one line that says all that a newcomer has to know', () => {
    const store = issuer()
    const { token, issued } = createToken(identity, store, { ...options, wallMs: 1_000 })
    expect(token).toMatch(/^starling1-[A-Za-z0-9_-]+$/)
    const parsed = parseToken(` ${token}\n`)
    expect(parsed.issuer).toBe(identity.peer)
    expect(parsed.addresses).toEqual(options.addresses)
    expect(parsed.id).toBe(issued.id)
    expect(Buffer.compare(parsed.secret, issued.secret)).toBe(0)
    expect(Buffer.compare(parsed.swarm, store.swarm()?.publicKey ?? new Uint8Array())).toBe(0)
    expect(store.token(issued.id)).toMatchObject({ role: 'worker', uses: 1, expiresAt: 61_000 })
  })

  test('can only be made by a member that may admit others', () => {
    const founder = { identity, store: issuer() }
    const worker = { identity: newIdentity(), store: new MemoryMembershipStore() }
    admit(founder, worker.identity, worker.store, 'worker')
    expect(codeOf(() => createToken(worker.identity, worker.store, options))).toBe('DENIED')
    expect(codeOf(() => createToken(worker.identity, new MemoryMembershipStore(), options))).toBe('DENIED')
    const second = { identity: newIdentity(), store: new MemoryMembershipStore() }
    admit(founder, second.identity, second.store, 'admin')
    expect(codeOf(() => createToken(second.identity, second.store, options))).toBe('none')
  })

  test('holds at most six addresses', () => {
    const addresses = Array.from({ length: TOKEN_ADDRESSES_MAX + 1 }, (_, index) => `/ip4/10.0.0.${index}/tcp/4001`)
    const { token } = createToken(identity, issuer(), { ...options, addresses })
    expect(parseToken(token).addresses).toEqual(addresses.slice(0, TOKEN_ADDRESSES_MAX))
    expect(token.length).toBeLessThan(TOKEN_CHARS_MAX)
  })

  test('is told apart from anything else, and from a mistyped one', () => {
    const { token } = createToken(identity, issuer(), options)
    const middle = Math.floor(token.length / 2)
    const mistyped = `${token.slice(0, middle)}${token[middle] === 'A' ? 'B' : 'A'}${token.slice(middle + 1)}`
    for (const text of ['', 'hello', TOKEN_PREFIX, `${TOKEN_PREFIX}!`, token.slice(0, -1), mistyped, `${token}A`])
      expect(
        codeOf(() => parseToken(text)),
        text
      ).toBe('INVALID_INPUT')
    expect(codeOf(() => parseToken(TOKEN_PREFIX + 'A'.repeat(TOKEN_CHARS_MAX)))).toBe('INVALID_INPUT')
  })

  test('whose content does not fit its lengths is refused, right checksum or not', () => {
    const { token } = createToken(identity, issuer(), { ...options, addresses: [] })
    const body = Buffer.from(token.slice(TOKEN_PREFIX.length), 'base64url').subarray(0, -4)
    const sealed = (content: Buffer): string => {
      const checksum = createHash('sha256').update(content).digest().subarray(0, 4)
      return TOKEN_PREFIX + Buffer.concat([content, checksum]).toString('base64url')
    }
    expect(codeOf(() => parseToken(sealed(body)))).toBe('none')
    const counted = (count: number, ...rest: number[]): Buffer =>
      Buffer.concat([body.subarray(0, -1), Buffer.from([count, ...rest])])
    for (const content of [counted(1), counted(1, 9), counted(7, 0, 0, 0, 0, 0, 0, 0), counted(0, 0)])
      expect(codeOf(() => parseToken(sealed(content)))).toBe('INVALID_INPUT')
  })

  test('proves its secret to one issuer and for one newcomer only', () => {
    const secret = new Uint8Array(16).fill(7)
    const [a, b, c] = [1, 2, 3].map(byte => new Uint8Array(32).fill(byte))
    if (!a || !b || !c) throw new Error('no keys')
    const proof = tokenProof(secret, a, b)
    expect(proof.length).toBe(32)
    for (const other of [tokenProof(secret, a, c), tokenProof(secret, c, b), tokenProof(new Uint8Array(16), a, b)])
      expect(other.equals(proof)).toBe(false)
  })
})
