import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { PEERS_MAX } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import type { IssuedToken, Swarm } from '../../src/ports/membership.ts'
import { openStore, type StoredMembership } from '../../src/store/index.ts'
import { MEMBER_ADDRESSES_MAX, TOKEN_KEEP_MS, TOKENS_MAX } from '../../src/store/limits.ts'
import { bytes } from '../helpers/journal-samples.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { clockAt } from './helpers.ts'

let path: string
let clock: ReturnType<typeof clockAt>

beforeEach(() => {
  path = join(temporaryDirectory(), 'starling.db')
  clock = clockAt(1_000_000_000_000)
})

/** Each step in a life of its own, so that what it finds was durable. */
function reopened<T>(step: (membership: StoredMembership) => T): T {
  const store = openStore({ path, logger: silentLogger, clock })
  try {
    return step(store.membership)
  } finally {
    store.close()
  }
}

const swarm: Swarm = {
  publicKey: bytes('key'),
  seed: bytes('seed'),
  chain: [bytes('leaf'), bytes('issuer')],
  role: 'admin'
}

function token(id: string, extra: Partial<IssuedToken> = {}): IssuedToken {
  return { id, secret: bytes('secret'), role: 'worker', uses: 2, expiresAt: clock.wallMs + 60_000, ...extra }
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, inner) => (inner instanceof Uint8Array ? [...inner] : inner)))
}

describe('the swarm', () => {
  test('is absent at first, and durable once saved', () => {
    expect(reopened(membership => membership.swarm())).toBeUndefined()
    reopened(membership => membership.saveSwarm(swarm))
    expect(plain(reopened(membership => membership.swarm()))).toEqual(plain(swarm))
  })

  test('may be saved without a seed', () => {
    reopened(membership => membership.saveSwarm({ ...swarm, seed: undefined }))
    expect(reopened(membership => membership.swarm()?.seed)).toBeUndefined()
  })

  test('can get a new chain, but not be replaced by another swarm', () => {
    reopened(membership => membership.saveSwarm(swarm))
    reopened(membership => membership.saveSwarm({ ...swarm, chain: [bytes('renewed')], role: 'worker' }))
    const other = { ...swarm, publicKey: bytes('another key') }
    expect(() => reopened(membership => membership.saveSwarm(other))).toThrow(
      expect.objectContaining({ code: 'ALREADY_MEMBER' })
    )
    expect(plain(reopened(membership => membership.swarm()))).toEqual(
      plain({ ...swarm, chain: [bytes('renewed')], role: 'worker' })
    )
  })

  test('refusing another swarm is no failure of the storage', () => {
    reopened(membership => {
      membership.saveSwarm(swarm)
      expect(() => membership.saveSwarm({ ...swarm, publicKey: bytes('other') })).toThrow()
      membership.saveSwarm(swarm)
    })
  })

  test('can be abandoned for another one, with its tokens and members', () => {
    reopened(membership => {
      membership.saveSwarm(swarm)
      membership.saveToken(token('t1'))
      membership.burnToken('t1', 'joiner', [bytes('chain')])
      membership.saveMember({ peer: 'p', name: 'alice', addresses: [], lastSeen: 1 })
      membership.abandonSwarm()
      membership.abandonSwarm()
    })
    reopened(membership => {
      expect(membership.swarm()).toBeUndefined()
      expect(membership.tokens()).toEqual([])
      expect(membership.members()).toEqual([])
      expect(membership.redemptions('t1')).toBe(0)
      membership.saveSwarm({ ...swarm, publicKey: bytes('another key') })
    })
  })
})

