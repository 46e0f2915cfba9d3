import { readFileSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import { ITEMS_PER_PART } from '../../src/store/limits.ts'
import { granted, item, jobId, summary } from '../helpers/journal-samples.ts'
import { type OpenJournal, openJournal } from './helpers.ts'

const [a, b] = [jobId(1), jobId(2)]

/** Five records each for two jobs, in turns, then closed. */
async function written(): Promise<string> {
  const open = openJournal()
  for (let number = 0; number < 10; number += 1) {
    await open.journal.commit([{ kind: 'record', job: number % 2 === 0 ? a : b, record: granted(number) }])
  }
  open.close()
  return open.path
}

function tamper(path: string, sql: string): void {
  const database = new DatabaseSync(path)
  expect(database.prepare(sql).run().changes).toBeGreaterThan(0)
  database.close()
}

function replayed(open: OpenJournal): [string, number][] {
  return [...open.journal.replay()].map(({ job, record }) => [job, record.kind === 'granted' ? record.engagement : -1])
}

describe('a damaged record', () => {
  const cases = [
    {
      name: 'a flipped bit',
      sql: "UPDATE record SET body = CAST(substr(body, 1, 40) || x'00' || substr(body, 42) AS BLOB)",
      reason: 'checksum'
    },
    {
      name: 'a torn end',
      sql: 'UPDATE record SET body = CAST(substr(body, 1, length(body) - 1) AS BLOB)',
      reason: 'checksum'
    },
    { name: 'an empty body', sql: "UPDATE record SET body = x''", reason: 'checksum' },
    { name: 'a wrong checksum', sql: 'UPDATE record SET crc = crc + 1', reason: 'checksum' },
    {
      name: 'a record of another job',
      sql: `UPDATE record SET job = '${jobId(3)}'`,
      reason: 'checksum',
      job: jobId(3),
      position: 0
    },
    { name: 'a missing record', sql: 'DELETE FROM record', reason: 'missing' }
  ]
  for (const { name, sql, reason, job = a, position = 2 } of cases) {
    test(`${name} is reported, and its job is given up to there, other jobs in full`, async () => {
      const path = await written()
      tamper(path, `${sql} WHERE job = '${a}' AND position = 2`)
      const open = openJournal(path)
      const expected = [
        [a, 0],
        [b, 1],
        [a, 2],
        [b, 3],
        [b, 5],
        [b, 7],
        [b, 9]
      ]
      // A record that strayed from `a` leaves a hole there too.
      expect(replayed(open)).toEqual(expected)
      expect(open.journal.damage()).toContainEqual({ job, where: 'records', reason, position })
      expect(open.log.filter(line => line.level === 'error').map(line => line.fields)).toContainEqual(
        expect.objectContaining({ job, reason, position, code: 'STORAGE_FAILED' })
      )
      open.close()
    })
  }

  test('is reported once, however often the journal is replayed', async () => {
    const path = await written()
    tamper(path, `UPDATE record SET crc = 0 WHERE job = '${a}'`)
    const open = openJournal(path)
    expect(open.journal.damage()).toEqual([])
    const first = replayed(open)
    expect(replayed(open)).toEqual(first)
    expect(open.journal.damage()).toHaveLength(1)
    expect(open.log.filter(line => line.level === 'error')).toHaveLength(1)
    open.close()
  })

  test('does not hinder that its job is finished', async () => {
    const path = await written()
    tamper(path, `UPDATE record SET crc = 0 WHERE job = '${a}' AND position = 2`)
    const open = openJournal(path)
    replayed(open)
    await open.journal.commit([{ kind: 'finish', summary: summary(a, { verdict: 'incomplete' }), items: [] }])
    open.close()
    const again = openJournal(path)
    expect(replayed(again).every(([job]) => job === b)).toBe(true)
    expect(again.journal.damage()).toEqual([])
    again.close()
  })
})

describe('a damaged finished job', () => {
  async function finished(): Promise<string> {
    const open = openJournal()
    const items = Array.from({ length: 3 * ITEMS_PER_PART }, (_, index) => item(a, `0.${index}`))
    await open.journal.commit([{ kind: 'finish', summary: summary(a, { result: [1, 2, 3] }), items }])
    await open.journal.commit([{ kind: 'finish', summary: summary(b), items: [] }])
    open.close()
    return open.path
  }

  test('without a readable summary is left out of lists', async () => {
    const path = await finished()
    tamper(path, `UPDATE finished SET summary = x'7b7d' WHERE job = '${a}'`)
    const open = openJournal(path)
    expect(open.journal.finished(10).map(job => job.id)).toEqual([b])
    expect(open.journal.summary(a)).toBeUndefined()
    expect(open.journal.damage()).toEqual([{ job: a, where: 'summary', reason: 'checksum', position: 0 }])
    open.close()
  })

  test('without a readable result still has its summary', async () => {
    const path = await finished()
    tamper(path, `UPDATE finished SET result = x'5b5d' WHERE job = '${a}'`)
    const open = openJournal(path)
    expect(open.journal.summary(a)).toEqual(summary(a))
    expect(open.journal.damage()).toEqual([{ job: a, where: 'summary', reason: 'checksum', position: 1 }])
    open.close()
  })

  const cases = [
    { name: 'a damaged part', sql: 'UPDATE finished_items SET crc = crc + 1', part: 1, reason: 'checksum' },
    { name: 'a missing part', sql: 'DELETE FROM finished_items', part: 1, reason: 'missing' },
    { name: 'a missing last part', sql: 'DELETE FROM finished_items', part: 2, reason: 'missing' }
  ]
  for (const { name, sql, part, reason } of cases) {
    test(`${name} of its tasks is left out and reported`, async () => {
      const path = await finished()
      tamper(path, `${sql} WHERE job = '${a}' AND part = ${part}`)
      const open = openJournal(path)
      expect(open.journal.items(a)).toHaveLength(2 * ITEMS_PER_PART)
      expect(open.journal.damage()).toEqual([{ job: a, where: 'items', reason, position: part }])
      open.close()
    })
  }
})

test('whatever byte of the file is changed, no wrong record is ever given', async () => {
  const path = await written()
  const intact = readFileSync(path)
  const open = openJournal(path)
  const expected = replayed(open).map(String)
  open.close()
  let noticed = 0
  for (let offset = 0; offset < intact.length; offset += 97) {
    const damaged = Buffer.from(intact)
    damaged.writeUInt8(damaged.readUInt8(offset) ^ 0x55, offset)
    writeFileSync(path, damaged)
    const { records, complaint } = tryReplay(path)
    for (const record of records) expect(expected, `offset ${offset}`).toContain(String(record))
    if (complaint) noticed += 1
  }
  expect(noticed).toBeGreaterThan(0)
}, 60_000)

function tryReplay(path: string): { records: [string, number][]; complaint: boolean } {
  let open: OpenJournal | undefined
  try {
    open = openJournal(path)
    const records = replayed(open)
    return { records, complaint: open.journal.damage().length > 0 }
  } catch (error) {
    if (!(error instanceof StarlingError)) throw error
    return { records: [], complaint: true }
  } finally {
    open?.close()
  }
}
