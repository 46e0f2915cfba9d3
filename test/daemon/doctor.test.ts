import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { type DoctorInit, diagnose } from '../../src/daemon/doctor.ts'
import type { Clock } from '../../src/ports/clock.ts'
import { type Finding, findingSchema } from '../../src/wire/api/index.ts'
import { EnginePool } from '../helpers/engine-pool.ts'
import { type Measured, sessionOf } from '../helpers/pool-session.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { ALICE, BOB } from '../helpers/termination-fixtures.ts'

let pool: EnginePool

beforeEach(async () => {
  pool = await EnginePool.start({
    hosts: [
      { name: 'alice', peer: ALICE, offers: { work: 2 } },
      { name: 'bob', peer: BOB }
    ]
  })
})

interface Setting extends Measured {
  readonly privatePaths?: DoctorInit['privatePaths']
  readonly clock?: Clock
  readonly host?: string
}

async function findings(setting: Setting = {}): Promise<Finding[]> {
  const host = pool.host(setting.host ?? 'alice')
  const clock = setting.clock ?? host.clock
  const { privatePaths = [] } = setting
  const found = await pool.when(diagnose({ mesh: () => sessionOf(host, setting), clock, privatePaths }))
  return found.map(finding => findingSchema.parse(finding))
}

const about = async (check: string, setting?: Setting) => (await findings(setting)).filter(one => one.check === check)

describe('the doctor', () => {
  test('finds nothing wrong where nothing is, and hints at nothing', async () => {
    const all = await findings()
    expect(all.map(({ check, state }) => `${check} ${state}`)).toEqual([
      'node ok',
      'discovery ok',
      'port ok',
      'peers ok',
      'load ok',
      'clock ok',
      'capabilities ok'
    ])
    expect(all.filter(({ hint }) => hint !== undefined)).toEqual([])
  })

  test.each([
    ['silent', 'warning', 'mDNS is silent no echo'],
    ['failed', 'warning', 'mDNS is failed no echo'],
    ['off', 'ok', 'mDNS is off by configuration; only given peers are dialled'],
    ['ok', 'ok', 'own mDNS queries are heard on the wire']
  ] as const)('says what discovery is when it is %s', async (state, finding, detail) => {
    const [one, ...more] = await about('discovery', { discovery: { mdns: { state, detail: 'no echo' } } })
    expect(more).toEqual([])
    expect(one).toMatchObject({ state: finding, detail })
    expect(one?.hint === undefined).toBe(finding === 'ok')
  })

  test('names who cannot be reached, with the address and why', async () => {
    const unreachable = [
      { peer: BOB, addresses: ['/ip4/10.0.0.2/tcp/4001'], lastError: 'ECONNREFUSED' },
      { peer: '', addresses: ['/ip4/10.0.0.3/tcp/4001'], lastError: 'ETIMEDOUT' }
    ]
    const found = await about('reachability', { discovery: { unreachable } })
    expect(found.map(({ state }) => state)).toEqual(['warning', 'warning'])
    expect(found[0]?.detail).toBe(`${BOB}: ECONNREFUSED`)
    expect(found[0]?.hint).toContain('/ip4/10.0.0.2/tcp/4001')
    expect(found[1]?.detail).toBe('/ip4/10.0.0.3/tcp/4001: ETIMEDOUT')
  })

  test('counts strangers, but does not take them for a problem', async () => {
    const refused = { stranger: 3, 'other swarm': 1, expired: 0 }
    expect(await about('strangers', { discovery: { refused } })).toEqual([
      { check: 'strangers', state: 'ok', detail: 'refused at the gate since start: stranger 3, other swarm 1' }
    ])
    expect(await about('strangers', { discovery: { refused: { stranger: 0 } } })).toEqual([])
  })

  test.each([
    ['no address', [], 'warning', 'no address is listened on'],
    ['loopback only', ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1'], 'warning', 'only loopback'],
    ['a real address', ['/ip4/127.0.0.1/tcp/1', '/ip4/10.0.0.1/tcp/1'], 'ok', 'listening on /ip4/10.0.0.1/tcp/1']
  ])('looks at where the daemon listens: %s', async (_, addresses, state, detail) => {
    expect(await about('port', { addresses })).toMatchObject([{ state, detail: expect.stringContaining(detail) }])
  })

  test('counts members: those that are gone without a word are a problem, those that have left are not', async () => {
    expect(await about('peers')).toMatchObject([{ state: 'ok', detail: '1 alive' }])
    pool.hub.cut(ALICE, BOB)
    await pool.until(() => pool.host('alice').engine.node.view.get(BOB)?.state === 'dead')
    expect(await about('peers')).toMatchObject([{ state: 'warning', detail: '0 alive, 1 not' }])
    pool.hub.heal(ALICE, BOB)
    await pool.advance(1_000)
    expect(await about('peers')).toMatchObject([{ state: 'ok', detail: '1 alive' }])
    await pool.when(pool.host('bob').engine.stop({ now: true }))
    expect(await about('peers')).toMatchObject([{ state: 'ok', hint: expect.stringContaining('token create') }])
  })

  test('tells a daemon that is alone how to change that', async () => {
    pool = await EnginePool.start({ hosts: [{ name: 'alice', peer: ALICE }] })
    expect(await about('peers')).toMatchObject([{ state: 'ok', hint: expect.stringContaining('token create') }])
    expect(await about('capabilities')).toMatchObject([{ state: 'ok', hint: expect.stringContaining('config.yaml') }])
  })

  test('measures how late timers are', async () => {
    const lateBy = (lateMs: number): Clock => {
      const { clock } = pool.host('alice')
      return { ...clock, after: (delayMs, fire) => clock.after(delayMs + lateMs, fire) }
    }
    expect(await about('load', { clock: lateBy(249) })).toMatchObject([{ state: 'ok' }])
    const [late] = await about('load', { clock: lateBy(250) })
    expect(late).toMatchObject({ state: 'warning', detail: 'a timer fired 250.0 ms late', hint: expect.any(String) })
  })

  test('sees that a clock has never been set', async () => {
    const clock = { ...pool.host('alice').clock, wall: () => 0 }
    expect(await about('clock', { clock })).toMatchObject([{ state: 'failed', hint: expect.any(String) }])
  })

  test('lists what is offered with its free slots', async () => {
    expect(await about('capabilities')).toMatchObject([{ state: 'ok', detail: 'work (2 of 2 free)' }])
  })

  test('sees what others could read', async () => {
    const directory = temporaryDirectory()
    const paths = ['closed', 'open', 'gone'].map(name => ({ path: join(directory, name), holds: name }))
    mkdirSync(join(directory, 'closed'), { mode: 0o700 })
    writeFileSync(join(directory, 'open'), '')
    chmodSync(join(directory, 'open'), 0o640)
    const found = await about('permissions', { privatePaths: paths })
    expect(found).toMatchObject([
      { state: 'ok', detail: `closed: only you can read ${join(directory, 'closed')}` },
      { state: 'failed', hint: `chmod go= ${join(directory, 'open')}` },
      { state: 'unknown', detail: expect.stringContaining('ENOENT') }
    ])
  })
})