describe('tokens', () => {
  test('are durable, and found by id', () => {
    reopened(membership => membership.saveToken(token('t1')))
    expect(plain(reopened(membership => membership.token('t1')))).toEqual(plain(token('t1')))
    expect(reopened(membership => membership.token('t2'))).toBeUndefined()
    expect(reopened(membership => membership.tokens())).toHaveLength(1)
  })

  test('are burnt once per joiner, and the first chain stays', () => {
    reopened(membership => membership.saveToken(token('t1')))
    reopened(membership => membership.burnToken('t1', 'bob', [bytes('first'), bytes('issuer')]))
    reopened(membership => membership.burnToken('t1', 'bob', [bytes('second')]))
    reopened(membership => membership.burnToken('t1', 'carol', []))
    expect(plain(reopened(membership => membership.redeemed('t1', 'bob')))).toEqual(
      plain([bytes('first'), bytes('issuer')])
    )
    expect(reopened(membership => membership.redeemed('t1', 'carol'))).toEqual([])
    expect(reopened(membership => membership.redeemed('t1', 'dave'))).toBeUndefined()
    expect(reopened(membership => membership.redemptions('t1'))).toBe(2)
  })

  test('that are unknown cannot be burnt', () => {
    expect(() => reopened(membership => membership.burnToken('t1', 'bob', []))).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' })
    )
  })

  test('keep their redemptions when they are saved again', () => {
    reopened(membership => {
      membership.saveToken(token('t1'))
      membership.burnToken('t1', 'bob', [bytes('chain')])
      membership.saveToken(token('t1', { uses: 5 }))
      expect(membership.redemptions('t1')).toBe(1)
      expect(membership.token('t1')?.uses).toBe(5)
    })
  })

  test('outlive their expiry by TOKEN_KEEP_MS', () => {
    reopened(membership => {
      membership.saveToken(token('old', { expiresAt: clock.wallMs }))
      membership.burnToken('old', 'bob', [bytes('chain')])
      clock.wallMs += TOKEN_KEEP_MS
      membership.saveToken(token('t1'))
      expect(membership.redeemed('old', 'bob')).toBeDefined()
      clock.wallMs += 1
      membership.saveToken(token('t2'))
      expect(membership.token('old')).toBeUndefined()
      expect(membership.redeemed('old', 'bob')).toBeUndefined()
    })
  })

  test(`are at most ${TOKENS_MAX}`, () => {
    reopened(membership => {
      for (let number = 1; number <= TOKENS_MAX; number += 1) membership.saveToken(token(`t${number}`))
      expect(() => membership.saveToken(token('one more'))).toThrow(expect.objectContaining({ code: 'LIMIT_REACHED' }))
      membership.saveToken(token('t1', { uses: 9 }))
      clock.wallMs += 60_000 + TOKEN_KEEP_MS + 1
      membership.saveToken(token('one more'))
      expect(membership.tokens()).toHaveLength(1)
    })
  })
})

describe('members', () => {
  test('come back last seen first, each with what was saved last', () => {
    reopened(membership => {
      membership.saveMember({ peer: 'p1', name: 'alice', addresses: ['/ip4/10.0.0.1/tcp/1'], lastSeen: 1 })
      membership.saveMember({ peer: 'p2', name: 'bob', addresses: [], lastSeen: 2 })
      membership.saveMember({ peer: 'p1', name: 'alice', addresses: ['/ip4/10.0.0.9/tcp/1'], lastSeen: 3 })
    })
    expect(reopened(membership => membership.members())).toEqual([
      { peer: 'p1', name: 'alice', addresses: ['/ip4/10.0.0.9/tcp/1'], lastSeen: 3 },
      { peer: 'p2', name: 'bob', addresses: [], lastSeen: 2 }
    ])
  })

  test('are at most PEERS_MAX, and the one just saved is never the one that goes', () => {
    reopened(membership => {
      for (let number = 1; number <= PEERS_MAX; number += 1) {
        membership.saveMember({ peer: `p${number}`, name: '', addresses: [], lastSeen: 100 + number })
      }
      expect(membership.members()).toHaveLength(PEERS_MAX)
      membership.saveMember({ peer: 'late', name: '', addresses: [], lastSeen: 1 })
      const peers = membership.members().map(member => member.peer)
      expect(peers).toHaveLength(PEERS_MAX)
      expect(peers).toContain('late')
      expect(peers).not.toContain('p1')
      expect(peers).toContain('p2')
    })
  })

  test('have at most MEMBER_ADDRESSES_MAX addresses, the first ones', () => {
    const addresses = Array.from({ length: MEMBER_ADDRESSES_MAX + 1 }, (_, index) => `/ip4/10.0.0.${index}/tcp/1`)
    reopened(membership => membership.saveMember({ peer: 'p', name: '', addresses, lastSeen: 1 }))
    expect(reopened(membership => membership.members()[0]?.addresses)).toEqual(addresses.slice(0, MEMBER_ADDRESSES_MAX))
  })
})
