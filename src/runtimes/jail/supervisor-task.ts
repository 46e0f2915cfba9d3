/** What the daemon tells its supervisor at the start. */
export interface SupervisorTask {
  /** See `Mark`. */
  readonly home: string
  readonly boot: string
  /** Directory of the control group that holds all jails of this boot, when there is one. */
  readonly cgroup: string | undefined
}

/** How long the supervisor tries after its daemon is gone. What withstands SIGKILL for so long waits for a device. */
export const SUPERVISOR_LIMIT_MS = 10_000
