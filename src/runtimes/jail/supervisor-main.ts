/**
 * Program of the supervisor process: waits until its daemon is gone, kills what the daemon has left behind, ends. While
 * the daemon is there but silent (stopped), it kills its tasks at the end of their lease and goes on waiting.
 *
 * Its only argument is a `SupervisorTask` as JSON. On stdin the daemon names the leaders of its jails, one a line: `+PID`
 * when started, `-PID` when gone. The end of stdin means that the daemon is gone, by whatever means: the kernel closes
 * the pipe. An empty line is a sign of life. Nothing depends on those lines but processes that have wiped their environment: all others carry the mark.
 */
import { createInterface } from 'node:readline'
import { Cgroup } from './cgroup.ts'
import type { Mark } from './mark.ts'
import { DAEMON_SILENT_MS, SILENCE_CHECK_MS, SUPERVISOR_LIMIT_MS, type SupervisorTask } from './supervisor-task.ts'
import { sweep } from './sweep.ts'

const task: SupervisorTask = JSON.parse(process.argv[2] ?? '')
const leaders = new Set<number>()

// A signal to stop the daemon may reach its whole group or terminal; this process has to outlive it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGPIPE'] as const) process.on(signal, () => {})
process.title = 'starling-supervisor'

const target = {
  matches: (mark: Mark) => mark.home === task.home && mark.boot === task.boot,
  leaders,
  cgroups: task.cgroup === undefined ? [] : [new Cgroup(task.cgroup)]
}

// The watchdog of the leases, outside of the daemon's event loop: a stopped daemon cannot end its tasks itself.
let heardAt = performance.now()
let checkedAt = heardAt
let sweeping = false
const watchdog = setInterval(async () => {
  const now = performance.now()
  // This process was stopped too: what the daemon has said meanwhile is still unread.
  if (now - checkedAt > DAEMON_SILENT_MS / 2) heardAt = now
  checkedAt = now
  if (sweeping || now - heardAt < DAEMON_SILENT_MS) return
  sweeping = true
  await sweep(target, SUPERVISOR_LIMIT_MS, true)
  sweeping = false
}, SILENCE_CHECK_MS)

try {
  for await (const line of createInterface({ input: process.stdin })) {
    heardAt = performance.now()
    const pid = Number(line.slice(1))
    if (!Number.isInteger(pid) || pid <= 1) continue
    if (line.startsWith('+')) leaders.add(pid)
    else leaders.delete(pid)
  }
} catch {
  // A broken pipe says the same as a closed one, and there is nobody left to tell.
}

clearInterval(watchdog)
await sweep(target, SUPERVISOR_LIMIT_MS)
// Not `exit`: on a machine under load Node 24 may wait there for its own worker threads for ever. Nobody reads the code.
process.kill(process.pid, 'SIGKILL')
