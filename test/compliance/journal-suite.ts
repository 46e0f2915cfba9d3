import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Journal } from '../../src/ports/journal.ts'
import { bytes, granted, item, jobId, settled, summary } from '../helpers/journal-samples.ts'

export interface JournalSubject {
  readonly journal: Journal
  /** Ends the journal as a crash after the last resolved commit would, and opens it again. */
  restart(): Journal
  /** Makes the disk refuse every write from now on. */
  breakDisk(): void
  teardown(): void
}

/** What every Journal does. Run it against each implementation. */
export function journalSuite(name: string, setup: () => JournalSubject): void {
  describe(`${name} is a Journal`, () => {
    let subject: JournalSubject
    let journal: Journal
    const [a, b] = [jobId(1), jobId(2)]

    beforeEach(() => {
      subject = setup()
      journal = subject.journal
    })
    afterEach(() => subject.teardown())

    test('a new journal is empty', () => {
      expect([...journal.replay()]).toEqual([])
      expect(journal.finished(10)).toEqual([])
      expect(journal.finishedIds('', 10)).toEqual([])
      expect(journal.summary(a)).toBeUndefined()
      expect(journal.items(a)).toEqual([])
      expect(journal.jobByKey('nightly')).toBeUndefined()
    })

    test('records come back after a restart in the order of their commit, across jobs', async () => {
      await journal.commit([record(a, 1), record(b, 2)])
      await Promise.all([
        journal.commit([record(b, 3)]),
        journal.commit([record(a, 4)]),
        journal.commit([record(a, 5)])
      ])
      expect(replayed(subject.restart())).toEqual([
        [a, 1],
        [b, 2],
        [b, 3],
        [a, 4],
        [a, 5]
      ])
    })

    test('records can be added after a restart', async () => {
      await journal.commit([record(a, 1)])
      const second = subject.restart()
      await second.commit([record(a, 2)])
      expect(replayed(subject.restart())).toEqual([
        [a, 1],
        [a, 2]
      ])
    })

    test('byte fields keep their bytes, and absent fields stay absent', async () => {
      const submitted = {
        kind: 'submitted',
        job: a,
        capability: 'index',
        input: new Uint8Array([0, 255, 128, 10]),
        on: undefined,
        traceparent: '',
        submittedAt: 1
      } as const
      const ended = settled(new Uint8Array(0), [bytes('one'), new Uint8Array(0), bytes('drei')])
      await journal.commit([
        { kind: 'record', job: a, record: submitted },
        { kind: 'record', job: a, record: ended }
      ])
      const records = [...subject.restart().replay()].map(entry => entry.record)
      expect(records.map(plain)).toEqual([submitted, ended].map(plain))
    })

    test('the caller may reuse its bytes as soon as commit has returned', async () => {
      const result = bytes('before')
      const committed = journal.commit([{ kind: 'record', job: a, record: settled(result) }])
      result.fill(0)
      await committed
      const [entry] = [...journal.replay()]
      expect(entry?.record).toMatchObject({ kind: 'settled' })
      expect(entry?.record.kind === 'settled' && Buffer.from(entry.record.result).toString()).toBe('before')
    })

    test('commits resolve in the order of their calls', async () => {
      const order: number[] = []
      await Promise.all([1, 2, 3].map(number => journal.commit([record(a, number)]).then(() => order.push(number))))
      expect(order).toEqual([1, 2, 3])
    })

    test('a commit without writes resolves after the ones before it', async () => {
      const order: string[] = []
      const first = journal.commit([record(a, 1)]).then(() => order.push('writes'))
      await journal.commit([]).then(() => order.push('none'))
      await first
      expect(order).toEqual(['writes', 'none'])
    })

    test('a finished job is its summary and its tasks, and its records are gone', async () => {
      await journal.commit([record(a, 1), record(b, 2)])
      await journal.commit([{ kind: 'finish', summary: summary(a, { result: { files: 3 } }), items: [item(a, '0')] }])
      const after = subject.restart()
      expect(replayed(after)).toEqual([[b, 2]])
      expect(after.summary(a)).toEqual(summary(a, { result: { files: 3 } }))
      expect(after.items(a)).toEqual([item(a, '0')])
    })

    test('a result of null is kept apart from no result', async () => {
      await journal.commit([
        { kind: 'finish', summary: summary(a, { result: null }), items: [] },
        { kind: 'finish', summary: summary(b), items: [] }
      ])
      expect(journal.summary(a)).toHaveProperty('result', null)
      expect(journal.summary(b)).not.toHaveProperty('result')
    })

    test('tasks come in the order of their paths, by number and parents first', async () => {
      const paths = ['0.10', '0', '0.2.1', '0.2', '0.10.0']
      await journal.commit([{ kind: 'finish', summary: summary(a), items: paths.map(path => item(a, path)) }])
      expect(journal.items(a).map(task => task.id.slice(a.length + 1))).toEqual(['0', '0.2', '0.2.1', '0.10', '0.10.0'])
    })

    test('finished jobs are listed newest first, without results, up to the limit', async () => {
      for (const number of [3, 1, 2]) {
        await journal.commit([{ kind: 'finish', summary: summary(jobId(number), { result: number }), items: [] }])
      }
      expect(journal.finished(2)).toEqual([summary(jobId(2)), summary(jobId(1))])
    })

    test('a job that finishes again replaces what it left before', async () => {
      await journal.commit([{ kind: 'finish', summary: summary(a), items: [item(a, '0'), item(a, '0.0')] }])
      await journal.commit([{ kind: 'finish', summary: summary(b), items: [] }])
      await journal.commit([{ kind: 'finish', summary: summary(a, { verdict: 'incomplete' }), items: [item(a, '0')] }])
      expect(journal.finished(10).map(job => [job.id, job.verdict])).toEqual([
        [a, 'incomplete'],
        [b, 'completed']
      ])
      expect(journal.items(a)).toHaveLength(1)
    })

    test('ids are found by their beginning, at most as many as asked for', async () => {
      const ids = ['abcd1', 'abcd2', 'abce1', 'b%_x']
      await journal.commit(ids.map(id => ({ kind: 'finish', summary: summary(id), items: [] })))
      expect(journal.finishedIds('abcd', 10)).toEqual(['abcd1', 'abcd2'])
      expect(journal.finishedIds('abcd', 1)).toEqual(['abcd1'])
      expect(journal.finishedIds('%', 10)).toEqual([])
      expect(journal.finishedIds('', 10)).toHaveLength(4)
    })

    test('a key leads to its job before and after the job has finished', async () => {
      await journal.commit([{ kind: 'key', key: 'nightly', job: a, fingerprint: 'f1' }, record(a, 1)])
      expect(journal.jobByKey('nightly')).toEqual({ job: a, fingerprint: 'f1' })
      await journal.commit([{ kind: 'finish', summary: summary(a), items: [] }])
      expect(subject.restart().jobByKey('nightly')).toEqual({ job: a, fingerprint: 'f1' })
    })

    test('a key stays with the job that had it first', async () => {
      await journal.commit([{ kind: 'key', key: 'nightly', job: a, fingerprint: 'f1' }])
      await journal.commit([{ kind: 'key', key: 'nightly', job: b, fingerprint: 'f2' }])
      expect(journal.jobByKey('nightly')).toEqual({ job: a, fingerprint: 'f1' })
    })

    test('when the disk refuses, this and every later commit is rejected and what was durable can be read', async () => {
      await journal.commit([record(a, 1), { kind: 'finish', summary: summary(b), items: [] }])
      subject.breakDisk()
      const large = record(a, 2, 100_000)
      const together = await Promise.allSettled([journal.commit([large]), journal.commit([large])])
      expect(together.map(outcome => outcome.status === 'rejected' && outcome.reason.code)).toEqual([
        'STORAGE_FAILED',
        'STORAGE_FAILED'
      ])
      await expect(journal.commit([record(a, 3)])).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
      expect(replayed(journal)).toEqual([[a, 1]])
      expect(journal.summary(b)).toEqual(summary(b))
      expect(replayed(subject.restart())).toEqual([[a, 1]])
    })

    test('close makes durable what waits, refuses later commits, and may be called twice', async () => {
      const committed = journal.commit([record(a, 1)])
      journal.close()
      journal.close()
      await committed
      await expect(journal.commit([record(a, 2)])).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
      expect(replayed(subject.restart())).toEqual([[a, 1]])
    })
  })
}

/** A record that can be told apart by its engagement; with `padding` bytes of nonce to fill a disk. */
function record(job: string, engagement: number, padding = 0) {
  const plainRecord = granted(engagement)
  if (padding === 0 || plainRecord.kind !== 'granted') return { kind: 'record', job, record: plainRecord } as const
  const boot = { ...plainRecord.boot, nonce: 'f'.repeat(padding) }
  return { kind: 'record', job, record: { ...plainRecord, boot } } as const
}

function replayed(journal: Journal): (string | number)[][] {
  return [...journal.replay()].map(({ job, record }) => [job, record.kind === 'granted' ? record.engagement : -1])
}

/** Buffers and plain byte arrays compare equal. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}
