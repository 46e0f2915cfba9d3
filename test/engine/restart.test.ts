import { describe, expect, test } from 'vitest'
import { LEASE_EXPIRY_MS } from '../../src/core/termination/index.ts'
import type { Job } from '../../src/wire/api/index.ts'
import { Disk } from '../helpers/crashing-journal.ts'
import { EnginePool, type PoolHost } from '../helpers/engine-pool.ts'
import { MemoryJournal } from '../helpers/memory-journal.ts'
import type { Body } from '../helpers/scripted-runtime.ts'
import { ALICE, BOB, CAROL } from '../helpers/termination-fixtures.ts'

/** Shorter than a lease: what other hosts do for the job goes on. */
const DOWN_MS = 1_500

/** A root task with three children, on whichever hosts. */
async function tree(body: Body): Promise<string> {
  if (body.path === '0') for (let index = 0; index < 3; index += 1) await body.spawn('work')
  await body.sleep(200)
  return body.path
}

interface Setting {
  readonly pool: EnginePool
  readonly alice: PoolHost
  readonly disk: Disk
}

/** Alice keeps the job and, with `works`, does a part of it herself. */
async function start({ works }: { works: boolean }): Promise<Setting> {
  const disk = new Disk()
  const pool = await EnginePool.start({
    hosts: [
      { name: 'alice', peer: ALICE, journal: disk.open(), ...(works ? { offers: { work: 1 } } : {}) },
      { name: 'bob', peer: BOB, offers: { work: 1 } },
      { name: 'carol', peer: CAROL, offers: { work: 1 } }
    ],
    bodies: { work: tree }
  })
  return { pool, alice: pool.host('alice'), disk }
}

const finishes = ({ commits }: Disk) =>
  commits.flat().flatMap(write => (write.kind === 'finish' ? [{ ...write.summary, items: [...write.items] }] : []))

/** The verdict is what really happened: nothing runs any more, and what counts as completed was completed by somebody. */
function expectHonest(pool: EnginePool, job: Job): void {
  expect(pool.running(job.id)).toEqual([])
  expect(job.verdict).toBe(job.lost.length === 0 ? 'completed' : 'incomplete')
  const done = (job.items ?? []).filter(({ outcome }) => outcome === 'completed')
  for (const item of done) {
    const ends = pool.executionsOf(item.id).map(({ end }) => end)
    expect(ends).toContainEqual({ kind: 'completed', result: item.result })
  }
  expect(job.tasks).toMatchObject({ completed: done.length, lost: job.lost.length, total: job.items?.length })
  if (job.verdict === 'completed') expect(job).toMatchObject({ result: '0', tasks: { completed: 4 } })
}

/** Commits of a run that nobody disturbs. */
async function undisturbed(works: boolean): Promise<number> {
  const setting = await start({ works })
  const { pool, alice, disk } = setting
  const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
  await pool.when(alice.api.waitForJob(id, {}))
  await pool.settle()
  expect(finishes(disk)).toHaveLength(1)
  return disk.commits.length
}

/** Kills alice when `diesAfter` commits are durable, `laterMs` after it, and lets her carry on. */
async function crashAfter(diesAfter: number, works: boolean, laterMs: number): Promise<Setting & { id: string }> {
  const setting = await start({ works })
  const { pool, alice, disk } = setting
  if (laterMs === 0) disk.last = (_, count) => count === diesAfter
  void alice.api.submit({ capability: 'work', id: 'nightly' })
  await pool.until(() => disk.commits.length >= diesAfter)
  await pool.advance(laterMs)
  const first = disk.commits[0]?.find(({ kind }) => kind === 'record')
  const id = first?.kind === 'record' ? first.job : ''
  alice.crash()
  await pool.advance(DOWN_MS)
  alice.restart(disk.open())
  return { ...setting, id }
}

describe.each([
  ['only submits', false],
  ['works as well', true]
])('a daemon that %s and is killed', (_, works) => {
  test.each([0, 30])('at any write of a job (%i ms later) carries on, and the job ends once', async laterMs => {
    const writes = await undisturbed(works)
    expect(writes).toBeGreaterThanOrEqual(6)
    for (let diesAfter = 1; diesAfter <= writes; diesAfter += 1) {
      const { pool, alice, disk, id } = await crashAfter(diesAfter, works, laterMs)
      await pool.until(() => finishes(disk).length > 0, 60_000)
      await pool.advance(2 * LEASE_EXPIRY_MS)
      const [job, ...more] = finishes(disk)
      expect(more, `killed after write ${diesAfter}`).toEqual([])
      expect(job?.id).toBe(id)
      if (job !== undefined) expectHonest(pool, job)
      // What other hosts do is not lost.
      if (!works) expect(job?.verdict, `killed after write ${diesAfter}`).toBe('completed')
      expect(alice.api.jobs()).toMatchObject([{ id, verdict: job?.verdict }])
      expect(alice.told('job.announced').length).toBeLessThanOrEqual(1)
      expect(await alice.api.submit({ capability: 'work', id: 'nightly' })).toEqual({ id, existing: true })
    }
  })
})

