import { describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import { OutputQueue } from '../../src/engine/output-queue.ts'
import type { JournalWrite } from '../../src/ports/journal.ts'
import { codeOf, EnginePool, type PoolHost } from '../helpers/engine-pool.ts'
import { MemoryJournal } from '../helpers/memory-journal.ts'
import type { Behaviour } from '../helpers/scripted-runtime.ts'
import { ALICE, BOB } from '../helpers/termination-fixtures.ts'

const WRITE: JournalWrite = { kind: 'record', job: 'job1', record: { kind: 'cancel-requested' } }

/** Alice submits and keeps the journal; only bob works. */
const start = (work: Behaviour = () => null) =>
  EnginePool.start({
    hosts: [
      { name: 'alice', peer: ALICE },
      { name: 'bob', peer: BOB, offers: { work: 1 } }
    ],
    bodies: { work }
  })

const jobFrames = ({ sent }: PoolHost) => sent.flatMap(({ frame }) => ('job' in frame ? [frame.kind] : []))

describe('durable before visible', () => {
  test('a submission is answered when it is on disk, and nobody hears of it before', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    alice.journal.hold()
    let answered = false
    const submitted = alice.api.submit({ capability: 'work' }).then(answer => {
      answered = true
      return answer
    })
    await pool.advance(5_000)
    expect(answered).toBe(false)
    expect(jobFrames(alice)).toEqual([])
    expect(alice.api.jobs()).toEqual([])
    expect(alice.told('job.submitted')).toEqual([])
    alice.journal.release()
    const { id } = await pool.when(submitted)
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed' })
  })

  test('an engagement, a hand-off and an end leave one after the other, each with its write', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    let over = false
    void alice.api.waitForJob(id, {}).then(() => {
      over = true
    })
    /** What can be seen of the job while alice's disk takes nothing for a while, then all that follows at once. */
    const seen: string[][] = []
    for (let round = 0; round < 3; round += 1) {
      alice.journal.hold()
      await pool.advance(2_000)
      const started: string[] = pool.executions.length > 0 ? ['started'] : []
      seen.push([...new Set<string>(jobFrames(alice)), ...started, ...(over ? ['over'] : [])])
      alice.journal.release()
      await pool.settle()
    }
    expect(seen).toEqual([['reserve'], ['reserve', 'grant'], ['reserve', 'grant', 'handoff', 'started']])
    await pool.until(() => over)
    expect(jobFrames(alice).at(-1)).toBe('done')
  })

  test('an end is neither told nor listed as over before it is on disk', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    let over = false
    void alice.api.waitForJob(id, {}).then(() => {
      over = true
    })
    await pool.until(() => pool.executions.some(({ end }) => end !== undefined))
    alice.journal.hold()
    await pool.advance(3_000)
    expect(over).toBe(false)
    expect(alice.told('job.announced')).toEqual([])
    expect(jobFrames(alice)).not.toContain('done')
    expect(alice.api.job(id, false)).toMatchObject({ verdict: 'running' })
    expect(alice.api.job(id.slice(0, 6), true)).toMatchObject({ verdict: 'running', items: [] })
    expect(alice.api.jobs()).toMatchObject([{ id, verdict: 'running' }])
    alice.journal.release()
    await pool.until(() => over)
  })

  test('a job that is over is shown while what is to be kept of it is still being written', async () => {
    const pool = await start(() => 7)
    const alice = pool.host('alice')
    let held = false
    const commit = alice.journal.commit.bind(alice.journal)
    alice.journal.commit = writes => {
      if (writes.some(({ kind }) => kind === 'finish')) {
        held = true
        alice.journal.hold()
      }
      return commit(writes)
    }
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(held).toBe(true)
    expect(job).toMatchObject({ verdict: 'completed', result: 7 })
    expect(alice.journal.summary(id)).toBeUndefined()
    const shown = { whole: alice.api.job(id.slice(0, 6), true), list: alice.api.jobs() }
    expect(shown.whole.items).toMatchObject([{ id: `${id}.0`, result: 7 }])
    expect(shown.list).toMatchObject([{ id, verdict: 'completed' }])
    expect(shown.list[0]).not.toHaveProperty('result')
    expect(shown.list[0]).not.toHaveProperty('items')
    expect(await pool.when(alice.api.waitForJob(id, {}))).toEqual(job)
    alice.journal.release()
    await pool.settle()
    expect(alice.engine.ending(id)).toBeUndefined()
    expect({ whole: alice.api.job(id.slice(0, 6), true), list: alice.api.jobs() }).toEqual(shown)
  })
})

