import type { StatementSync } from 'node:sqlite'
import { StarlingError } from '../core/errors.ts'
import type { JobId } from '../core/ids.ts'
import type { LedgerRecord } from '../core/termination/records.ts'
import type { Journal, JournalWrite } from '../ports/journal.ts'
import type { Logger } from '../ports/logger.ts'
import type { JobSummary, TaskItem } from '../wire/api/schemas.ts'
import type { JournalDamage } from './damage.ts'
import type { Database } from './database.ts'
import { type EncodedSummary, encodeSummary, FinishedJobs } from './finished-jobs.ts'
import { GroupCommit, type PendingCommit } from './group-commit.ts'
import { ItemEncoder } from './item-parts.ts'
import { RECORD_BYTES_MAX } from './limits.ts'
import { decodeRecord, encodeRecord, recordChecksum } from './record-codec.ts'

/** A journal that says what it could not read. */
export interface StoredJournal extends Journal {
  /**
   * What `replay`, `summary` and `items` found damaged since the store was opened, at most one entry per job and kind.
   * The records of a damaged job are given up to the damage, and not after it: later ones mean nothing without the
   * missing one. Such a job cannot be continued; whoever folds the records must end it as incomplete.
   */
  damage(): readonly JournalDamage[]
}

interface RecordRow {
  readonly sequence: number
  readonly job: string
  readonly position: number
  readonly crc: number
  readonly body: Uint8Array
}

type EncodedWrite =
  | { readonly kind: 'key'; readonly key: string; readonly job: JobId; readonly fingerprint: string }
  | { readonly kind: 'record'; readonly job: JobId; readonly body: Buffer }
  | { readonly kind: 'finish'; readonly summary: EncodedSummary; readonly items: ItemEncoder }

/**
 * Journal in SQLite. `commit` encodes before it returns (byte fields may be reused afterwards; the tasks of a `finish`
 * may not be changed before it has resolved) and never blocks longer than one transaction.
 *
 * A call that cannot be encoded is refused alone (LIMIT_REACHED, INTERNAL): nothing of it is kept, others go on.
 *
 * After a crash exactly the acknowledged commits are there, and perhaps a group that was not acknowledged yet. The
 * write-ahead log has checksums of its own, by which SQLite drops a torn end without a word.
 */
export class SqliteJournal implements StoredJournal {
  readonly #database: Database
  readonly #logger: Logger
  readonly #group: GroupCommit
  readonly #finished: FinishedJobs
  readonly #damage = new Map<string, JournalDamage>()
  /** Position of the next record of each unfinished job. */
  readonly #positions = new Map<JobId, number>()
  readonly #statements: { readonly [K in 'addKey' | 'key' | 'addRecord' | 'removeRecords']: StatementSync }
  #sequence: number
  #closed = false

