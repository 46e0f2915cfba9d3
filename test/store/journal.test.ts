import { existsSync } from 'node:fs'
import { describe, expect, test, vi } from 'vitest'
import { FINISHED_JOBS_MAX, RECORD_BYTES_MAX } from '../../src/store/index.ts'
import { GROUP_WRITES_MAX, ITEMS_PER_PART, PENDING_BYTES_MAX } from '../../src/store/limits.ts'
import { journalSuite } from '../compliance/journal-suite.ts'
import { granted, item, jobId, settled, summary } from '../helpers/journal-samples.ts'
import { MemoryJournal } from '../helpers/memory-journal.ts'
import { fillDisk, openJournal } from './helpers.ts'

journalSuite('the SQLite journal', () => {
  let open = openJournal()
  return {
    journal: open.journal,
    restart() {
      open.close()
      open = openJournal(open.path)
      return open.journal
    },
    breakDisk: () => fillDisk(open.database),
    teardown: () => open.close()
  }
})

journalSuite('the memory journal', () => {
  let journal = new MemoryJournal()
  return {
    journal,
    restart() {
      journal = journal.crash()
      return journal
    },
    breakDisk: () => journal.fail(),
    teardown() {}
  }
})

const a = jobId(1)
const record = (engagement: number) => ({ kind: 'record', job: a, record: granted(engagement) }) as const
const sized = (length: number) => ({ kind: 'record', job: a, record: settled(new Uint8Array(length)) }) as const

describe('group commit', () => {
  test('commits of one turn of the event loop share one transaction', async () => {
    const { journal, database, close } = openJournal()
    const write = vi.spyOn(database, 'write')
    await Promise.all(Array.from({ length: 100 }, (_, index) => journal.commit([record(index)])))
    expect(write).toHaveBeenCalledTimes(1)
    await journal.commit([record(100)])
    expect(write).toHaveBeenCalledTimes(2)
    close()
  })

  test('nothing is written before the turn is over', async () => {
    const { journal, close } = openJournal()
    const committed = journal.commit([record(1)])
    expect([...journal.replay()]).toHaveLength(0)
    await committed
    expect([...journal.replay()]).toHaveLength(1)
    close()
  })

  test('a transaction takes GROUP_WRITES_MAX writes, and the next turn takes the rest', async () => {
    const { journal, database, close } = openJournal()
    const write = vi.spyOn(database, 'write')
    await Promise.all(Array.from({ length: GROUP_WRITES_MAX }, (_, index) => journal.commit([record(index)])))
    expect(write).toHaveBeenCalledTimes(1)
    await Promise.all(Array.from({ length: GROUP_WRITES_MAX + 1 }, (_, index) => journal.commit([record(index)])))
    expect(write).toHaveBeenCalledTimes(3)
    close()
  })

  test('one commit is never split, however many writes it has', async () => {
    const { journal, database, close } = openJournal()
    const write = vi.spyOn(database, 'write')
    await journal.commit(Array.from({ length: GROUP_WRITES_MAX + 1 }, (_, index) => record(index)))
    expect(write).toHaveBeenCalledTimes(1)
    close()
  })

  test('when PENDING_BYTES_MAX bytes wait they are written at once', async () => {
    const { journal, close } = openJournal()
    const half = PENDING_BYTES_MAX / 2
    const first = journal.commit([sized(half - 1_000)])
    expect([...journal.replay()]).toHaveLength(0)
    const second = journal.commit([sized(half + 1_000)])
    expect([...journal.replay()]).toHaveLength(2)
    await Promise.all([first, second])
    close()
  })

  test('the tasks of a huge job are encoded over several turns, and later commits wait for them', async () => {
    const { journal, close } = openJournal()
    const items = Array.from({ length: ITEMS_PER_PART * 4 }, (_, index) => item(a, `0.${index}`))
    let turns = 0
    const count = () => {
      turns += 1
      immediate = setImmediate(count)
    }
    let immediate = setImmediate(count)
    const finished = journal.commit([{ kind: 'finish', summary: summary(a), items }]).then(() => turns)
    const later = journal.commit([{ kind: 'finish', summary: summary(jobId(2)), items: [] }]).then(() => turns)
    expect(await finished).toBeGreaterThanOrEqual(4)
    expect(await later).toBeGreaterThanOrEqual(await finished)
    clearImmediate(immediate)
    expect(journal.items(a)).toEqual(items)
    close()
  })

  test('close completes the tasks of a huge job that is only partly encoded', async () => {
    const open = openJournal()
    const items = Array.from({ length: ITEMS_PER_PART * 4 }, (_, index) => item(a, `0.${index}`))
    const finished = open.journal.commit([{ kind: 'finish', summary: summary(a), items }])
    open.close()
    await finished
    const again = openJournal(open.path)
    expect(again.journal.items(a)).toHaveLength(items.length)
    again.close()
  })
})

