import type { Logger } from '../../ports/index.ts'
import { cgroupsNamed, ownCgroup } from './cgroup.ts'
import { homeId } from './home-id.ts'
import { bootCgroupName } from './mark.ts'
import { sweep } from './sweep.ts'

/** As long as a supervisor tries; longer means that the kernel cannot end a process. */
const REAP_LIMIT_MS = 10_000

export interface ReapLeftoversInit {
  /** Home directory of the daemon. The caller holds its lock: no other daemon runs on it. */
  readonly home: string
  /** Name of this life of the daemon, the one given to `processJails`. */
  readonly boot: string
  readonly logger: Logger
}

/**
 * Kills all processes of tasks that earlier lives of this home's daemon have left, for the case that their supervisor
 * was killed too. To be called before the daemon takes or asks for work; resolves when nothing of them runs any more,
 * or after 10 s with the pids that are `left` (logged as an error). Linux only: elsewhere it finds nothing.
 * @throws StarlingError HOME_UNUSABLE when there is no such directory
 */
export async function reapLeftovers(init: ReapLeftoversInit): Promise<{ found: number; left: readonly number[] }> {
  const home = homeId(init.home)
  const parent = ownCgroup()
  const cgroups =
    parent === undefined
      ? []
      : cgroupsNamed(parent, bootCgroupName(home, ''), init.logger)
          .filter(({ name }) => name !== bootCgroupName(home, init.boot))
          .map(({ cgroup }) => cgroup)
  const report = await sweep(
    { matches: mark => mark.home === home && mark.boot !== init.boot, leaders: new Set(), cgroups },
    REAP_LIMIT_MS
  )
  if (report.left.length > 0) {
    init.logger.error('processes of an earlier start cannot be killed', { pids: report.left })
  } else if (report.found > 0) {
    init.logger.warn('killed processes that an earlier start has left', { count: report.found })
  }
  return report
}
