import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import { RECORD_RESULT_BYTES_MAX } from '../../src/core/limits.ts'
import { jobSchema, placementSchema } from '../../src/wire/api/index.ts'
import { EnginePool, WALL_AT_ZERO_MS } from '../helpers/engine-pool.ts'
import type { Body } from '../helpers/scripted-runtime.ts'
import { ALICE, BOB, CAROL } from '../helpers/termination-fixtures.ts'

const LATENCY_MS = 4

const three = (slots = 1) => [
  { name: 'alice', peer: ALICE },
  { name: 'bob', peer: BOB, offers: { work: slots } },
  { name: 'carol', peer: CAROL, offers: { work: slots } }
]

/** `[2, 3]`: a task with two children, which have three each. */
async function tree(body: Body): Promise<unknown> {
  const [width = 0, ...below] = body.input as number[]
  for (let index = 0; index < width; index += 1) await body.spawn('work', below)
  await body.sleep(100)
  return body.path
}

const start = (body = tree) => EnginePool.start({ hosts: three(), bodies: { work: body }, latencyMs: LATENCY_MS })

describe('a job of ten tasks over three hosts', () => {
  test('ends once, after its last body, and says who did what', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const submittedAt = pool.time.now
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [3, 2] }))
    const job = await pool.when(alice.api.waitForJob(id, {}))

    expect(jobSchema.parse(job)).toMatchObject({
      id,
      capability: 'work',
      topology: 'mesh',
      verdict: 'completed',
      lost: []
    })
    expect(job.result).toBe('0')
    expect(job.tasks).toEqual({ total: 10, completed: 10, failed: 0, lost: 0, cancelled: 0 })
    expect(job.timings.submittedAt).toBe(new Date(WALL_AT_ZERO_MS + submittedAt).toISOString())
    expect(pool.running(id)).toEqual([])
    expect(pool.executions).toHaveLength(10)

    const shares = Map.groupBy(pool.executions, ({ host }) => host)
    expect(shares.size).toBe(2)
    expect(job.peers).toEqual(
      [...shares]
        .map(([name, done]) => ({ peerId: pool.host(name).peer, name, tasks: done.length }))
        .sort((a, b) => b.tasks - a.tasks)
    )
    await pool.advance(60_000)
    expect(alice.told('job.announced')).toHaveLength(1)
    expect([...pool.host('bob').told('job.announced'), ...pool.host('carol').told('job.announced')]).toEqual([])
  })

  test('is detected one way and no more after its last body has ended, as the clock measures it', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    // Lets heartbeats measure the round trip, by which the time on the way is counted.
    await pool.advance(3_000)
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    const job = await pool.when(alice.api.waitForJob(id, {}))
    const endedAt = pool.executions[0]?.endedAt ?? Number.NaN
    expect(pool.time.now - endedAt).toBe(LATENCY_MS)
    expect(job.timings).toMatchObject({
      detectionMs: LATENCY_MS,
      announcedAt: new Date(WALL_AT_ZERO_MS + pool.time.now).toISOString(),
      lastTaskEndedAt: new Date(WALL_AT_ZERO_MS + endedAt).toISOString()
    })
  })

  test('lists its tasks by their paths, each with parent, host, times and digest', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [11, 1] }))
    await pool.when(alice.api.waitForJob(id, {}))
    const items = alice.api.job(id, true).items ?? []
    const paths = ['0', ...Array.from({ length: 11 }, (_, index) => [`0.${index}`, `0.${index}.0`]).flat()]
    expect(items.map(item => item.id)).toEqual(paths.map(path => `${id}.${path}`))
    for (const item of items) {
      const path = item.id.slice(id.length + 1)
      const [execution] = pool.executionsOf(item.id)
      const time = (at: number | undefined) => new Date(WALL_AT_ZERO_MS + (at ?? Number.NaN)).toISOString()
      expect(item).toEqual({
        id: item.id,
        parent: path === '0' ? null : `${id}.${path.slice(0, path.lastIndexOf('.'))}`,
        capability: 'work',
        peerId: pool.host(execution?.host ?? '').peer,
        state: 'completed',
        outcome: 'completed',
        attempt: 1,
        result: path,
        resultDigest: createHash('sha256').update(JSON.stringify(path)).digest('hex'),
        usage: { source: 'unknown' },
        startedAt: time(execution?.startedAt),
        endedAt: time(execution?.endedAt)
      })
    }
  })

  test('keeps the results of tasks up to two kibibytes, and of bigger ones the digest', async () => {
    const pool = await start(async body => {
      if (body.path === '0') await body.spawn('work', 1)
      return 'x'.repeat(RECORD_RESULT_BYTES_MAX - 2 + (body.input as number))
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: 0 }))
    const job = await pool.when(alice.api.waitForJob(id, {}))
    const [kept, left] = alice.api.job(id, true).items ?? []
    expect(kept?.result).toBe(job.result)
    expect(left).not.toHaveProperty('result')
    const big = JSON.stringify('x'.repeat(RECORD_RESULT_BYTES_MAX - 1))
    expect(left?.resultDigest).toBe(createHash('sha256').update(big).digest('hex'))
  })

  test('records where its root task went, and what was known of the others then', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [], on: 'carol' }))
    await pool.until(() => alice.api.job(id, false).placement !== undefined)
    const while_ = placementSchema.parse(alice.api.job(id, false).placement)
    expect(while_.chosen).toBe(CAROL)
    expect(while_.candidates.map(({ name, eligible, reason, free }) => ({ name, eligible, reason, free }))).toEqual([
      { name: 'alice', eligible: false, reason: 'another peer was asked for', free: null },
      { name: 'bob', eligible: false, reason: 'another peer was asked for', free: 1 },
      { name: 'carol', eligible: true, reason: '1 free', free: 1 }
    ])
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job.placement).toEqual(while_)
    expect(pool.executions.map(({ host }) => host)).toEqual(['carol'])
  })

  test('tells its story in numbered events without a gap', async () => {
    const pool = await start()
    const [alice, bob] = [pool.host('alice'), pool.host('bob')]
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [2], on: 'bob' }))
    await pool.when(alice.api.waitForJob(id, {}))
    await pool.settle()
    const own = alice.events.filter(({ subject }) => subject === id)
    expect(own.map(({ type, data }) => ({ type, data }))).toEqual([
      { type: 'starling.job.submitted', data: { capability: 'work' } },
      { type: 'starling.job.announced', data: { verdict: 'completed', detectionMs: expect.any(Number) } }
    ])
    expect(bob.told('task.started')[0]).toMatchObject({ subject: `${id}.0`, data: { capability: 'work', attempt: 1 } })
    for (const { events, peer } of pool.hosts) {
      expect(events.map(event => event.id)).toEqual(events.map((_, index) => String(index + 1)))
      expect(new Set(events.map(({ source }) => source))).toEqual(new Set([`/peers/${peer}/boots/1`]))
    }
  })

  test('sums up what its hosts say while it runs', async () => {
    const pool = await start(async body => {
      if (body.path === '0') for (let index = 0; index < 6; index += 1) await body.spawn('work', null)
      await body.sleep(10_000)
      if (body.path === '0.0') throw new StarlingError('TASK_FAILED', 'as told')
      return 1
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: 0 }))
    await pool.advance(5_000)
    const early = alice.api.job(id, false)
    expect(early).toMatchObject({ verdict: 'running', result: null, timings: { announcedAt: null, detectionMs: null } })
    expect(early.tasks).toEqual({ total: 7, completed: 0, failed: 0, lost: 0, cancelled: 0 })
    expect(early.progress).toMatchObject({ running: 2, ended: 0, spawned: 6 })
    expect(early.progress?.ageMs).toBeLessThanOrEqual(1_000)
    expect(alice.api.jobs()).toMatchObject([{ id, verdict: 'running' }])
    await pool.advance(20_000)
    const ended = pool.executions.filter(({ end }) => end !== undefined)
    expect(alice.api.job(id, false).tasks).toMatchObject({ total: 7, completed: ended.length - 1, failed: 1 })
    const over = await pool.when(alice.api.waitForJob(id, {}))
    expect(over).toMatchObject({ verdict: 'completed-with-failures', tasks: { total: 7, completed: 6, failed: 1 } })
    expect(over).not.toHaveProperty('progress')
  })
})

