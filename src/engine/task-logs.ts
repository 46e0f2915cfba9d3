import type { Clock } from '../ports/index.ts'
import type { LogLine } from '../wire/api/index.ts'

/** Lines kept per task, and tasks whose log is kept: the newest of each. About 100 MiB at the very worst. */
export const LOG_LINES_KEPT_MAX = 500
export const LOGS_KEPT_MAX = 1_000

interface TaskLog {
  readonly lines: LogLine[]
  /** Lines dropped at the front. */
  dropped: number
  open: boolean
  readonly wakers: Set<() => void>
}

/** Logs of the tasks that ran or run on this host. Bounded in memory; not kept over a restart. */
export class TaskLogs {
  readonly #clock: Clock
  readonly #logs = new Map<string, TaskLog>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  open(taskId: string): void {
    const known = this.#logs.get(taskId)
    this.#logs.delete(taskId)
    const log: TaskLog = known ?? { lines: [], dropped: 0, open: true, wakers: new Set() }
    log.open = true
    this.#logs.set(taskId, log)
    if (this.#logs.size <= LOGS_KEPT_MAX) return
    for (const [id, { open }] of this.#logs) {
      if (open) continue
      this.#logs.delete(id)
      return
    }
  }

  append(taskId: string, line: string): void {
    const log = this.#logs.get(taskId)
    if (log === undefined) return
    log.lines.push({ time: new Date(this.#clock.wall()).toISOString(), taskId, line })
    if (log.lines.length > LOG_LINES_KEPT_MAX) {
      log.lines.shift()
      log.dropped += 1
    }
    wakeAll(log)
  }

  close(taskId: string): void {
    const log = this.#logs.get(taskId)
    if (log === undefined) return
    log.open = false
    wakeAll(log)
  }

  has(taskId: string): boolean {
    return this.#logs.has(taskId)
  }

  ids(): IterableIterator<string> {
    return this.#logs.keys()
  }

  /** What there is, then (with `follow`) what comes until the task ends or `signal` aborts. */
  async *read(taskId: string, options: { follow: boolean; signal: AbortSignal }): AsyncGenerator<LogLine> {
    const log = this.#logs.get(taskId)
    let next = 0
    while (log !== undefined && !options.signal.aborted) {
      next = Math.max(next, log.dropped)
      const line = log.lines[next - log.dropped]
      if (line !== undefined) {
        next += 1
        yield line
      } else if (options.follow && log.open) {
        await woken(log, options.signal)
      } else {
        return
      }
    }
  }
}

function wakeAll(log: TaskLog): void {
  for (const wake of log.wakers) wake()
  log.wakers.clear()
}

function woken(log: TaskLog, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const wake = () => {
      signal.removeEventListener('abort', wake)
      log.wakers.delete(wake)
      resolve()
    }
    signal.addEventListener('abort', wake, { once: true })
    log.wakers.add(wake)
  })
}
