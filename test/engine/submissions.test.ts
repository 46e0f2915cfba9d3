import { describe, expect, test } from 'vitest'
import { INPUT_BYTES_MAX, RUNNING_JOBS_MAX, TEXT_QUOTES_BYTES, WAITING_INPUT_BYTES_MAX } from '../../src/core/limits.ts'
import { inputBytes } from '../../src/engine/submissions.ts'
import { placementSchema } from '../../src/wire/api/index.ts'
import { codeOf, EnginePool, type PoolHost } from '../helpers/engine-pool.ts'
import { ALICE, BOB, CAROL } from '../helpers/termination-fixtures.ts'

const hosts = [
  { name: 'alice', peer: ALICE },
  { name: 'bob', peer: BOB, offers: { work: 2 } },
  { name: 'carol', peer: CAROL, offers: { lint: 1 } }
]

/** Bodies run until the pool is gone. */
const start = () => EnginePool.start({ hosts, bodies: { work: body => body.sleep(1e9) } })

async function submitted(pool: EnginePool, host: PoolHost, request: object = {}) {
  return (await pool.when(host.api.submit({ capability: 'work', ...request }))).id
}

describe('a submission under a key', () => {
  test('made again gives the same job, running or over, and another one is refused', async () => {
    const pool = await EnginePool.start({ hosts })
    const alice = pool.host('alice')
    const id = await submitted(pool, alice, { input: [1], id: 'nightly' })
    const again = () => alice.api.submit({ capability: 'work', input: [1], id: 'nightly' })
    expect(await again()).toEqual({ id, existing: true })
    await pool.when(alice.api.waitForJob(id, {}))
    expect(await again()).toEqual({ id, existing: true })
    for (const other of [{ input: [2] }, { input: [1], on: 'bob' }, { input: [1], capability: 'lint' }]) {
      expect(await codeOf(alice.api.submit({ capability: 'work', ...other, id: 'nightly' }))).toBe('ID_REUSED')
    }
    expect(pool.executions).toHaveLength(1)
    expect(await submitted(pool, alice, { input: [1] })).not.toBe(id)
  })

  test('made twice at the same time makes one job', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    alice.journal.hold()
    const first = alice.api.submit({ capability: 'work', id: 'nightly' })
    const second = alice.api.submit({ capability: 'work', id: 'nightly' })
    expect(await codeOf(alice.api.submit({ capability: 'work', input: 1, id: 'nightly' }))).toBe('ID_REUSED')
    alice.journal.release()
    const [one, two] = await Promise.all([first, second])
    expect(one).toEqual({ id: two.id, existing: false })
    expect(two.existing).toBe(true)
    expect(alice.api.jobs()).toHaveLength(1)
  })

  test('that failed leaves the key free', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const commit = alice.journal.commit.bind(alice.journal)
    alice.journal.commit = () => Promise.reject(new Error('too large'))
    const twice = [1, 2].map(() => codeOf(alice.api.submit({ capability: 'work', id: 'nightly' })))
    expect(await Promise.all(twice)).toEqual([new Error('too large'), new Error('too large')])
    alice.journal.commit = commit
    expect(await alice.api.submit({ capability: 'work', id: 'nightly' })).toMatchObject({ existing: false })
  })
})

describe('a submission for nobody', () => {
  test('names what is offered', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    await expect(alice.api.submit({ capability: 'brew' })).rejects.toMatchObject({
      code: 'NO_CAPABLE_PEER',
      message: 'No peer offers "brew". Offered now: lint, work.',
      hint: expect.any(String)
    })
    await expect(alice.api.submit({ capability: 'lint', on: 'bob' })).rejects.toMatchObject({
      code: 'NO_CAPABLE_PEER',
      message: 'bob does not offer "lint". Offered now: lint, work.'
    })
    expect(() => alice.api.plan({ capability: 'brew' })).toThrow('No peer offers "brew"')
  })

  test('says so when nothing at all is offered', async () => {
    const pool = await EnginePool.start({ hosts: [{ name: 'alice', peer: ALICE }] })
    await expect(pool.host('alice').api.submit({ capability: 'work' })).rejects.toThrow('Nothing is offered now.')
  })
})

