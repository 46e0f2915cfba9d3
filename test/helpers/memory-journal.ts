import { StarlingError } from '../../src/core/errors.ts'
import type { JobId } from '../../src/core/ids.ts'
import type { LedgerRecord } from '../../src/core/termination/records.ts'
import type { Journal, JournalWrite } from '../../src/ports/journal.ts'
import type { JobSummary, TaskItem } from '../../src/wire/api/schemas.ts'

interface Waiting {
  readonly writes: readonly JournalWrite[]
  readonly resolve: () => void
  readonly reject: (error: StarlingError) => void
}

/**
 * Memory twin of the SQLite journal. A commit becomes durable in the next microtask, or when `release` is called after
 * `hold`; `crash` gives the journal that a restarted daemon finds: what was durable, nothing else.
 */
export class MemoryJournal implements Journal {
  readonly #durable: JournalWrite[]
  readonly #waiting: Waiting[] = []
  #held = false
  #failure: StarlingError | undefined

  constructor(durable: readonly JournalWrite[] = []) {
    this.#durable = [...durable]
  }

  commit(writes: readonly JournalWrite[]): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ writes: structuredClone(writes), resolve, reject })
    if (!this.#held) queueMicrotask(() => this.#drain())
    return promise
  }

  *replay(): Iterable<{ job: JobId; record: LedgerRecord }> {
    const over = this.#summaries()
    for (const write of [...this.#durable]) {
      if (write.kind === 'record' && !over.has(write.job))
        yield structuredClone({ job: write.job, record: write.record })
    }
  }

  /** Nothing breaks in memory. */
  damage(): ReturnType<Journal['damage']> {
    return []
  }

  finished(limit: number): JobSummary[] {
    const newestFirst = [...this.#summaries().values()].reverse().slice(0, limit)
    return newestFirst.map(({ summary: { result: _, ...rest } }) => structuredClone(rest))
  }

  finishedIds(prefix: string, limit: number): JobId[] {
    const ids = [...this.#summaries().keys()].filter(id => id.startsWith(prefix))
    return ids.sort().slice(0, limit)
  }

  summary(job: JobId): JobSummary | undefined {
    return structuredClone(this.#summaries().get(job)?.summary)
  }

  items(job: JobId): TaskItem[] {
    const items = this.#summaries().get(job)?.items ?? []
    return structuredClone([...items]).sort((a, b) => comparePaths(a.id, b.id))
  }

  jobByKey(key: string): { job: JobId; fingerprint: string } | undefined {
    const write = this.#durable.find(candidate => candidate.kind === 'key' && candidate.key === key)
    return write?.kind === 'key' ? { job: write.job, fingerprint: write.fingerprint } : undefined
  }

  close(): void {
    this.#drain()
    this.#failure ??= new StarlingError('STORAGE_FAILED', 'the journal is closed')
  }

  /** From now on commits wait for `release`. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#drain()
  }

  /** The disk refuses from now on: what waits is rejected, and every later commit. */
  fail(): void {
    this.#failure = new StarlingError('STORAGE_FAILED', 'the disk is full')
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }

  /** The daemon dies: no promise of this journal settles any more. */
  crash(): MemoryJournal {
    this.#held = true
    this.#waiting.length = 0
    return new MemoryJournal(this.#durable)
  }

  #drain(): void {
    if (this.#held) return
    for (const { writes, resolve } of this.#waiting.splice(0)) {
      this.#durable.push(...writes)
      resolve()
    }
  }

  #summaries(): Map<JobId, { summary: JobSummary; items: readonly TaskItem[] }> {
    const finished = new Map<JobId, { summary: JobSummary; items: readonly TaskItem[] }>()
    for (const write of this.#durable) {
      if (write.kind !== 'finish') continue
      finished.delete(write.summary.id)
      finished.set(write.summary.id, write)
    }
    return finished
  }
}

function comparePaths(a: string, b: string): number {
  const left = a.split('.').slice(1).map(Number)
  const right = b.split('.').slice(1).map(Number)
  const level = left.findIndex((index, place) => index !== right[place])
  return level === -1 ? left.length - right.length : (left[level] ?? -1) - (right[level] ?? -1)
}
