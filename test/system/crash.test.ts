import { describe, expect, test } from 'vitest'
import type { Job } from '../../src/sdk/index.ts'
import {
  type Daemons,
  processesWith,
  sleepers,
  type TestDaemon,
  uniqueSeconds,
  until,
  untilOffered,
  useDaemons
} from './daemons.ts'

/** Nothing of a killed daemon's tasks may live longer than this. */
const SURVIVAL_LIMIT_MS = 5_000

/** A lost host is given up when its lease, the kill grace and a margin are over; the rest is for a busy machine. */
const LOSS_WAIT_MS = 30_000

/** Of a lease of six seconds that is renewed every second, at least so much was left. */
const LEASE_LEFT_MS_MIN = 4_000

const daemons = useDaemons('test')

/** Announcements of a job among the events that a daemon has kept since it began. */
async function announcements(daemon: TestDaemon, job: string): Promise<number> {
  const { stdout } = await daemon.cli(['events', '--json', '--since', '0'])
  return stdout.split('\n').filter(line => line.includes('starling.job.announced') && line.includes(job)).length
}

/** Three daemons of which only `bob` serves "hold", whose tasks last until they are released, and "spread", which spawns them. */
async function aliceAndHoldingBob(pool: Daemons) {
  const [alice, bob, carol] = await pool.swarm(['alice', 'bob', 'carol'])
  const mesh = await bob.mesh()
  const released = Promise.withResolvers<void>()
  const running: string[] = []
  const hold = async (task: { taskId: string }) => {
    running.push(task.taskId)
    await released.promise
    return 'held'
  }
  await mesh.work('hold', hold, { slots: 4 })
  return { alice, bob, carol, mesh, running, release: () => released.resolve(), hold }
}

describe('a daemon that is killed with kill -9', () => {
  test('leaves no process of its tasks: not their children, nor those in other sessions', async () => {
    const seconds = uniqueSeconds()
    const script = `trap '' TERM; sleep ${seconds} & setsid sleep ${seconds} & (setsid sh -c 'sleep ${seconds} & sleep ${seconds}' &)
      while :; do sleep ${seconds}; done`
    const alice = await daemons.start('alice', {
      capabilities: { family: { command: ['sh', '-c', script], slots: 3 } }
    })
    for (let count = 0; count < 3; count += 1) await alice.client.submit({ capability: 'family' })
    await until('three families live', () => sleepers(seconds) === 15)
    const { signal } = await alice.kill('SIGKILL')
    expect(signal).toBe('SIGKILL')
    await until('nobody of them lives', () => processesWith(seconds).length === 0, SURVIVAL_LIMIT_MS)
  }, 60_000)

  test('while it works for another one: its tasks are done elsewhere, and each counts once', async () => {
    const { alice, bob, carol, running, release, hold } = await aliceAndHoldingBob(daemons)
    const mesh = await alice.mesh()
    await mesh.work('spread', async (_, context) => {
      for (let child = 0; child < 3; child += 1) await context.spawn('hold')
      await context.spawn('quick')
    })
    await mesh.work('quick', () => 'done')
    await untilOffered(alice, 'hold', [bob])
    const run = alice.start(['run', 'spread', '--json'])
    await until('three tasks run at bob', () => running.length === 3)
    const atBob = [...running]
    await bob.kill('SIGKILL')
    await (await carol.mesh()).work('hold', hold, { slots: 4 })
    await until('they run at carol', () => running.length === 6, LOSS_WAIT_MS)
    expect(run.child.exitCode).toBe(null)
    release()
    const { code, stdout } = await run.ended
    expect(code).toBe(0)
    const job = JSON.parse(stdout) as Job
    expect(job).toMatchObject({ verdict: 'completed', lost: [], tasks: { total: 5, completed: 5, failed: 0, lost: 0 } })
    expect(await announcements(alice, job.id)).toBe(1)
    const { items = [] } = await alice.client.job(job.id, { items: true })
    const again = items.filter(({ attempt }) => attempt === 2)
    expect(again.map(({ id }) => id).sort()).toEqual(atBob.sort())
    for (const item of again) expect(item.peerId).toBe(carol.ready.peerId)
    expect((await alice.cli(['job', job.id])).stdout).toMatch(/^again +3 tasks took more than one attempt$/m)
  }, 60_000)

  test('while it works on an exclusive task of a third one: the task waits for the end of its lease, and is done again', async () => {
    const { alice, bob, carol, running, release, hold } = await aliceAndHoldingBob(daemons)
    const tokens: string[] = []
    await (await carol.mesh()).work('owner', async (_, context) => {
      tokens.push(context.fencingToken)
      return (await context.spawn('hold', null, { exclusive: true })).result()
    })
    await untilOffered(alice, 'owner', [carol])
    await untilOffered(carol, 'hold', [bob])
    const { id } = await alice.client.submit({ capability: 'owner' })
    await until('the task runs at bob', () => running.length === 1)
    await (await alice.mesh()).work('hold', hold)
    const begun = performance.now()
    await bob.kill('SIGKILL')
    await until('it runs again', () => running.length === 2, LOSS_WAIT_MS)
    // Nobody but its lease says that bob is gone for good.
    expect(performance.now() - begun).toBeGreaterThan(LEASE_LEFT_MS_MIN)
    release()
    const job = await alice.client.waitForJob(id, { timeoutMs: LOSS_WAIT_MS })
    expect(job).toMatchObject({ verdict: 'completed', result: 'held', tasks: { total: 2, completed: 2, lost: 0 } })
    expect(running).toEqual([`${id}.0.0`, `${id}.0.0`])
    expect(tokens).toEqual(['1'])
  }, 60_000)
})