describe('the peer that a submission asks for', () => {
  const twins = [...hosts, { name: 'bob', peer: '12D3Bob22', offers: { work: 1 } }]

  test.each([
    ['by name', 'bob'],
    ['by id', BOB],
    ['by the beginning of its id', BOB.slice(0, 6)]
  ])('is known %s', async (_, on) => {
    const pool = await start()
    const id = await submitted(pool, pool.host('alice'), { on })
    await pool.until(() => pool.running(id).length === 1)
    expect(pool.running(id)).toMatchObject([{ host: 'bob' }])
  })

  test('may be this daemon itself', async () => {
    const pool = await start()
    const bob = pool.host('bob')
    const id = await submitted(pool, bob, { on: 'bob' })
    await pool.until(() => pool.running(id).length === 1)
    expect(pool.running(id)).toMatchObject([{ host: 'bob' }])
  })

  test.each([
    ['a name that two have', 'bob', 'AMBIGUOUS_ID'],
    ['a beginning that two have', '12D3Bob', 'AMBIGUOUS_ID'],
    ['a beginning that is too short', '12D', 'NOT_FOUND'],
    ['nobody', 'dave', 'NOT_FOUND']
  ])('is refused for %s', async (_, on, code) => {
    const pool = await EnginePool.start({ hosts: twins })
    await expect(pool.host('alice').api.submit({ capability: 'work', on })).rejects.toMatchObject({
      code,
      hint: expect.any(String)
    })
  })

  test('can be named by its id when two have its name', async () => {
    const pool = await EnginePool.start({ hosts: twins })
    const id = await submitted(pool, pool.host('alice'), { on: '12D3Bob22' })
    expect(await pool.when(pool.host('alice').api.waitForJob(id, {}))).toMatchObject({
      peers: [{ peerId: '12D3Bob22' }]
    })
  })
})

describe('the input of a submission', () => {
  test.each([
    ['a text', 'x'.repeat(INPUT_BYTES_MAX), 'x'.repeat(INPUT_BYTES_MAX + 1)],
    ['a text of wide characters', 'é'.repeat(INPUT_BYTES_MAX / 2), `x${'é'.repeat(INPUT_BYTES_MAX / 2)}`],
    [
      'JSON',
      ['x'.repeat(INPUT_BYTES_MAX - TEXT_QUOTES_BYTES - 2)],
      ['x'.repeat(INPUT_BYTES_MAX - TEXT_QUOTES_BYTES - 1)]
    ]
  ])('may be %s of a mebibyte, and not a byte more', async (_, fits, over) => {
    const pool = await start()
    const alice = pool.host('alice')
    const id = await submitted(pool, alice, { input: fits })
    await pool.until(() => pool.running(id).length === 1)
    expect(pool.running(id)[0]?.task.input).toEqual(fits)
    await expect(alice.api.submit({ capability: 'work', input: over })).rejects.toMatchObject({
      code: 'INPUT_TOO_LARGE',
      message: expect.stringContaining(`${INPUT_BYTES_MAX + 1} bytes`)
    })
  })

  test('is null when it is left out', async () => {
    const pool = await start()
    const id = await submitted(pool, pool.host('alice'))
    await pool.until(() => pool.running(id).length === 1)
    expect(pool.running(id)[0]?.task.input).toBeNull()
  })
})

