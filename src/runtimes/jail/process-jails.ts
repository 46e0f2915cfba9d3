import { join } from 'node:path'
import { StarlingError } from '../../core/index.ts'
import type { Clock, Logger, Watchdog } from '../../ports/index.ts'
import { Cgroup, cgroupWritable, ownCgroup } from './cgroup.ts'
import { homeId } from './home-id.ts'
import { Jail, type JailKind } from './jail.ts'
import { bootCgroupName, isBootName, JAIL_VARIABLE, type Mark } from './mark.ts'
import { OutputPipes } from './output-pipes.ts'
import { processTableAvailable } from './process-table.ts'
import { Supervisor } from './supervisor.ts'
import { jailName } from './supervisor-task.ts'
import { TableReader } from './table-reader.ts'

/** In the home directory; holds nothing but pipes of the running daemon. */
const PIPES_DIRECTORY = 'pipes'

export interface ProcessJailsInit {
  /** Existing home directory of the daemon. */
  readonly home: string
  /** Name of this life of the daemon, different in each: at most 64 letters, digits, `-` and `_`. */
  readonly boot: string
  readonly clock: Clock
  readonly logger: Logger
  /** `marks` leaves control groups alone. @default the best that this machine allows */
  readonly kind?: 'marks' | undefined
}

/**
 * Makes jails: sets of processes that end together and of which nothing is left afterwards, also when the daemon is
 * killed (a supervisor process sees to it, see `Supervisor`). One per daemon, shared by all its runtimes.
 */
export class ProcessJails implements Watchdog {
  readonly #home: string
  readonly #boot: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #wanted: 'marks' | undefined
  readonly #tables: TableReader
  /** Pipes for the output of what is started in jails. */
  readonly pipes: OutputPipes
  #opened: { readonly kind: JailKind; readonly cgroup: string | undefined; readonly supervisor: Supervisor } | undefined
  #count = 0
  readonly #jails = new Set<Jail>()

  constructor(init: ProcessJailsInit) {
    if (!isBootName(init.boot))
      throw new StarlingError('INTERNAL', `boot name ${JSON.stringify(init.boot)} has a wrong form`)
    this.#home = homeId(init.home)
    this.#boot = init.boot
    this.#clock = init.clock
    this.#logger = init.logger
    this.#wanted = init.kind
    this.#tables = new TableReader(init.clock)
    this.pipes = new OutputPipes(join(init.home, PIPES_DIRECTORY), init.logger)
  }

  /** How jails hold their processes here; undefined before the first one. */
  get kind(): JailKind | undefined {
    return this.#opened?.kind
  }

  /** Pid of the supervisor, for display; undefined while none runs. */
  get supervisorPid(): number | undefined {
    return this.#opened?.supervisor.pid
  }

  /**
   * An empty jail for a task of `job`, whose lease ends after `leaseLeftMs` unless `leases` says otherwise. The supervisor
   * knows it before anything is started in it. The first call tries control groups and starts the supervisor (some
   * milliseconds).
   * @throws StarlingError LIMIT_REACHED when no supervisor can be started; errors of the file system
   */
  open(job: string, leaseLeftMs: number): Jail {
    this.#opened ??= this.#prepare()
    const { kind, cgroup, supervisor } = this.#opened
    supervisor.ensure()
    supervisor.lease(job, leaseLeftMs)
    this.#count += 1
    const mark: Mark = { home: this.#home, boot: this.#boot, jail: jailName(job, this.#count) }
    const group = cgroup === undefined ? undefined : new Cgroup(join(cgroup, mark.jail))
    group?.create()
    const jail = new Jail({
      job,
      mark,
      inherited: process.env[JAIL_VARIABLE],
      kind,
      cgroup: group,
      supervisor,
      tables: this.#tables,
      clock: this.#clock,
      logger: this.#logger,
      emptied: () => this.#emptied(jail)
    })
    this.#jails.add(jail)
    return jail
  }

  leases(left: ReadonlyMap<string, number>): void {
    const jobs = new Set([...this.#jails].map(({ job }) => job))
    for (const job of jobs) {
      const leftMs = left.get(job)
      if (leftMs !== undefined) this.#opened?.supervisor.lease(job, leftMs)
    }
  }

  #emptied(jail: Jail): void {
    this.#jails.delete(jail)
    if (![...this.#jails].some(({ job }) => job === jail.job)) this.#opened?.supervisor.forget(jail.job)
  }

  /** Ends all jails and dismisses the supervisor; resolves when nothing is left. Idempotent; no `open` afterwards. */
  async close(): Promise<void> {
    await Promise.all([...this.#jails].map(jail => jail.end()))
    this.pipes.close()
    const opened = this.#opened
    if (opened === undefined) return
    await opened.supervisor.close()
    if (opened.cgroup !== undefined) new Cgroup(opened.cgroup).remove()
  }

  #prepare() {
    const parent = this.#wanted === 'marks' ? undefined : ownCgroup()
    const name = bootCgroupName(this.#home, this.#boot)
    const cgroup = parent !== undefined && cgroupWritable(parent, `${name}-probe`) ? join(parent, name) : undefined
    const kind: JailKind = cgroup !== undefined ? 'cgroup' : processTableAvailable ? 'marks' : 'groups'
    this.#logger.info('task processes are held', { by: kind })
    const task = { home: this.#home, boot: this.#boot, cgroup }
    return { kind, cgroup, supervisor: new Supervisor(task, this.#clock, this.#logger) }
  }
}

export function processJails(init: ProcessJailsInit): ProcessJails {
  return new ProcessJails(init)
}
