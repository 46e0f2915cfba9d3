import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { silentLogger } from '../../src/ports/index.ts'
import { reapLeftovers } from '../../src/runtimes/index.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { noneLeft, processesWith, uniqueSeconds } from './support.ts'

/** Contract: no survivor so long after the daemon is killed. */
const SURVIVAL_LIMIT_MS = 5_000

const HELPER = fileURLToPath(new URL('./helper-daemon.ts', import.meta.url))

/** A task that ignores SIGTERM, with a child, a child in another session, and one adopted by init. */
function family(seconds: string): string {
  return `trap '' TERM; sleep ${seconds} & setsid sleep ${seconds} & (setsid sh -c 'sleep ${seconds} & sleep ${seconds}' &)
    echo started >&2; while :; do sleep ${seconds}; done`
}

async function startDaemon(kind: string, script: string, count: number) {
  const home = temporaryDirectory()
  const daemon = spawn(process.execPath, ['--no-warnings', HELPER, home, 'boot-1', kind, String(count), script], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  onTestFinished(() => void daemon.kill('SIGKILL'))
  const [line] = await once(createInterface({ input: daemon.stdout }), 'line')
  const ready: { supervisor: number; kind: string } = JSON.parse(String(line))
  return { home, daemon, ready }
}

async function kill(daemon: ChildProcess): Promise<void> {
  const gone = once(daemon, 'exit')
  daemon.kill('SIGKILL')
  await gone
}

/** What a supervisor calls itself once it is ready. */
const SUPERVISOR = 'starling-supervisor'

const running = (pid: number) => processesWith(SUPERVISOR).includes(pid)

async function supervisorReady(pid: number): Promise<void> {
  await vi.waitFor(() => expect(running(pid)).toBe(true), { timeout: 5_000 })
}

describe.each(['marks', 'best'])('when the daemon is killed, with jails held by: %s', kind => {
  test('nothing of its tasks survives, and the supervisor leaves', async () => {
    const seconds = uniqueSeconds()
    const { daemon, ready } = await startDaemon(kind, family(seconds), 5)
    await vi.waitFor(() => expect(processesWith(`sleep ${seconds}`.replaceAll(' ', '\0')).length).toBe(25), 5_000)
    await supervisorReady(ready.supervisor)
    await kill(daemon)
    await noneLeft(seconds, SURVIVAL_LIMIT_MS)
    await vi.waitFor(() => expect(running(ready.supervisor)).toBe(false), { timeout: SURVIVAL_LIMIT_MS })
  })

  test('the supervisor outlives signals that are sent to its group', async () => {
    const seconds = uniqueSeconds()
    const { daemon, ready } = await startDaemon(kind, family(seconds), 1)
    await supervisorReady(ready.supervisor)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(-ready.supervisor, signal)
    await kill(daemon)
    await noneLeft(seconds, SURVIVAL_LIMIT_MS)
  })

  test('what is left when the supervisor is killed too, the next start of the same home kills', async () => {
    const seconds = uniqueSeconds()
    const { daemon, ready, home } = await startDaemon(kind, family(seconds), 2)
    await supervisorReady(ready.supervisor)
    // Both at once: a stopped daemon starts no other supervisor.
    daemon.kill('SIGSTOP')
    process.kill(ready.supervisor, 'SIGKILL')
    await vi.waitFor(() => expect(running(ready.supervisor)).toBe(false), { timeout: 2_000 })
    await kill(daemon)
    expect(processesWith(seconds).length).toBeGreaterThanOrEqual(10)

    const elsewhere = await reapLeftovers({ home: temporaryDirectory(), boot: 'boot-2', logger: silentLogger })
    expect(elsewhere).toEqual({ found: 0, left: [] })
    const same = await reapLeftovers({ home, boot: 'boot-1', logger: silentLogger })
    expect(same).toEqual({ found: 0, left: [] })
    expect(processesWith(seconds).length).toBeGreaterThanOrEqual(10)

    const report = await reapLeftovers({ home, boot: 'boot-2', logger: silentLogger })
    expect(report.found).toBeGreaterThanOrEqual(10)
    expect(report.left).toEqual([])
    expect(processesWith(seconds)).toEqual([])
  })
})

test('a supervisor that dies is replaced, and the new one knows the tasks of the old one', async () => {
  const seconds = uniqueSeconds()
  // Without its mark the process is found by its session only, which the daemon has to tell again.
  const { daemon, ready } = await startDaemon('marks', `echo started >&2; exec env -i sleep ${seconds}`, 1)
  await supervisorReady(ready.supervisor)
  process.kill(ready.supervisor, 'SIGKILL')
  await vi.waitFor(
    () => expect(processesWith(SUPERVISOR, daemon.pid).filter(pid => pid !== ready.supervisor)).toHaveLength(1),
    { timeout: 5_000 }
  )
  await kill(daemon)
  await noneLeft(seconds, SURVIVAL_LIMIT_MS)
})
