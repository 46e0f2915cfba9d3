import { setTimeout as delay } from 'node:timers/promises'
import type { Cgroup } from './cgroup.ts'
import type { Mark } from './mark.ts'
import { processTableAvailable, readProcessTable, selectProcesses } from './process-table.ts'

/** Between two looks: long enough for killed processes to be gone, short against every deadline. */
const SWEEP_INTERVAL_MS = 20

/** Looks in a row that must find nothing, so that a fork during the first one is seen by the second. */
const CLEAN_LOOKS = 2

/** What is to be killed: the union of all three. */
export interface SweepTarget {
  readonly matches: (mark: Mark) => boolean
  /** Pids that began as leaders of their own session and process group. */
  readonly leaders: ReadonlySet<number>
  readonly cgroups: readonly Cgroup[]
}

export interface SweepReport {
  /** Processes that were found at the first look. */
  readonly found: number
  /** Processes that were there at the last look: not empty only when the time was over. */
  readonly left: readonly number[]
}

/**
 * Kills (SIGKILL) everything of the target until nothing of it is left, for at most `limitMs`. Removes the control
 * groups, unless they are to be used again (`keepGroups`). Without /proc it knows process groups only.
 */
export async function sweep(target: SweepTarget, limitMs: number, keepGroups = false): Promise<SweepReport> {
  const end = performance.now() + limitMs
  let found = 0
  let clean = 0
  for (let look = 0; ; look += 1) {
    const left = listTargets(target)
    if (look === 0) found = left.length
    clean = left.length === 0 ? clean + 1 : 0
    if (clean === CLEAN_LOOKS || performance.now() >= end) {
      if (!keepGroups) for (const cgroup of target.cgroups) cgroup.remove()
      return { found, left }
    }
    kill(target, left)
    await delay(SWEEP_INTERVAL_MS)
  }
}

/** Sends one signal; whether there was somebody to send it to. A negative `pid` names a process group, as in kill(2). */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): 'sent' | 'gone' | 'refused' {
  try {
    process.kill(pid, signal)
    return 'sent'
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ESRCH') return 'gone'
    if (code === 'EPERM') return 'refused'
    throw error
  }
}

function listTargets(target: SweepTarget): number[] {
  const pids = new Set<number>(target.cgroups.flatMap(cgroup => cgroup.pids()))
  if (processTableAvailable) {
    for (const row of selectProcesses(readProcessTable(), target.matches, target.leaders)) pids.add(row.pid)
  } else {
    for (const leader of target.leaders) if (sendSignal(-leader, 0) !== 'gone') pids.add(-leader)
  }
  return [...pids]
}

function kill(target: SweepTarget, pids: readonly number[]): void {
  for (const cgroup of target.cgroups) cgroup.kill()
  for (const pid of pids) sendSignal(pid, 'SIGKILL')
}
