import type { SQLOutputValue, StatementSync } from 'node:sqlite'
import type { JobId } from '../core/ids.ts'
import type { JobSummary, TaskItem } from '../wire/api/schemas.ts'
import type { JournalDamage } from './damage.ts'
import type { Database } from './database.ts'
import { decodeItems } from './item-parts.ts'
import { FINISHED_JOBS_MAX } from './limits.ts'
import { rowChecksum } from './record-codec.ts'

type Row = Readonly<Record<string, SQLOutputValue>>

/** A summary as it is stored: JSON, with the result apart so that lists need not read it. */
export interface EncodedSummary {
  readonly job: JobId
  readonly head: Buffer
  /** Null when the job has none. */
  readonly result: Buffer | null
}

export function encodeSummary(summary: JobSummary): EncodedSummary {
  const { result, ...rest } = summary
  const tail = result === undefined ? null : Buffer.from(JSON.stringify(result))
  return { job: summary.id, head: Buffer.from(JSON.stringify(rest)), result: tail }
}

/** Jobs that are over: the newest FINISHED_JOBS_MAX, with their tasks. Reading never throws for damage, it reports it. */
export class FinishedJobs {
  readonly #database: Database
  readonly #report: (damage: JournalDamage) => void
  readonly #statements: {
    readonly [K in 'add' | 'addPart' | 'remove' | 'list' | 'ids' | 'summary' | 'parts' | 'outdated']: StatementSync
  }
  readonly #removals: readonly StatementSync[]
  #count: number

  constructor(database: Database, report: (damage: JournalDamage) => void) {
    this.#database = database
    this.#report = report
    this.#statements = {
      add: database.prepare(
        'INSERT INTO finished (job, crc, summary, result_crc, result, parts) VALUES (?, ?, ?, ?, ?, ?)'
      ),
      addPart: database.prepare('INSERT INTO finished_items (job, part, crc, body) VALUES (?, ?, ?, ?)'),
      remove: database.prepare('DELETE FROM finished WHERE job = ?'),
      list: database.prepare('SELECT job, crc, summary, parts FROM finished ORDER BY number DESC LIMIT ?'),
      ids: database.prepare('SELECT job FROM finished WHERE job >= ? AND job < ? ORDER BY job LIMIT ?'),
      summary: database.prepare('SELECT crc, summary, result_crc, result, parts FROM finished WHERE job = ?'),
      parts: database.prepare('SELECT part, crc, body FROM finished_items WHERE job = ? ORDER BY part'),
      outdated: database.prepare('SELECT job FROM finished ORDER BY number LIMIT ?')
    }
    this.#removals = ['finished', 'submission', 'record'].map(table =>
      database.prepare(`DELETE FROM ${table} WHERE job = ?`)
    )
    this.#count = database.read(() => Number(database.prepare('SELECT count(*) AS count FROM finished').get()?.count))
  }

  /** Called inside a transaction. A job that is there already is replaced. */
  add(summary: EncodedSummary, parts: readonly Uint8Array[]): void {
    const { job, head, result } = summary
    this.#count += 1 - Number(this.#statements.remove.run(job).changes)
    const resultCrc = result === null ? null : rowChecksum([job, 'result'], result)
    this.#statements.add.run(job, rowChecksum([job, parts.length], head), head, resultCrc, result, parts.length)
    for (const [part, body] of parts.entries()) {
      this.#statements.addPart.run(job, part, rowChecksum([job, part], body), body)
    }
    this.#removeOutdated()
  }

  /** Newest first, without their results. */
  list(limit: number): JobSummary[] {
    const rows = this.#database.read(() => this.#statements.list.all(Math.min(limit, FINISHED_JOBS_MAX)))
    return rows.flatMap(row => this.#readHead(String(row.job), row) ?? [])
  }

  ids(prefix: string, limit: number): JobId[] {
    const end = `${prefix}\u{10ffff}`
    const rows = this.#database.read(() => this.#statements.ids.all(prefix, end, Math.min(limit, FINISHED_JOBS_MAX)))
    return rows.map(row => String(row.job))
  }

  /** A damaged result is left out. */
  summary(job: JobId): JobSummary | undefined {
    const row = this.#database.read(() => this.#statements.summary.get(job))
    const summary = row === undefined ? undefined : this.#readHead(job, row)
    if (row === undefined || summary === undefined || row.result === null) return summary
    const result = row.result as Uint8Array
    if (rowChecksum([job, 'result'], result) === row.result_crc) return { ...summary, result: parse(result) }
    this.#report({ job, where: 'summary', reason: 'checksum', position: 1 })
    return summary
  }

  /** Damaged parts are left out. */
  items(job: JobId): TaskItem[] {
    const items: TaskItem[] = []
    let next = 0
    for (const row of this.#database.read(() => this.#statements.parts.all(job))) {
      const part = Number(row.part)
      const body = row.body as Uint8Array
      if (part !== next) this.#report({ job, where: 'items', reason: 'missing', position: next })
      next = part + 1
      if (rowChecksum([job, part], body) === row.crc) for (const item of decodeItems(body)) items.push(item)
      else this.#report({ job, where: 'items', reason: 'checksum', position: part })
    }
    const count = this.#database.read(() => this.#statements.summary.get(job)?.parts ?? 0)
    if (next !== count) this.#report({ job, where: 'items', reason: 'missing', position: next })
    return items
  }

  #readHead(job: JobId, row: Row): JobSummary | undefined {
    const head = row.summary as Uint8Array
    if (rowChecksum([job, Number(row.parts)], head) === row.crc) return parse(head) as JobSummary
    this.#report({ job, where: 'summary', reason: 'checksum', position: 0 })
    return undefined
  }

  #removeOutdated(): void {
    if (this.#count <= FINISHED_JOBS_MAX) return
    for (const row of this.#statements.outdated.all(this.#count - FINISHED_JOBS_MAX)) {
      for (const removal of this.#removals) removal.run(String(row.job))
      this.#count -= 1
    }
  }
}

function parse(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString())
}
