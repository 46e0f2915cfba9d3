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

const daemons = useDaemons('test')

/** Announcements of a job among the events that a daemon has kept since it began. */
async function announcements(daemon: TestDaemon, job: string): Promise<number> {
  const { stdout } = await daemon.cli(['events', '--json', '--since', '0'])
  return stdout.split('\n').filter(line => line.includes('starling.job.announced') && line.includes(job)).length
}

/** Two daemons of which only `bob` serves "hold", whose tasks last until they are released, and "spread", which spawns them. */
async function aliceAndHoldingBob(pool: Daemons) {
  const [alice, bob] = await pool.swarm(['alice', 'bob'])
  const mesh = await bob.mesh()
  const released = Promise.withResolvers<void>()
  const running: string[] = []
  const hold = async (task: { taskId: string }) => {
    running.push(task.taskId)
    await released.promise
    return 'held'
  }
  await mesh.work('hold', hold, { slots: 4 })
  return { alice, bob, mesh, running, release: () => released.resolve(), hold }
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

  test('while it works for another one: that one says incomplete and names what was lost', async () => {
    const { alice, bob, running } = await aliceAndHoldingBob(daemons)
    const mesh = await alice.mesh()
    await mesh.work('spread', async (_, context) => {
      for (let child = 0; child < 3; child += 1) await context.spawn('hold')
      await context.spawn('quick')
    })
    await mesh.work('quick', () => 'done')
    await untilOffered(alice, 'hold', [bob])
    const run = alice.start(['run', 'spread', '--json'])
    await until('three tasks run at bob', () => running.length === 3)
    await bob.kill('SIGKILL')
    const { code, stdout } = await run.ended
    expect(code).toBe(5)
    const job = JSON.parse(stdout) as Job
    expect(job).toMatchObject({ verdict: 'incomplete', tasks: { total: 5, completed: 2, lost: 3 } })
    expect([...job.lost].sort()).toEqual([...running].sort())
    expect(await announcements(alice, job.id)).toBe(1)
    const shown = await alice.cli(['job', job.id])
    for (const lost of running) expect(shown.stdout).toContain(lost)
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

  test('says incomplete when it was itself a host of the job, and names its tasks', async () => {
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
    await alice.kill('SIGKILL')
    const again = await daemons.start('alice', { home: alice.home, listen: alice.ready.listen[0] ?? '' })
    release()
    const job = await again.client.waitForJob(id, { timeoutMs: LOSS_WAIT_MS })
    expect(job.verdict).toBe('incomplete')
    expect(job.lost).toContain(`${id}.0`)
    expect(await announcements(again, id)).toBe(1)
    await until('bob holds nothing of it', async () => (await bob.client.agents()).length === 0)
  }, 90_000)
})
