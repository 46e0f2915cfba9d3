import { beforeEach, describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import { type ComposedApiInit, composeApi, TOKEN_TTL_MS } from '../../src/daemon/daemon-api.ts'
import { isAlone } from '../../src/daemon/mesh-session.ts'
import { metricsOf } from '../../src/daemon/metrics.ts'
import { createSwarm, parseToken, peerIdFromSeed } from '../../src/libp2p/index.ts'
import { readySchema, statusSchema, tokenSchema } from '../../src/wire/api/index.ts'
import { codeOf, EnginePool, type PoolHost, WALL_AT_ZERO_MS } from '../helpers/engine-pool.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { type Measured, sessionOf } from '../helpers/pool-session.ts'
import { ALICE, BOB } from '../helpers/termination-fixtures.ts'

const seed = new Uint8Array(32).fill(7)
const identity = { seed, peer: peerIdFromSeed(seed), boot: { incarnation: 1, nonce: '0'.repeat(16) } }

let pool: EnginePool
let alice: PoolHost

beforeEach(async () => {
  pool = await EnginePool.start({
    hosts: [
      { name: 'alice', peer: ALICE },
      { name: 'bob', peer: BOB, offers: { work: 2 } }
    ],
    bodies: { work: body => body.sleep(1_000) }
  })
  alice = pool.host('alice')
})

function api(measured: Measured = {}, more: Partial<ComposedApiInit> = {}) {
  const membership = new MemoryMembershipStore()
  createSwarm(identity, membership, WALL_AT_ZERO_MS)
  return composeApi({
    identity,
    name: 'alice',
    version: '1.2.3',
    socket: '/run/starling.sock',
    clock: alice.clock,
    membership,
    mesh: () => sessionOf(alice, measured),
    join: async () => undefined,
    doctor: async () => [],
    metrics: async () => '',
    openSession: () => {
      throw new Error('not asked for')
    },
    stop: () => undefined,
    failure: () => undefined,
    ...more
  })
}

describe('the status of a daemon', () => {
  test('says who it is, since when, and how many others, jobs and agents there are', async () => {
    const daemon = api()
    const { id } = await pool.when(daemon.submit({ capability: 'work' }))
    await pool.until(() => pool.running(id).length === 1)
    const begun = pool.time.now
    const status = statusSchema.parse(daemon.status())
    expect(status).toMatchObject({
      self: {
        peerId: identity.peer,
        name: 'alice',
        version: '1.2.3',
        pid: process.pid,
        listen: ['/ip4/10.0.0.1/tcp/4001']
      },
      swarm: { role: 'worker' },
      discovery: { mdns: { state: 'ok' } },
      peers: { alive: 1, suspect: 0, dead: 0 },
      jobs: { running: 1 },
      agents: { running: 0, paused: 0 },
      warnings: []
    })
    await pool.advance(1_500)
    expect(daemon.status().self.uptimeMs).toBe(status.self.uptimeMs + Math.round(pool.time.now - begun))
    expect(daemon.status().jobs).toEqual({ running: 0 })
    expect(readySchema.parse(daemon.ready())).toMatchObject({ name: 'alice', socket: '/run/starling.sock' })
  })

  test.each([
    ['silent', undefined, 'mDNS is silent; use --peer ADDR to reach other hosts'],
    ['failed', 'port 5353 is taken', 'mDNS is failed: port 5353 is taken; use --peer ADDR to reach other hosts']
  ] as const)('warns of discovery that is %s', (state, detail, warning) => {
    expect(api({ discovery: { mdns: { state, detail } } }).status().warnings).toEqual([warning])
  })

  test.each(['ok', 'off'] as const)('does not warn of discovery that is %s', state => {
    expect(api({ discovery: { mdns: { state } } }).status().warnings).toEqual([])
  })

  test('warns of at most five members that cannot be reached, by name where it is known', () => {
    const addresses = ['/ip4/10.0.0.9/tcp/4001']
    const unreachable = [BOB, '', ...'abcde'].map(peer => ({ peer, addresses, lastError: 'ECONNREFUSED' }))
    const { warnings } = api({ discovery: { unreachable } }).status()
    expect(warnings).toHaveLength(5)
    expect(warnings.slice(0, 3)).toEqual([
      'cannot reach bob: ECONNREFUSED',
      'cannot reach /ip4/10.0.0.9/tcp/4001: ECONNREFUSED',
      'cannot reach a: ECONNREFUSED'
    ])
  })

  test('warns of a host that is slow itself', async () => {
    for (let stall = 0; stall < 2; stall += 1) {
      // All timers of the pool fire two seconds late, as on a starved host.
      pool.time.now += 2_000
      await pool.advance(0)
      await pool.advance(300)
    }
    expect(api().status().warnings).toEqual(['this host is slow: its own timers fire late'])
  })

  test('warns of a daemon that takes no work, and says how it does again', async () => {
    const daemon = api()
    const { peerId } = daemon.peers()[0] ?? { peerId: '' }
    const warned = (state: string) => [
      `this daemon is ${state}: it takes no new work until: starling drain alice --end`
    ]
    daemon.drain(peerId, {})
    expect(daemon.status().warnings).toEqual(warned('drained'))
    daemon.drain(peerId, { end: true })
    expect(daemon.status().warnings).toEqual([])
  })

  test('warns of a disk that refuses writes, and takes no job then', async () => {
    const failure = new StarlingError('STORAGE_FAILED', 'no space left')
    const daemon = api({}, { failure: () => failure })
    expect(daemon.status().warnings).toEqual(['the disk refuses writes, no new jobs are taken: no space left'])
    expect(await codeOf(daemon.submit({ capability: 'work' }))).toBe('STORAGE_FAILED')
    expect(daemon.jobs()).toEqual([])
  })
})

describe('the api of a daemon', () => {
  test('answers with promises that reject, also for what is refused at once', async () => {
    const daemon = api()
    const never = new AbortController().signal
    expect(await codeOf(daemon.spawn('job1.0', { capability: 'work' }))).toBe('NOT_FOUND')
    expect(await codeOf(daemon.waitForChild('job1.0', 'job1.0.0', never))).toBe('NOT_FOUND')
    expect(await codeOf(daemon.waitForJob('job1', {}))).toBe('NOT_FOUND')
    expect(await codeOf(daemon.cancel('job1'))).toBe('NOT_FOUND')
  })

  test('makes tokens for workers that last a quarter of an hour, with addresses that others can use', async () => {
    const addresses = ['/ip4/127.0.0.1/tcp/4001', '/ip4/10.0.0.1/tcp/4001', '/ip6/::1/tcp/4001']
    const made = tokenSchema.parse(await api({ addresses }).createToken({}))
    expect(made).toMatchObject({ role: 'worker', uses: 1 })
    expect(Date.parse(made.expiresAt) - Date.now()).toBeGreaterThan(TOKEN_TTL_MS - 60_000)
    expect(parseToken(made.token).addresses).toEqual(['/ip4/10.0.0.1/tcp/4001'])
    const alone = await api({ addresses: ['/ip4/127.0.0.1/tcp/4001'] }).createToken({})
    expect(parseToken(alone.token).addresses).toEqual(['/ip4/127.0.0.1/tcp/4001'])
    expect(await api().createToken({ uses: 3, ttlMs: 1_000 })).toMatchObject({ uses: 3 })
  })

  test('answers a join with what the daemon is afterwards', async () => {
    let joined = ''
    const daemon = api(
      {},
      {
        join: async token => {
          joined = token
        }
      }
    )
    expect(await daemon.join('starling1-x')).toMatchObject({ swarm: { role: 'worker' } })
    expect(joined).toBe('starling1-x')
  })
})

describe('a daemon is alone', () => {
  const own = () => {
    const store = new MemoryMembershipStore()
    createSwarm(identity, store, WALL_AT_ZERO_MS)
    return store
  }
  const token = { id: '0'.repeat(16), secret: new Uint8Array(16), role: 'worker', uses: 1, expiresAt: 0 } as const

  test('without a swarm, and in one that it made itself', () => {
    expect(isAlone(new MemoryMembershipStore())).toBe(true)
    const store = own()
    store.saveToken(token)
    expect(isAlone(store)).toBe(true)
  })

  test('no more when it has admitted or met anybody, or has joined others', () => {
    const admitted = own()
    admitted.saveToken(token)
    admitted.burnToken(token.id, BOB, [])
    const met = own()
    met.saveMember({ peer: BOB, name: 'bob', addresses: [], lastSeen: 0 })
    const joined = new MemoryMembershipStore()
    joined.saveSwarm({ publicKey: new Uint8Array(32), seed: undefined, chain: [], role: 'worker' })
    expect([admitted, met, joined].map(isAlone)).toEqual([false, false, false])
  })
})

describe('the metrics of a daemon', () => {
  test('are what the session in force counts', async () => {
    const bob = pool.host('bob')
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => pool.running(id).length === 1)
    const lines = async (host: PoolHost) =>
      (await metricsOf(() => sessionOf(host, { counters: { dials: 4 } }))())
        .split('\n')
        .filter(line => !line.startsWith('#'))
    expect(await lines(alice)).toEqual(
      expect.arrayContaining([
        'starling_peers{state="alive"} 1',
        'starling_jobs_running 1',
        'starling_attempts_running 0',
        'starling_network_events{event="dials"} 4',
        'starling_job_frames_sent_total{kind="handoff"} 1'
      ])
    )
    expect(await lines(bob)).toEqual(
      expect.arrayContaining([
        'starling_jobs_running 0',
        'starling_attempts_running 1',
        'starling_slots{capability="work"} 2'
      ])
    )
  })
})
