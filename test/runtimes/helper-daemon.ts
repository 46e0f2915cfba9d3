/**
 * Stands for a daemon that is to be killed: runs `count` command tasks with the shell script `script` and prints one
 * line of JSON when all have logged a line. Arguments: home, boot, kind of jails, count, script.
 */
import { silentLogger } from '../../src/ports/index.ts'
import { commandRuntime, processJails } from '../../src/runtimes/index.ts'
import { systemClock } from './system-clock.ts'

const [home = '', boot = '', kind, count, script = ''] = process.argv.slice(2)
const jails = processJails({
  home,
  boot,
  clock: systemClock,
  logger: silentLogger,
  kind: kind === 'marks' ? 'marks' : undefined
})
const runtime = commandRuntime({
  command: ['sh', '-c', script],
  socket: '/nowhere',
  jails,
  clock: systemClock,
  logger: silentLogger
})
let waiting = Number(count)
for (let index = 0; index < Number(count); index += 1) {
  const task = {
    attemptId: `a${index}`,
    taskId: `job.${index}`,
    jobId: 'job',
    capability: 'test',
    input: null,
    attempt: 1,
    fencingToken: '1',
    leaseLeftMs: 6_000,
    traceparent: '',
    timeoutMs: undefined
  }
  runtime.start(task, {
    log() {
      waiting -= 1
      if (waiting === 0) console.log(JSON.stringify({ supervisor: jails.supervisorPid, kind: jails.kind }))
    },
    ended() {}
  })
}
setInterval(() => {}, 60_000)
