import type { Clock } from '../../ports/index.ts'
import { type ProcessTable, processTableAvailable, readProcessTable, startTicks } from './process-table.ts'

/** Least time between two readings of the process table, so that many ending jails share one: it costs milliseconds. */
const TABLE_INTERVAL_MS = 10

/** Reads the process table for many at once. */
export class TableReader {
  readonly #clock: Clock
  /** Tasks are younger than their daemon. */
  readonly #since = processTableAvailable ? (startTicks(process.pid) ?? 0) : 0
  #pending: Promise<ProcessTable> | undefined
  #last = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A table that was read wholly after this call. Rejects with errors of the file system. */
  next(): Promise<ProcessTable> {
    this.#pending ??= new Promise((resolve, reject) => {
      this.#clock.after(Math.max(0, this.#last + TABLE_INTERVAL_MS - this.#clock.now()), () => {
        this.#pending = undefined
        this.#last = this.#clock.now()
        try {
          resolve(readProcessTable(this.#since))
        } catch (error) {
          reject(error)
        }
      })
    })
    return this.#pending
  }
}
