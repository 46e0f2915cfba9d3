import { type ChildProcess, spawn } from 'node:child_process'
import type { Clock, Logger } from '../../ports/index.ts'
import { type Cgroup, ENTER_SCRIPT, SHELL } from './cgroup.ts'
import { JAIL_VARIABLE, type Mark, markText, markValue } from './mark.ts'
import { selectProcesses } from './process-table.ts'
import type { Supervisor } from './supervisor.ts'
import { sendSignal } from './sweep.ts'
import type { TableReader } from './table-reader.ts'

/** Between SIGTERM and SIGKILL: enough to remove a lock file or to flush a log. */
export const KILL_GRACE_MS = 2_000

/** Between two looks at a jail that is being emptied. */
const LOOK_INTERVAL_MS = 10

/** A jail that has not emptied so long after SIGKILL is reported, each time that so long has passed, and looked at less. */
const STUCK_MS = 5_000
const STUCK_INTERVAL_MS = 500

/**
 * How jails hold their processes. `cgroup`: by control groups, nothing can leave. `marks`: by sessions, parents and a
 * mark in the environment; a process that wipes its environment and has itself adopted while nobody looks can leave.
 * `groups`: by process groups only (no /proc: not Linux).
 */
export type JailKind = 'cgroup' | 'marks' | 'groups'

export interface JailInit {
  readonly job: string
  readonly mark: Mark
  /** Value of JAIL_VARIABLE in the daemon's own environment. */
  readonly inherited: string | undefined
  readonly kind: JailKind
  readonly cgroup: Cgroup | undefined
  readonly supervisor: Supervisor
  readonly tables: TableReader
  readonly clock: Clock
  readonly logger: Logger
  readonly emptied: () => void
}

/** A set of processes: one that is started in it, and all that descend from that one. */
export class Jail {
  readonly #init: JailInit
  readonly #leaders = new Set<number>()
  #ending: Promise<void> | undefined
  /** SIGKILL from then on. */
  #killAt = Number.POSITIVE_INFINITY

  constructor(init: JailInit) {
    this.#init = init
  }

  get job(): string {
    return this.#init.job
  }

  /**
   * Starts a program with `args` as they are (no shell reads them), in a session of its own, with a pipe to its stdin. As
   * with `spawn` of node:child_process a failure is an `error` event and leaves `pid` undefined.
   * @throws what `spawn` throws for strings with NUL
   */
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    const { job, mark, inherited, cgroup, supervisor } = this.#init
    const [file, all] =
      cgroup === undefined ? [program, args] : [SHELL, ['-c', ENTER_SCRIPT, cgroup.procsFile, program, ...args]]
    const child = spawn(file, [...all], {
      cwd: options.cwd,
      env: { [JAIL_VARIABLE]: markValue(inherited, mark), ...options.env },
      detached: true,
      stdio: ['pipe', options.stdout, options.stderr]
    })
    if (child.pid !== undefined) {
      this.#leaders.add(child.pid)
      supervisor.add(child.pid, job)
    }
    return child
  }

  /**
   * Empties the jail: SIGTERM to all, after KILL_GRACE_MS SIGKILL to whatever is left or new, again and again. Resolves
   * when every process of it is gone, at once when none is left. Idempotent. `hard`: SIGKILL from the start, also when an
   * end without it is under way.
   */
  end(hard = false): Promise<void> {
    if (hard) this.#killAt = Number.NEGATIVE_INFINITY
    this.#ending ??= this.#empty()
    return this.#ending
  }

  async #empty(): Promise<void> {
    const { clock, logger, mark, cgroup, supervisor } = this.#init
    const begunAt = clock.now()
    this.#killAt = Math.min(this.#killAt, begunAt + KILL_GRACE_MS)
    let look = await this.#look()
    // Each only once: some programs take a second SIGTERM for impatience.
    if (!look.empty && this.#killAt > begunAt) this.#signal(look.pids.length > 0 ? look.pids : look.groups, 'SIGTERM')
    let reportAt = begunAt + KILL_GRACE_MS + STUCK_MS
    let interval = LOOK_INTERVAL_MS
    while (!look.empty) {
      if (clock.now() >= this.#killAt) {
        cgroup?.kill()
        // Groups first: the kernel signals a whole group at once, also what it forks meanwhile.
        this.#signal([...look.groups, ...look.pids], 'SIGKILL')
      }
      await this.#wait(interval)
      look = await this.#look()
      if (look.empty || clock.now() < reportAt) continue
      logger.warn('processes of a task do not end', { jail: markText(mark), pids: look.pids })
      reportAt = clock.now() + STUCK_MS
      interval = STUCK_INTERVAL_MS
    }
    for (const leader of this.#leaders) supervisor.remove(leader)
    if (cgroup?.remove() === false) logger.warn('control group of a task not removed', { jail: markText(mark) })
    this.#init.emptied()
  }

  async #look(): Promise<Look> {
    try {
      const { kind, cgroup } = this.#init
      if (cgroup !== undefined) return cgroup.empty() ? NOBODY : { empty: false, pids: cgroup.pids(), groups: [] }
      if (kind === 'marks') return await this.#lookByMarks()
      const groups = [...this.#leaders].map(leader => -leader).filter(group => sendSignal(group, 0) !== 'gone')
      return { empty: groups.length === 0, pids: [], groups }
    } catch (error) {
      this.#init.logger.warn('cannot look for processes of a task', { jail: markText(this.#init.mark), error })
      return { empty: false, pids: [], groups: [] }
    }
  }

  async #lookByMarks(): Promise<Look> {
    const { tables, mark } = this.#init
    const isMine = (each: Mark) => each.home === mark.home && each.boot === mark.boot && each.jail === mark.jail
    for (let tries = 0; tries < 2; tries += 1) {
      const table = await tables.next()
      const rows = selectProcesses(table, isMine, this.#leaders)
      if (rows.length > 0) {
        const groups = [...this.#leaders].filter(leader => rows.some(row => row.session === leader))
        return { empty: false, pids: rows.map(row => row.pid), groups: groups.map(group => -group) }
      }
      if (table.settled) break
    }
    return NOBODY
  }

  #signal(pids: readonly number[], signal: NodeJS.Signals): void {
    for (const pid of pids) {
      if (sendSignal(pid, signal) === 'refused') {
        this.#init.logger.warn('may not signal a process of a task', { jail: markText(this.#init.mark), pid })
      }
    }
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise(resolve => this.#init.clock.after(delayMs, resolve))
  }
}

/** What lives in a jail. */
interface Look {
  /** True only when it is certain. */
  readonly empty: boolean
  readonly pids: readonly number[]
  /** Process groups as negative numbers, as in kill(2). */
  readonly groups: readonly number[]
}

const NOBODY: Look = { empty: true, pids: [], groups: [] }

export interface SpawnOptions {
  readonly cwd: string | undefined
  /** The whole environment but for JAIL_VARIABLE. */
  readonly env: Readonly<Record<string, string>>
  /** Descriptors, or `pipe` for the streams of the child process. */
  readonly stdout: number | 'pipe'
  readonly stderr: number | 'pipe'
}
