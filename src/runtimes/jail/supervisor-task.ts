/** What the daemon tells its supervisor at the start. */
export interface SupervisorTask {
  /** See `Mark`. */
  readonly home: string
  readonly boot: string
  /** Directory of the control group that holds all jails of this boot, when there is one. */
  readonly cgroup: string | undefined
}

/** How often the daemon says that it is there. */
export const SIGN_OF_LIFE_MS = 500

/**
 * Silence after which the daemon counts as stopped (SIGSTOP, a suspended machine) and its tasks are killed: the lease of
 * all its work (6 s) has then ended, since the last renewal can have been sent at most SIGN_OF_LIFE_MS after the last sign.
 */
export const DAEMON_SILENT_MS = 6_500

/** How often the supervisor looks. */
export const SILENCE_CHECK_MS = 250

/** How long the supervisor tries after its daemon is gone. What withstands SIGKILL for so long waits for a device. */
export const SUPERVISOR_LIMIT_MS = 10_000
