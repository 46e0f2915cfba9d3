/**
 * Program of the supervisor process: waits until its daemon is gone, kills what the daemon has left behind, ends. While
 * the daemon is there, it kills the tasks of a job at the end of the job's lease, should the daemon not have done so: a
 * daemon that is stopped (SIGSTOP) or stuck cannot.
 *
 * Its only argument is a `SupervisorTask` as JSON. On stdin the daemon tells, one a line: `+PID JOB` and `-PID`, the
 * leaders of its jails, when started and when gone; `~DEADLINE JOB`, the end of a job's lease by `machineTime`. The end of
 * stdin means that the daemon is gone, by whatever means: the kernel closes the pipe. The leaders matter only for
 * processes that have wiped their environment: all others carry the mark.
 */
import { createInterface } from 'node:readline'
import { Cgroup } from './cgroup.ts'
import {
  isJailOf,
  LEASE_CHECK_MS,
  LEASE_SWEEP_LIMIT_MS,
  machineTime,
  SUPERVISOR_LIMIT_MS,
  type SupervisorTask
} from './supervisor-task.ts'
import { type SweepTarget, sweep } from './sweep.ts'

const task: SupervisorTask = JSON.parse(process.argv[2] ?? '')
/** Job of each leader. */
const leaders = new Map<number, string>()
const deadlines = new Map<string, number>()
const boot = task.cgroup === undefined ? undefined : new Cgroup(task.cgroup)

// A signal to stop the daemon may reach its whole group or terminal; this process has to outlive it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGPIPE'] as const) process.on(signal, () => {})
process.title = 'starling-supervisor'

function targetOf(job: string | undefined): SweepTarget {
  const isMeant = (jail: string) => job === undefined || isJailOf(jail, job)
  const meant = [...leaders].filter(([, leaderOf]) => job === undefined || leaderOf === job)
  return {
    matches: mark => mark.home === task.home && mark.boot === task.boot && isMeant(mark.jail),
    leaders: new Set(meant.map(([pid]) => pid)),
    cgroups: job === undefined ? (boot === undefined ? [] : [boot]) : (boot?.children(isMeant) ?? [])
  }
}

let sweeping = false
const watchdog = setInterval(async () => {
  if (sweeping) return
  sweeping = true
  const now = machineTime()
  for (const [job, deadline] of [...deadlines]) {
    if (now < deadline) continue
    deadlines.delete(job)
    await sweep(targetOf(job), LEASE_SWEEP_LIMIT_MS, true)
  }
  sweeping = false
}, LEASE_CHECK_MS)

function read(line: string): void {
  const [word = '', job = ''] = line.split(' ')
  const number = Number(word.slice(1))
  if (!(number > 1)) return
  if (word.startsWith('+')) leaders.set(number, job)
  else if (word.startsWith('-')) leaders.delete(number)
  else if (word.startsWith('~')) deadlines.set(job, number)
}

try {
  for await (const line of createInterface({ input: process.stdin })) read(line)
} catch {
  // A broken pipe says the same as a closed one, and there is nobody left to tell.
}

clearInterval(watchdog)
await sweep(targetOf(undefined), SUPERVISOR_LIMIT_MS)
// Not `exit`: on a machine under load Node 24 may wait there for its own worker threads for ever. Nobody reads the code.
process.kill(process.pid, 'SIGKILL')