describe('waiting for a job', () => {
  test('tells every waiter once, in the step of the announcement', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    const told: number[] = []
    for (let waiter = 0; waiter < 5; waiter += 1)
      alice.api.waitForJob(id.slice(0, 4 + waiter), {}).then(job => {
        expect(job.verdict).toBe('completed')
        told.push(waiter)
      })
    await pool.until(() => told.length > 0)
    expect(told).toEqual([0, 1, 2, 3, 4])
    await pool.advance(1_000)
    expect(told).toHaveLength(5)
  })

  test('ends as the job stands when its time is over, and does not end the job', async () => {
    const pool = await start(body => body.sleep(10_000))
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    const begun = pool.time.now
    expect(await pool.when(alice.api.waitForJob(id, { timeoutMs: 700 }))).toMatchObject({ id, verdict: 'running' })
    expect(pool.time.now - begun).toBe(700)
    expect(await pool.when(alice.api.waitForJob(id, { timeoutMs: 60_000 }))).toMatchObject({ verdict: 'completed' })
  })

  test('ends as the job stands when the waiter gives up, and at once when it had given up before', async () => {
    const pool = await start(body => body.sleep(10_000))
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    const waiter = new AbortController()
    const waiting = alice.api.waitForJob(id, { signal: waiter.signal })
    await pool.advance(100)
    waiter.abort()
    const begun = pool.time.now
    expect(await pool.when(waiting)).toMatchObject({ verdict: 'running' })
    expect(await pool.when(alice.api.waitForJob(id, { signal: waiter.signal }))).toMatchObject({ verdict: 'running' })
    expect(pool.time.now).toBe(begun)
  })

  test('for a job that is over ends at once, by its id or a prefix of it', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    const first = await pool.when(alice.api.waitForJob(id, {}))
    await pool.advance(1)
    expect(await pool.when(alice.api.waitForJob(id.slice(0, 6), {}))).toEqual(first)
    await expect(alice.api.waitForJob('nojob', {})).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('a job that is cancelled', () => {
  test('is over when its bodies are reaped, and not before', async () => {
    const pool = await start(async body => {
      body.reapMs = 900
      await body.sleep(60_000)
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    await pool.until(() => pool.running(id).length === 1)
    const cancelledAt = pool.time.now
    expect(await alice.api.cancel(id)).toMatchObject({ id, verdict: 'running' })
    await alice.api.cancel(id)
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job).toMatchObject({ verdict: 'cancelled', result: null, tasks: { total: 1, cancelled: 1 } })
    expect(pool.time.now - cancelledAt).toBeGreaterThanOrEqual(900)
    expect(pool.running(id)).toEqual([])
    expect(await alice.api.cancel(id)).toMatchObject({ verdict: 'cancelled' })
    expect(alice.api.job(id, true).items).toMatchObject([{ state: 'canceled', outcome: 'cancelled' }])
  })
})

describe('a task that fails', () => {
  test('fails the job with its error, and is listed with it', async () => {
    const pool = await start(() => {
      throw new StarlingError('TASK_TIMEOUT', 'too slow')
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: [] }))
    const job = await pool.when(alice.api.waitForJob(id, {}))
    const error = { code: 'TASK_TIMEOUT', message: 'too slow' }
    expect(job).toMatchObject({ verdict: 'completed-with-failures', result: null, error })
    expect(alice.api.job(id, true).items).toMatchObject([
      { state: 'failed', outcome: 'failed', error, resultDigest: null }
    ])
  })
})
