import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { silentLogger } from '../../src/ports/logger.ts'
import { openStore } from '../../src/store/index.ts'
import { granted, jobId } from '../helpers/journal-samples.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { clockAt, fillDisk, openJournal } from './helpers.ts'

const open = (path: string) => openStore({ path, logger: silentLogger, clock: clockAt(0) })
const newPath = () => join(temporaryDirectory(), 'starling.db')

test('each boot has a higher incarnation than all before, also after a restart', () => {
  const path = newPath()
  const first = open(path)
  expect([first.meta.nextBoot().incarnation, first.meta.nextBoot().incarnation]).toEqual([1, 2])
  first.close()
  const second = open(path)
  expect(second.meta.nextBoot().incarnation).toBe(3)
  expect(second.meta.nextBoot(10).incarnation).toBe(11)
  expect(second.meta.nextBoot(5).incarnation).toBe(12)
  second.close()
})

test('boots have random nonces of 16 hex digits', () => {
  const store = open(newPath())
  const nonces = Array.from({ length: 20 }, () => store.meta.nextBoot().nonce)
  expect(new Set(nonces).size).toBe(20)
  for (const nonce of nonces) expect(nonce).toMatch(/^[0-9a-f]{16}$/)
  store.close()
})

test('every write waits for the disk: write-ahead log with full synchronisation', () => {
  const { database, close } = openJournal()
  expect(database.prepare('PRAGMA journal_mode').get()?.journal_mode).toBe('wal')
  expect(database.prepare('PRAGMA synchronous').get()?.synchronous).toBe(2)
  close()
})

test('the database and its log can be read by the owner only', () => {
  const path = newPath()
  const umask = process.umask(0)
  try {
    const store = open(path)
    store.meta.nextBoot()
    for (const file of readdirSync(join(path, '..')))
      expect(statSync(join(path, '..', file)).mode & 0o777, file).toBe(0o600)
    store.close()
    chmodSync(path, 0o644)
    open(path).close()
    expect(statSync(path).mode & 0o777).toBe(0o600)
  } finally {
    process.umask(umask)
  }
})

test('a second daemon on the same file is refused', () => {
  const path = newPath()
  const store = open(path)
  expect(() => open(path)).toThrow(expect.objectContaining({ code: 'ALREADY_RUNNING' }))
  store.close()
  open(path).close()
})

test('a file of a newer version is refused and left as it is', () => {
  const path = newPath()
  open(path).close()
  const newer = new DatabaseSync(path)
  newer.exec('PRAGMA user_version = 99')
  newer.close()
  expect(() => open(path)).toThrow(
    expect.objectContaining({ code: 'HOME_UNUSABLE', message: expect.stringContaining('newer version') })
  )
  const after = new DatabaseSync(path)
  expect(after.prepare('PRAGMA user_version').get()?.user_version).toBe(99)
  after.close()
})

test('a database of another program is refused and left as it is', () => {
  const path = newPath()
  const other = new DatabaseSync(path)
  other.exec('CREATE TABLE bookmarks (url TEXT)')
  other.close()
  expect(() => open(path)).toThrow(
    expect.objectContaining({ code: 'HOME_UNUSABLE', message: expect.stringContaining('another program') })
  )
  const after = new DatabaseSync(path)
  expect(after.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.count).toBe(1)
  after.close()
})

test('a file that is no database is refused', () => {
  const path = newPath()
  writeFileSync(path, 'no database at all, but long enough for a header: '.repeat(100))
  expect(() => open(path)).toThrow(
    expect.objectContaining({ code: 'HOME_UNUSABLE', message: expect.stringContaining(path) })
  )
})

test('a path that cannot be opened is refused', () => {
  const path = newPath()
  mkdirSync(path)
  expect(() => open(path)).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  expect(() => open(join(path, 'absent', 'starling.db'))).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  expect(existsSync(join(path, 'absent'))).toBe(false)
})

test('close may be called twice, makes durable what waits, and ends reading and writing', async () => {
  const path = newPath()
  const store = open(path)
  const committed = store.journal.commit([{ kind: 'record', job: jobId(1), record: granted(1) }])
  store.close()
  store.close()
  await committed
  const closed = expect.objectContaining({ code: 'STORAGE_FAILED' })
  expect(() => store.journal.finished(1)).toThrow(closed)
  expect(() => [...store.journal.replay()]).toThrow(closed)
  expect(() => store.meta.nextBoot()).toThrow(closed)
  expect(store.failure()).toMatchObject({ code: 'STORAGE_FAILED' })
  const again = open(path)
  expect([...again.journal.replay()]).toHaveLength(1)
  again.close()
})

test('after a failed write nothing is written any more, although it would fit', async () => {
  const { journal, database, log, close } = openJournal()
  expect(database.failure()).toBeUndefined()
  fillDisk(database)
  const large = { ...granted(1), peer: 'x'.repeat(100_000) }
  await expect(journal.commit([{ kind: 'record', job: jobId(1), record: large }])).rejects.toMatchObject({
    code: 'STORAGE_FAILED',
    hint: expect.stringContaining('disk')
  })
  database.prepare('PRAGMA max_page_count = 1000000').get()
  expect(() => database.write(() => undefined)).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  expect(log.filter(line => line.level === 'error')).toHaveLength(1)
  close()
})