describe('the bounds of a submitting daemon', () => {
  test('hold for jobs that run', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const many = Array.from({ length: RUNNING_JOBS_MAX }, () => alice.api.submit({ capability: 'work' }))
    await pool.when(Promise.all(many))
    await expect(alice.api.submit({ capability: 'work' })).rejects.toMatchObject({ code: 'LIMIT_REACHED' })
    const [first] = await Promise.all(many)
    await alice.api.cancel(first?.id ?? '')
    await pool.when(alice.api.waitForJob(first?.id ?? '', {}))
    await submitted(pool, alice)
  })

  test('hold for jobs that are only being written', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    alice.journal.hold()
    const codes = Array.from({ length: RUNNING_JOBS_MAX + 1 }, () => codeOf(alice.api.submit({ capability: 'work' })))
    expect(await codes.at(-1)).toBe('LIMIT_REACHED')
    alice.journal.release()
    expect(new Set(await Promise.all(codes.slice(0, -1)))).toEqual(new Set(['resolved']))
    expect(alice.engine.node.roots.ledgers()).toHaveLength(RUNNING_JOBS_MAX)
  })

  test('hold for the bytes of inputs, to the last one, and a submission that failed takes none', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const mebibyte = 'x'.repeat(INPUT_BYTES_MAX - TEXT_QUOTES_BYTES)
    const input = inputBytes(mebibyte)
    // Nothing is written, so that the inputs are kept once.
    alice.journal.commit = () => Promise.resolve()
    const common = {
      kind: 'submitted',
      capability: 'work',
      input,
      on: undefined,
      traceparent: '',
      submittedAt: 0
    } as const
    for (let job = 1; job < WAITING_INPUT_BYTES_MAX / INPUT_BYTES_MAX; job += 1)
      await alice.engine.submit({ ...common, job: `job${job}` }, undefined)

    alice.journal.commit = () => Promise.reject(new Error('the disk is full'))
    expect(await codeOf(alice.api.submit({ capability: 'work', input: mebibyte }))).toEqual(
      new Error('the disk is full')
    )
    alice.journal.commit = () => Promise.resolve()
    expect(await codeOf(alice.api.submit({ capability: 'work', input: `x${mebibyte}` }))).toBe('LIMIT_REACHED')
    expect(await codeOf(alice.api.submit({ capability: 'work', input: mebibyte }))).toBe('resolved')
    expect(await codeOf(alice.api.submit({ capability: 'work', input: 0 }))).toBe('LIMIT_REACHED')
  })

  test('are not asked any more when it stops', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const stopped = alice.engine.stop({ now: true })
    expect(await codeOf(alice.api.submit({ capability: 'work' }))).toBe('DAEMON_STOPPING')
    await pool.when(stopped)
  })
})

describe('a plan', () => {
  test('says where a job would go and why, and changes nothing', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const plan = placementSchema.parse(alice.api.plan({ capability: 'work' }))
    expect(plan).toMatchObject({ chosen: BOB, waitedMs: null })
    expect(plan.candidates).toMatchObject([
      { name: 'alice', eligible: false, reason: 'it does not offer the capability', free: null, ageMs: 0 },
      { name: 'bob', eligible: true, reason: '2 free', free: 2 },
      { name: 'carol', eligible: false, reason: 'it does not offer the capability', free: null }
    ])
    await pool.advance(5_000)
    expect(alice.api.jobs()).toEqual([])
    expect(pool.executions).toEqual([])
  })

  test('prefers this host when it is free, and the one with most free slots when it is not', async () => {
    const pool = await EnginePool.start({
      hosts: [
        { name: 'alice', peer: ALICE, offers: { work: 1 } },
        { name: 'bob', peer: BOB, offers: { work: 2 } },
        { name: 'carol', peer: CAROL, offers: { work: 3 } }
      ],
      bodies: { work: body => body.sleep(1e9) }
    })
    const alice = pool.host('alice')
    expect(alice.api.plan({ capability: 'work' }).chosen).toBe(ALICE)
    await submitted(pool, alice, { on: 'alice' })
    await pool.until(() => pool.executions.length === 1)
    expect(alice.api.plan({ capability: 'work' }).chosen).toBe(CAROL)
  })

  test('says that a job would wait when all slots are taken', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    for (let job = 0; job < 2; job += 1) await submitted(pool, alice)
    await pool.advance(3_000)
    const plan = alice.api.plan({ capability: 'work' })
    expect(plan).toMatchObject({ chosen: null, reason: expect.stringContaining('1 able peers') })
  })
})