describe('the daemon that a job was handed in to, killed in the middle and started again', () => {
  test('goes on with a job whose tasks run elsewhere, announces it once, and has forgotten nothing', async () => {
    const { alice, bob, running, release } = await aliceAndHoldingBob(daemons)
    await untilOffered(alice, 'hold', [bob])
    const cancelled = await alice.client.submit({ capability: 'hold' })
    await until('the first job runs', () => running.length === 1)
    await alice.client.cancel(cancelled.id)
    expect(await alice.client.waitForJob(cancelled.id)).toMatchObject({ verdict: 'cancelled' })
    // Its commit comes after all that is kept of the first job.
    const early = await alice.client.submit({ capability: 'hold', id: 'early' })
    await until('the second job runs', () => running.length === 2)

    await alice.kill('SIGKILL')
    const again = await daemons.start('alice', { home: alice.home, listen: alice.ready.listen[0] ?? '' })
    expect(again.ready.peerId).toBe(alice.ready.peerId)
    const jobs = await again.client.jobs()
    expect(jobs.map(({ id }) => id).sort()).toEqual([early.id, cancelled.id].sort())
    expect(jobs.find(({ id }) => id === cancelled.id)).toMatchObject({ verdict: 'cancelled' })
    const same = await again.client.submit({ capability: 'hold', id: 'early' })
    expect(same).toMatchObject({ id: early.id, existing: true })
    await expect(again.client.submit({ capability: 'hold', input: 1, id: 'early' })).rejects.toMatchObject({
      code: 'ID_REUSED'
    })

    release()
    const job = await again.client.waitForJob(early.id, { timeoutMs: LOSS_WAIT_MS })
    expect(job).toMatchObject({ verdict: 'completed', result: 'held', tasks: { total: 1, lost: 0 } })
    expect(await announcements(again, early.id)).toBe(1)
    expect(await announcements(again, cancelled.id)).toBe(0)
  }, 90_000)

  test('does its own tasks again when it was itself a host of the job, and announces it once', async () => {
    const { alice, bob, running, release } = await aliceAndHoldingBob(daemons)
    const mesh = await alice.mesh()
    await mesh.work('spread', async (_, context) => {
      await context.spawn('hold')
      const child = await context.spawn('hold')
      await child.result()
    })
    await untilOffered(alice, 'hold', [bob])
    const { id } = await alice.client.submit({ capability: 'spread' })
    await until('two tasks run at bob', () => running.length === 2)
    const before = [...running]
    await alice.kill('SIGKILL')
    const again = await daemons.start('alice', { home: alice.home, listen: alice.ready.listen[0] ?? '' })
    // What the earlier attempt of the root task had spawned is ended, and spawned once more.
    await until('both run again', () => running.length === 4, LOSS_WAIT_MS)
    expect(running.slice(2).sort()).toEqual(before.sort())
    release()
    const job = await again.client.waitForJob(id, { timeoutMs: LOSS_WAIT_MS })
    expect(job).toMatchObject({ verdict: 'completed', lost: [], tasks: { total: 3, completed: 3, failed: 0, lost: 0 } })
    const { items = [] } = await again.client.job(id, { items: true })
    expect(items.map(({ attempt }) => attempt)).toEqual([2, 1, 1])
    expect(await announcements(again, id)).toBe(1)
    await until('bob holds nothing of it', async () => (await bob.client.agents()).length === 0)
  }, 90_000)
})