describe('a restarted daemon', () => {
  test('that had not made a submission durable knows nothing of it', async () => {
    const { pool, alice, disk } = await start({ works: false })
    disk.dead = true
    void alice.api.submit({ capability: 'work', id: 'nightly' })
    await pool.advance(100)
    alice.crash()
    alice.restart(disk.open())
    await pool.advance(3_000)
    expect(alice.api.jobs()).toEqual([])
    expect(await pool.when(alice.api.submit({ capability: 'work', id: 'nightly' }))).toMatchObject({ existing: false })
    expect(disk.commits.length).toBeGreaterThan(0)
  })

  test('says which jobs it carries on with, and tells their waiters', async () => {
    const { pool, alice, id } = await crashAfter(3, false, 0)
    expect(alice.logger.lines).toContainEqual(
      expect.objectContaining({
        level: 'info',
        message: 'carrying on with a job of an earlier boot',
        fields: { job: id }
      })
    )
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job.verdict).toBe('completed')
    expect(job.peers.map(({ name }) => name).sort()).toEqual(['bob', 'carol'])
  })

  test('finishes at once what it had announced, but not how fast it had noticed the end', async () => {
    const { pool, alice, disk } = await start({ works: false })
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    disk.last = writes => writes.some(write => write.kind === 'record' && write.record.kind === 'announced')
    await pool.until(() => disk.dead)
    expect(finishes(disk)).toEqual([])
    alice.crash()
    alice.restart(disk.open())
    await pool.settle()
    const [job] = finishes(disk)
    expect(job).toMatchObject({
      id,
      verdict: 'completed',
      tasks: { total: 4, completed: 4 },
      timings: { detectionMs: null, lastTaskEndedAt: null, announcedAt: expect.any(String) }
    })
    expect(alice.api.job(id, true).items).toHaveLength(4)
    expect(alice.told('job.announced')).toMatchObject([{ subject: id, data: { detectionMs: null } }])
  })

  test('forgets in another boot how its events were numbered, and says so by their source', async () => {
    const { pool, alice, disk } = await start({ works: false })
    alice.crash()
    alice.restart(disk.open())
    await pool.advance(3_000)
    expect(alice.events[0]).toMatchObject({ id: '1', source: `/peers/${ALICE}/boots/2` })
  })

  test('ends a job with a hole in its journal as incomplete, and keeps it so', async () => {
    const { pool, alice, disk } = await start({ works: false })
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => pool.executions.length > 1)
    alice.crash()
    const journal = disk.open()
    journal.damage = () => [{ job: id }]
    alice.restart(journal)
    await pool.settle()
    const [job, ...more] = finishes(disk)
    expect(more).toEqual([])
    expect(job).toMatchObject({
      id,
      verdict: 'incomplete',
      lost: [`${id}.0`],
      error: { code: 'TASK_LOST' },
      timings: { detectionMs: null }
    })
    expect(alice.logger.lines).toContainEqual(
      expect.objectContaining({ level: 'error', fields: { job: id, code: 'STORAGE_FAILED' } })
    )
    // The hosts hear that it is over with their next renewal, and stop.
    await pool.until(() => pool.running(id).length === 0, 2 * LEASE_EXPIRY_MS)
    expect(finishes(disk)).toHaveLength(1)
  })

  test('ends a job that was announced before its journal was damaged as it was', async () => {
    const journal = new MemoryJournal()
    const pool = await EnginePool.start({
      hosts: [{ name: 'alice', peer: ALICE, journal, offers: { work: 1 } }],
      bodies: { work: () => 5 }
    })
    const alice = pool.host('alice')
    const commit = journal.commit.bind(journal)
    journal.commit = writes =>
      writes.some(({ kind }) => kind === 'finish') ? new Promise(() => undefined) : commit(writes)
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.when(alice.api.waitForJob(id, {}))
    const found = alice.crash()
    found.damage = () => [{ job: id }]
    alice.restart(found)
    await pool.settle()
    expect(found.summary(id)).toMatchObject({ verdict: 'completed', result: 5 })
  })
})