  constructor(database: Database, logger: Logger) {
    this.#database = database
    this.#logger = logger
    this.#group = new GroupCommit(database)
    this.#finished = new FinishedJobs(database, damage => this.#report(damage))
    this.#statements = {
      addKey: database.prepare(
        'INSERT INTO submission (key, job, fingerprint) VALUES (?, ?, ?) ON CONFLICT DO NOTHING'
      ),
      key: database.prepare('SELECT job, fingerprint FROM submission WHERE key = ?'),
      addRecord: database.prepare('INSERT INTO record (sequence, job, position, crc, body) VALUES (?, ?, ?, ?, ?)'),
      removeRecords: database.prepare('DELETE FROM record WHERE job = ?')
    }
    this.#sequence = this.#readPositions()
  }

  commit(writes: readonly JournalWrite[]): Promise<void> {
    if (this.#closed) return Promise.reject(closedError())
    try {
      return this.#group.add(this.#pending(writes.map(encodeWrite)))
    } catch (error) {
      return Promise.reject(encodingError(error))
    }
  }

  *replay(): Iterable<{ job: JobId; record: LedgerRecord }> {
    const positions = new Map<JobId, number>()
    const rows = this.#database.prepare(
      'SELECT sequence, job, position, crc, body FROM record WHERE job NOT IN (SELECT job FROM finished) ORDER BY sequence'
    )
    for (const item of this.#database.iterate(rows)) {
      const row = item as unknown as RecordRow
      if (this.#damage.has(`records/${row.job}`)) continue
      const position = positions.get(row.job) ?? 0
      positions.set(row.job, position + 1)
      const result = readRecord(row, position)
      if (typeof result === 'string') this.#report({ job: row.job, where: 'records', reason: result, position })
      else yield { job: row.job, record: result }
    }
  }

  finished(limit: number): JobSummary[] {
    return this.#finished.list(limit)
  }

  finishedIds(prefix: string, limit: number): JobId[] {
    return this.#finished.ids(prefix, limit)
  }

  summary(job: JobId): JobSummary | undefined {
    return this.#finished.summary(job)
  }

  items(job: JobId): TaskItem[] {
    return this.#finished.items(job)
  }

  jobByKey(key: string): { job: JobId; fingerprint: string } | undefined {
    const row = this.#database.read(() => this.#statements.key.get(key))
    return row === undefined ? undefined : { job: String(row.job), fingerprint: String(row.fingerprint) }
  }

  damage(): readonly JournalDamage[] {
    return [...this.#damage.values()]
  }

  /** Makes durable what waits, then refuses writes. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#group.flush()
  }

  #pending(writes: readonly EncodedWrite[]): PendingCommit {
    const encoders = writes.flatMap(write => (write.kind === 'finish' ? [write.items] : []))
    return {
      writes: writes.length,
      bytes: writes.reduce((sum, write) => sum + encodedBytes(write), 0),
      ready: () => encoders.every(encoder => encoder.done),
      prepare: () => encoders.find(encoder => !encoder.done)?.step(),
      apply: () => {
        for (const write of writes) this.#apply(write)
      }
    }
  }

  #apply(write: EncodedWrite): void {
    if (write.kind === 'key') {
      this.#statements.addKey.run(write.key, write.job, write.fingerprint)
    } else if (write.kind === 'record') {
      const { job, body } = write
      const position = this.#positions.get(job) ?? 0
      this.#positions.set(job, position + 1)
      this.#sequence += 1
      const crc = recordChecksum(this.#sequence, job, position, body)
      this.#statements.addRecord.run(this.#sequence, job, position, crc, body)
    } else {
      this.#positions.delete(write.summary.job)
      this.#statements.removeRecords.run(write.summary.job)
      this.#finished.add(write.summary, write.items.parts())
    }
  }

  /** Returns the highest sequence. */
  #readPositions(): number {
    const rows = this.#database.read(() =>
      this.#database
        .prepare('SELECT job, max(position) AS position, max(sequence) AS sequence FROM record GROUP BY job')
        .all()
    )
    let highest = 0
    for (const row of rows) {
      this.#positions.set(String(row.job), Number(row.position) + 1)
      highest = Math.max(highest, Number(row.sequence))
    }
    return highest
  }

  #report(damage: JournalDamage): void {
    const key = `${damage.where}/${damage.job}`
    if (this.#damage.has(key)) return
    this.#damage.set(key, damage)
    this.#logger.error('journal is damaged', { code: 'STORAGE_FAILED', ...damage })
  }
}

function readRecord(row: RecordRow, position: number): LedgerRecord | JournalDamage['reason'] {
  if (row.crc !== recordChecksum(row.sequence, row.job, row.position, row.body)) return 'checksum'
  if (row.position !== position) return 'missing'
  try {
    return decodeRecord(row.body)
  } catch {
    // The caller reports it with the job and the position.
    return 'unreadable'
  }
}

/** @throws StarlingError LIMIT_REACHED when a record is longer than RECORD_BYTES_MAX. */
function encodeWrite(write: JournalWrite): EncodedWrite {
  if (write.kind === 'key') return write
  if (write.kind === 'finish') {
    const items = new ItemEncoder(write.items)
    items.step()
    return { kind: 'finish', summary: encodeSummary(write.summary), items }
  }
  const body = encodeRecord(write.record)
  if (body.length > RECORD_BYTES_MAX) {
    throw new StarlingError(
      'LIMIT_REACHED',
      `a record of job ${write.job} has ${body.length} bytes, at most ${RECORD_BYTES_MAX} can be kept`,
      {
        hint: 'split the job: it has more tasks, or bigger results, than one job can have'
      }
    )
  }
  return { kind: 'record', job: write.job, body }
}

function encodedBytes(write: EncodedWrite): number {
  if (write.kind === 'key') return write.key.length
  if (write.kind === 'record') return write.body.length
  return write.summary.head.length + (write.summary.result?.length ?? 0)
}

function encodingError(cause: unknown): StarlingError {
  if (cause instanceof StarlingError) return cause
  return new StarlingError('INTERNAL', `a write cannot be encoded: ${String(cause)}`, { cause })
}

function closedError(): StarlingError {
  return new StarlingError('STORAGE_FAILED', 'the journal is closed', {
    hint: 'the daemon is stopping: start it again'
  })
}
