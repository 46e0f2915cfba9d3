import type { JobId } from '../core/ids.ts'
import type { LedgerRecord } from '../core/termination/records.ts'
import type { JobSummary, TaskItem } from '../wire/api/schemas.ts'

/**
 * Durable memory of a submitting daemon. State is a fold of the journal: what is not in it did not happen.
 *
 * Implementations group commits: all writes handed in until the disk is ready become one transaction.
 */
export interface Journal {
  /**
   * Writes atomically and in order; resolves when everything in `writes` is on disk (fsync). Writes of a later call
   * are never durable before those of an earlier one. @throws StarlingError STORAGE_FAILED: then nothing of this call,
   * nor of any later one, is durable, and the daemon must take no new work; LIMIT_REACHED, INTERNAL for writes that
   * cannot be stored at all: later calls go on.
   */
  commit(writes: readonly JournalWrite[]): Promise<void>

  /** All records of unfinished jobs, in the order of their commit. A torn tail is reported by the log and left out. */
  replay(): Iterable<{ job: JobId; record: LedgerRecord }>

  /** What was found to be damaged so far; replay finds the holes of unfinished jobs and leaves out what follows them. */
  damage(): readonly { readonly job: JobId }[]

  /** Finished jobs, newest first. */
  finished(limit: number): JobSummary[]
  /** Ids of finished jobs that begin with `prefix`, at most `limit`. */
  finishedIds(prefix: string, limit: number): JobId[]
  summary(job: JobId): JobSummary | undefined
  /** Tasks of a finished job, in the order of their paths. */
  items(job: JobId): TaskItem[]
  /** Job submitted under an idempotency key, finished or not. */
  jobByKey(key: string): { job: JobId; fingerprint: string } | undefined

  close(): void
}

export type JournalWrite =
  | { readonly kind: 'key'; readonly key: string; readonly job: JobId; readonly fingerprint: string }
  | { readonly kind: 'record'; readonly job: JobId; readonly record: LedgerRecord }
  /** The job is over: its records are replaced by its summary and tasks. */
  | { readonly kind: 'finish'; readonly summary: JobSummary; readonly items: readonly TaskItem[] }