describe('bounds', () => {
  test('FINISHED_JOBS_MAX finished jobs are kept; the oldest goes, with its tasks and its key', async () => {
    const { journal, database, close } = openJournal()
    const finish = (number: number) =>
      [
        { kind: 'key', key: `key ${number}`, job: jobId(number), fingerprint: 'f' },
        { kind: 'finish', summary: summary(jobId(number)), items: [item(jobId(number), '0')] }
      ] as const
    for (let number = 1; number <= FINISHED_JOBS_MAX; number += 1) await journal.commit(finish(number))
    expect(journal.finished(2 * FINISHED_JOBS_MAX)).toHaveLength(FINISHED_JOBS_MAX)
    expect(journal.summary(jobId(1))).toBeDefined()
    await journal.commit(finish(FINISHED_JOBS_MAX + 1))
    expect(journal.finished(2 * FINISHED_JOBS_MAX)).toHaveLength(FINISHED_JOBS_MAX)
    expect(journal.summary(jobId(1))).toBeUndefined()
    expect(journal.items(jobId(1))).toEqual([])
    expect(journal.jobByKey('key 1')).toBeUndefined()
    expect(journal.jobByKey('key 2')).toBeDefined()
    const parts = database.prepare('SELECT count(*) AS count FROM finished_items').get()
    expect(parts?.count).toBe(FINISHED_JOBS_MAX)
    close()
  })

  test('a record over RECORD_BYTES_MAX is refused alone', async () => {
    const { journal, close } = openJournal()
    await expect(journal.commit([record(1), sized(RECORD_BYTES_MAX)])).rejects.toMatchObject({
      code: 'LIMIT_REACHED'
    })
    await journal.commit([record(2)])
    expect([...journal.replay()].map(entry => entry.record)).toEqual([granted(2)])
    close()
  })

  test('a record that is no JSON is refused alone', async () => {
    const { journal, close } = openJournal()
    const loop: Record<string, unknown> = {}
    loop.self = loop
    const bound = {
      kind: 'bound',
      obligation: '0:1',
      path: '0',
      attempt: 1,
      to: 'x',
      toEngagement: 1,
      request: 1,
      placement: loop
    } as const
    await expect(journal.commit([{ kind: 'record', job: a, record: bound }])).rejects.toMatchObject({
      code: 'INTERNAL'
    })
    await journal.commit([record(2)])
    expect([...journal.replay()]).toHaveLength(1)
    close()
  })
})

test('finishing a job gives its space back to the file', async () => {
  const { journal, database, close, path } = openJournal()
  await journal.commit([sized(1_000_000)])
  await journal.commit([{ kind: 'finish', summary: summary(a), items: [] }])
  expect(database.prepare('SELECT count(*) AS count FROM record').get()?.count).toBe(0)
  expect(Number(database.prepare('PRAGMA freelist_count').get()?.freelist_count)).toBeGreaterThan(200)
  close()
  expect(existsSync(`${path}-wal`)).toBe(false)
})
