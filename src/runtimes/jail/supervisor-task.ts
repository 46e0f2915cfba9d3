/** What the daemon tells its supervisor at the start. */
export interface SupervisorTask {
  /** See `Mark`. */
  readonly home: string
  readonly boot: string
  /** Directory of the control group that holds all jails of this boot, when there is one. */
  readonly cgroup: string | undefined
}

/** How often the supervisor looks whether a lease is over. With the kill it stays far below a second. */
export const LEASE_CHECK_MS = 100

/** How long the supervisor tries after its daemon is gone. What withstands SIGKILL for so long waits for a device. */
export const SUPERVISOR_LIMIT_MS = 10_000

/** How long it tries when a lease is over, before it looks at other leases again. */
export const LEASE_SWEEP_LIMIT_MS = 1_000

/** Milliseconds of the machine's monotonic clock, which is the same in all its processes. */
export function machineTime(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000
}

/** Name of a jail: control groups and marks of a job are found by its beginning. */
export function jailName(job: string, number: number): string {
  return `${job}j${number}`
}

export function isJailOf(jail: string, job: string): boolean {
  return jail.startsWith(`${job}j`)
}