describe('a disk that refuses', () => {
  test('a submission fails it and nothing has happened', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    alice.journal.hold()
    const submitted = codeOf(alice.api.submit({ capability: 'work', id: 'nightly' }))
    alice.journal.fail()
    expect(await pool.when(submitted)).toBe('STORAGE_FAILED')
    await pool.advance(5_000)
    expect(alice.api.jobs()).toEqual([])
    expect(jobFrames(alice)).toEqual([])
    expect(alice.told('job.submitted')).toEqual([])
    expect(await codeOf(alice.api.submit({ capability: 'work', id: 'nightly' }))).toBe('STORAGE_FAILED')
    expect(alice.failures).toEqual([])
  })

  test('a step stops the engine for good, which is said once', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => pool.executions.length === 1)
    alice.journal.hold()
    let told = false
    void alice.api.waitForJob(id, {}).then(() => {
      told = true
    })
    await pool.advance(100)
    const heard = alice.sent.length
    alice.journal.fail()
    await pool.advance(30_000)
    expect(alice.failures).toEqual([{ kind: 'journal', error: expect.objectContaining({ code: 'STORAGE_FAILED' }) }])
    expect(alice.sent).toHaveLength(heard)
    expect(alice.told('job.announced')).toEqual([])
    expect(told).toBe(false)
  })

  test('the ends of many jobs stops the engine once', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    const commit = alice.journal.commit.bind(alice.journal)
    alice.journal.commit = writes => {
      if (writes.some(({ kind }) => kind === 'finish')) alice.journal.hold()
      return commit(writes)
    }
    const jobs = await Promise.all([1, 2, 3].map(() => pool.when(alice.api.submit({ capability: 'work' }))))
    await pool.when(alice.api.waitForJob(jobs[0]?.id ?? '', {}))
    await pool.advance(5_000)
    alice.journal.fail()
    await pool.advance(5_000)
    expect(alice.failures).toHaveLength(1)
  })

  test('does not keep a daemon from stopping', async () => {
    const pool = await start()
    const alice = pool.host('alice')
    await pool.when(alice.api.submit({ capability: 'work' }))
    alice.journal.fail()
    await pool.until(() => alice.failures.length === 1)
    const begun = pool.time.now
    await pool.when(alice.engine.stop({ now: true }))
    expect(pool.time.now - begun).toBeLessThan(10_000)
  })
})

describe('the queue of outputs', () => {
  const failure = new StarlingError('STORAGE_FAILED', 'the disk is full')

  function queue() {
    const journal = new MemoryJournal()
    const failed: unknown[] = []
    return { journal, failed, outputs: new OutputQueue(journal, (kind, error) => failed.push({ kind, error })) }
  }

  test('carries out at once what waits for nothing', () => {
    const { outputs } = queue()
    const done: number[] = []
    outputs.push([], () => done.push(1))
    expect(done).toEqual([1])
  })

  test('keeps the order, whatever waits for the disk', async () => {
    const { outputs, journal } = queue()
    const done: number[] = []
    journal.hold()
    outputs.push([WRITE], () => done.push(1))
    outputs.push([], () => done.push(2))
    outputs.push([WRITE], () => done.push(3))
    outputs.push([], () => done.push(4))
    let idle = false
    const empty = outputs.idle().then(() => {
      idle = true
    })
    await Promise.resolve()
    expect({ done, idle }).toEqual({ done: [], idle: false })
    journal.release()
    await empty
    expect(done).toEqual([1, 2, 3, 4])
    await outputs.idle()
  })

  test('hands all writes to the journal at once, so that they share a disk write', () => {
    const { outputs, journal } = queue()
    const commits: number[] = []
    journal.commit = writes => {
      commits.push(writes.length)
      return Promise.resolve()
    }
    outputs.push([WRITE], () => undefined)
    outputs.push([WRITE, WRITE], () => undefined)
    expect(commits).toEqual([1, 2])
  })

  test.each([
    ['without', []],
    ['with', [WRITE]]
  ])('never carries out one inside another, %s a write', async (_, writes) => {
    const { outputs } = queue()
    const done: string[] = []
    outputs.push(writes, () => {
      done.push('begin')
      outputs.push([], () => done.push('inner'))
      done.push('end')
    })
    await outputs.idle()
    expect(done).toEqual(['begin', 'end', 'inner'])
  })

  test('drops all that is later than a refused write, says so once, and is idle', async () => {
    const { outputs, journal, failed } = queue()
    const done: number[] = []
    journal.hold()
    outputs.push([WRITE], () => done.push(1))
    outputs.push([WRITE], () => done.push(2))
    outputs.push([], () => done.push(3))
    const idle = outputs.idle()
    journal.fail()
    await idle
    outputs.push([WRITE], () => done.push(4))
    outputs.push([], () => done.push(5))
    await outputs.idle()
    expect(done).toEqual([])
    expect(failed).toEqual([{ kind: 'journal', error: expect.objectContaining({ code: failure.code }) }])
  })

  test.each([
    ['without', []],
    ['with', [WRITE]]
  ])('stops when an effect throws, %s a write', async (_, writes) => {
    const { outputs, failed } = queue()
    const done: number[] = []
    outputs.push(writes, () => {
      throw failure
    })
    outputs.push([], () => done.push(2))
    await outputs.idle()
    outputs.push([], () => done.push(3))
    expect(done).toEqual([])
    expect(failed).toEqual([{ kind: 'defect', error: failure }])
  })

  test('hears of a write that is refused before it is its turn', async () => {
    const { outputs, journal, failed } = queue()
    const first = Promise.withResolvers<void>()
    journal.commit = () => first.promise
    outputs.push([WRITE], () => undefined)
    journal.commit = () => Promise.reject(failure)
    outputs.push([WRITE], () => undefined)
    // An unhandled rejection would fail the run by now.
    await new Promise(resolve => setImmediate(resolve))
    expect(failed).toEqual([])
    first.resolve()
    await outputs.idle()
    expect(failed).toEqual([{ kind: 'journal', error: failure }])
  })
})
