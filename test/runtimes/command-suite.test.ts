import { describe, onTestFinished } from 'vitest'
import { silentLogger } from '../../src/ports/index.ts'
import { commandRuntime } from '../../src/runtimes/index.ts'
import { type Behaviour, runtimeSuite } from '../compliance/runtime-suite.ts'
import { testJails } from './support.ts'
import { systemClock } from './system-clock.ts'

const A_TIMES = `head -c "$1" /dev/zero | tr '\\0' a`

const COMMANDS: Record<Behaviour, string[]> = {
  echo: [
    process.execPath,
    '-e',
    `let t = ''; process.stdin.on('data', d => t += d).on('end', () => console.log(JSON.stringify(JSON.parse(t).input)))`
  ],
  text: ['sh', '-c', A_TIMES, 'sh', '{input}'],
  fail: ['sh', '-c', `{ ${A_TIMES}; } >&2; exit 7`, 'sh', '{input}'],
  hang: ['sh', '-c', 'echo hanging >&2; exec sleep 600'],
  stubborn: ['sh', '-c', 'trap "" TERM; echo hanging >&2; while :; do sleep 600; done'],
  log: ['sh', '-c', `{ ${A_TIMES}; } >&2; echo >&2; echo null`, 'sh', '{input}']
}

describe.each([
  ['marks', 'marks'],
  ['the best jails of this machine', undefined]
] as const)('command, held by %s', (_, kind) => {
  runtimeSuite(behaviour => {
    const { jails } = testJails(kind)
    const runtime = commandRuntime({
      command: COMMANDS[behaviour],
      socket: '/nowhere',
      jails,
      clock: systemClock,
      logger: silentLogger
    })
    onTestFinished(() => runtime.stop())
    return runtime
  })
})
