import { describe, expect, test, vi } from 'vitest'
import { silentLogger } from '../../src/ports/index.ts'
import { commandRuntime } from '../../src/runtimes/index.ts'
import { processesWith, recorder, taskStart, testJails, uniqueSeconds } from './support.ts'
import { systemClock } from './system-clock.ts'

/** Bodies must be gone this long after the end of their lease, or the root could take them for dead too early. */
const KILL_GRACE_MS = 1_000

/** A task that ignores SIGTERM, with a child of its own session. */
const stubborn = (seconds: string) => `trap '' TERM; setsid sleep ${seconds} & while :; do sleep ${seconds}; done`

function host(kind: 'marks' | undefined) {
  const { jails } = testJails(kind)
  const start = async (job: string, leaseLeftMs: number) => {
    const seconds = uniqueSeconds()
    const command = ['sh', '-c', stubborn(seconds)]
    const runtime = commandRuntime({ command, socket: '/nowhere', jails, clock: systemClock, logger: silentLogger })
    const told = recorder()
    const task = { attemptId: `${job}/1:1`, jobId: job, taskId: `${job}.0`, leaseLeftMs }
    const attempt = runtime.start(taskStart(task), told.handlers)
    await vi.waitFor(() => expect(processesWith(seconds).length).toBeGreaterThanOrEqual(2), { timeout: 5_000 })
    return { attempt, living: () => processesWith(seconds).length }
  }
  return { jails, start }
}

describe.each(['marks', undefined] as const)('a lease, with jails held by: %s', kind => {
  test('that ends without a word of the daemon ends the tasks of its job, and of no other', async () => {
    const { start } = host(kind)
    const other = await start('jobother', 60_000)
    const one = await start('jobone', 1_500)
    const ended = performance.now() + 1_500
    await vi.waitFor(() => expect(one.living()).toBe(0), { timeout: 5_000, interval: 20 })
    expect(performance.now() - ended).toBeLessThan(KILL_GRACE_MS)
    expect(other.living()).toBeGreaterThanOrEqual(2)
  })

  test('that is renewed lets its tasks live', async () => {
    const { jails, start } = host(kind)
    const one = await start('jobone', 1_500)
    const began = performance.now()
    await vi.waitFor(
      () => {
        jails.leases(new Map([['jobone', 1_500]]))
        expect(performance.now() - began).toBeGreaterThan(3_000)
      },
      { timeout: 5_000, interval: 100 }
    )
    expect(one.living()).toBeGreaterThanOrEqual(2)
  })

  test('that the daemon itself finds to be over is followed by SIGKILL at once', async () => {
    const { start } = host(kind)
    const one = await start('jobone', 60_000)
    const killed = performance.now()
    one.attempt.kill('its lease is over', true)
    await vi.waitFor(() => expect(one.living()).toBe(0), { timeout: 5_000, interval: 20 })
    expect(performance.now() - killed).toBeLessThan(KILL_GRACE_MS)
  })
})
