import { type JobId, type LedgerRecord, StarlingError } from '../core/index.ts'
import type { Journal, JournalWrite } from '../ports/index.ts'
import type { JobSummary, TaskItem } from '../wire/api/index.ts'
import { DirectPromise } from './direct-promise.ts'
import type { SeededRandom } from './random.ts'

/** What survives a crash: everything that was written to the end. */
export class SimDisk {
  /** Longest time of one group commit. */
  commitMs: number
  /** The next write finds no space. */
  full = false
  readonly keys = new Map<string, { job: JobId; fingerprint: string }>()
  readonly records = new Map<JobId, LedgerRecord[]>()
  /** Newest last. */
  readonly finished = new Map<JobId, { summary: JobSummary; items: readonly TaskItem[] }>()
  /** Order of the records of all jobs, as they were written. */
  readonly log: { readonly job: JobId; readonly record: LedgerRecord }[] = []

  constructor(commitMs: number) {
    this.commitMs = commitMs
  }

  write(write: JournalWrite): void {
    if (write.kind === 'key') {
      if (!this.keys.has(write.key)) this.keys.set(write.key, { job: write.job, fingerprint: write.fingerprint })
    } else if (write.kind === 'record') {
      this.log.push({ job: write.job, record: write.record })
    } else {
      this.finished.set(write.summary.id, { summary: write.summary, items: write.items })
    }
  }
}

interface Pending {
  readonly writes: readonly JournalWrite[]
  readonly promise: DirectPromise
}

interface SimJournalInit {
  readonly disk: SimDisk
  readonly random: SeededRandom
  /** Runs `act` after so long, in this boot of the daemon. */
  readonly later: (delayMs: number, act: () => void) => void
  /** A commit is asked for; its writes are on disk. */
  readonly asked: (writes: readonly JournalWrite[]) => void
  readonly written: (writes: readonly JournalWrite[]) => void
}

/** The journal of one boot: groups what is handed in while the disk is busy. */
export class SimJournal implements Journal {
  readonly #init: SimJournalInit
  readonly #waiting: Pending[] = []
  #writing: Pending[] = []
  #failure: StarlingError | undefined
  #closed = false

  constructor(init: SimJournalInit) {
    this.#init = init
  }

  commit(writes: readonly JournalWrite[]): Promise<void> {
    const promise = new DirectPromise()
    if (this.#failure !== undefined) {
      promise.reject(this.#failure)
      return promise
    }
    this.#init.asked(writes)
    this.#waiting.push({ writes, promise })
    if (this.#writing.length === 0) this.#begin()
    return promise
  }

  /**
   * The power fails, or the daemon is killed: what was not handed to the disk is gone; of the group on its way all or
   * nothing may have arrived, though nobody was told.
   */
  crash(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#writing.length > 0 && this.#init.random.chance(0.5)) this.#write(this.#writing)
    this.#waiting.length = 0
    this.#writing = []
  }

  *replay(): Iterable<{ job: JobId; record: LedgerRecord }> {
    const { log, finished } = this.#init.disk
    for (const item of log) if (!finished.has(item.job)) yield item
  }

  damage(): readonly { readonly job: JobId }[] {
    return []
  }

  finished(limit: number): JobSummary[] {
    return [...this.#init.disk.finished.values()].slice(-limit).map(({ summary }) => summary)
  }

  finishedIds(prefix: string, limit: number): JobId[] {
    return [...this.#init.disk.finished.keys()].filter(id => id.startsWith(prefix)).slice(0, limit)
  }

  summary(job: JobId): JobSummary | undefined {
    return this.#init.disk.finished.get(job)?.summary
  }

  items(job: JobId): TaskItem[] {
    return [...(this.#init.disk.finished.get(job)?.items ?? [])]
  }

  jobByKey(key: string): { job: JobId; fingerprint: string } | undefined {
    return this.#init.disk.keys.get(key)
  }

  close(): void {
    this.#closed = true
  }

  #begin(): void {
    this.#writing = this.#waiting.splice(0)
    if (this.#writing.length === 0) return
    const { disk, random, later } = this.#init
    later(0.05 + random.next() * disk.commitMs, () => this.#end())
  }

  #end(): void {
    if (this.#closed) return
    const group = this.#writing
    const { disk } = this.#init
    if (disk.full) {
      const failure = new StarlingError('STORAGE_FAILED', 'no space left on device')
      this.#failure = failure
      this.#writing = []
      this.#init.written([])
      for (const { promise } of [...group, ...this.#waiting.splice(0)]) promise.reject(failure)
      return
    }
    this.#write(group)
    this.#begin()
    for (const { promise } of group) promise.resolve()
  }

  #write(group: readonly Pending[]): void {
    for (const { writes } of group) {
      for (const write of writes) this.#init.disk.write(write)
      this.#init.written(writes)
    }
  }
}
