import { describe, expect, test } from 'vitest'
import type { Mesh, Peer } from '../../src/sdk/index.ts'
import { type TestDaemon, until, untilOffered, useDaemons, within } from './daemons.ts'

/** What is moved is killed, reaped, given back and begun elsewhere. */
const MOVED_WAIT_MS = 20_000

const daemons = useDaemons('test')

/** Serves `hold` on a daemon: each task waits until it is released. */
async function holding(host: TestDaemon, running: string[], released: Promise<void>, slots = 2): Promise<Mesh> {
  const mesh = await host.mesh()
  const hold = async (task: { taskId: string }) => {
    running.push(`${task.taskId} at ${host.name}`)
    await released
    return host.name
  }
  await mesh.work('hold', hold, { slots })
  return mesh
}

async function seenBy(daemon: TestDaemon, name: string): Promise<Peer | undefined> {
  return (await daemon.client.peers()).find(peer => peer.name === name)
}

/** Alice and bob, a job of four tasks of which two run at bob and two wait; then carol comes, who can do them too. */
async function fourHeld() {
  const [alice, bob, carol] = await daemons.swarm(['alice', 'bob', 'carol'])
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const running: string[] = []
  await holding(bob, running, released)
  const mesh = await alice.mesh()
  await mesh.work('spread', async (_, context) => {
    for (let child = 0; child < 4; child += 1) await context.spawn('hold')
  })
  await untilOffered(alice, 'hold', [bob])
  const { id } = await alice.client.submit({ capability: 'spread' })
  await until('two tasks run at bob', () => running.length === 2)
  await holding(carol, running, released, 4)
  await until('the others run at carol', () => running.length === 4)
  return { alice, bob, carol, id, running, release: () => release() }
}

describe('a daemon that is drained by an admin', () => {
  test('within a deadline: what still runs is done elsewhere, every task counts once, and --end has it work again', async () => {
    const { alice, bob, carol, id, running, release } = await fourHeld()
    const atBob = running.filter(entry => entry.endsWith('at bob'))
    const drain = await within('bob is drained', MOVED_WAIT_MS, alice.start(['drain', 'bob', '--deadline', '1s']).ended)
    expect(drain).toMatchObject({ code: 0, stdout: 'bob is drained: it holds no work\n' })
    expect(drain.stderr).toMatch(/^bob (has been asked to take no new work|takes no new work; 2 tasks running)/)
    expect((await bob.client.agents()).length).toBe(0)
    expect((await alice.cli(['peers'])).stdout).toMatch(/^bob +\S+ +drained /m)
    expect((await bob.client.status()).warnings.join()).toContain('starling drain bob --end')
    await until('carol has begun what was moved', () => running.length === 6)

    release()
    const job = await alice.client.waitForJob(id, { timeoutMs: MOVED_WAIT_MS })
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 5, completed: 5, failed: 0, lost: 0 } })
    const { items = [] } = await alice.client.job(id, { items: true })
    const held = items.filter(({ capability }) => capability === 'hold')
    expect(held.map(({ peerId }) => peerId)).toEqual(new Array(4).fill(carol.ready.peerId))
    const again = held.filter(({ attempt }) => attempt === 2).map(item => `${item.id} at bob`)
    expect(again.sort()).toEqual(atBob.sort())

    expect(await alice.cli(['drain', 'bob', '--end'])).toMatchObject({ code: 0, stdout: 'bob takes work again\n' })
    await until('bob says so', async () => (await seenBy(alice, 'bob'))?.drain === 'no')
    const run = await alice.cli(['run', 'hold', '--on', 'bob'])
    expect(run).toMatchObject({ code: 0, stdout: 'bob\n' })
  }, 90_000)

  test('without a deadline: what runs there ends there, and nothing new comes', async () => {
    const { alice, bob, id, running, release } = await fourHeld()
    const drain = alice.start(['drain', 'bob'])
    await until('bob says that it drains', async () => (await seenBy(alice, 'bob'))?.drain === 'draining')
    const refused = await alice.cli(['run', 'hold', '--on', 'bob'])
    expect(refused.code).toBe(6)
    expect(drain.child.exitCode).toBe(null)
    expect((await bob.client.agents()).length).toBe(2)
    release()
    expect(await within('bob is drained', MOVED_WAIT_MS, drain.ended)).toMatchObject({ code: 0 })
    const job = await alice.client.waitForJob(id, { timeoutMs: MOVED_WAIT_MS })
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 5, completed: 5, lost: 0 } })
    const { items = [] } = await alice.client.job(id, { items: true })
    expect(items.every(({ attempt }) => attempt === 1)).toBe(true)
    expect(running).toHaveLength(4)
    // A drained daemon is empty: stopping it is a matter of a moment.
    expect(await bob.cli(['down'])).toMatchObject({ code: 0, stderr: '' })
  }, 90_000)

  test('is left draining by Ctrl-C', async () => {
    const { alice, release } = await fourHeld()
    const drain = alice.start(['drain', 'bob'])
    await until('it says what is left', () => drain.stderr().includes('bob '))
    await until('bob says that it drains', async () => (await seenBy(alice, 'bob'))?.drain === 'draining')
    drain.child.kill('SIGINT')
    expect(await drain.ended).toMatchObject({ code: 130, stderr: expect.stringContaining('bob goes on draining') })
    expect((await seenBy(alice, 'bob'))?.drain).toBe('draining')
    release()
    await until('bob is drained', async () => (await seenBy(alice, 'bob'))?.drain === 'drained')
  }, 90_000)
})

test('the only host that can do the children of its tasks is drained: they wait until it takes work again', async () => {
  const alice = await daemons.start('alice')
  const mesh = await alice.mesh()
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  let parents = 0
  await mesh.work('child', () => 'grown')
  await mesh.work('parent', async (_, context) => {
    parents += 1
    await released
    return (await context.spawn('child')).result()
  })
  const { id } = await alice.client.submit({ capability: 'parent' })
  await until('the parent runs', () => parents === 1)
  expect(await alice.cli(['drain', 'alice', '--no-wait'])).toMatchObject({
    code: 0,
    stdout: 'alice takes no new work\n'
  })
  release()
  await until('the child waits', async () => (await alice.client.job(id)).progress?.spawned === 1)
  expect((await seenBy(alice, 'alice'))?.drain).toBe('draining')
  expect(await alice.cli(['drain', 'alice', '--end'])).toMatchObject({ code: 0 })
  const job = await alice.client.waitForJob(id, { timeoutMs: MOVED_WAIT_MS })
  expect(job).toMatchObject({ verdict: 'completed', result: 'grown', tasks: { total: 2, completed: 2, failed: 0 } })
  expect(parents).toBe(1)
}, 60_000)

test('a host that is no admin drains itself, and nobody else', async () => {
  const [alice, bob] = await daemons.swarm(['alice', 'bob'])
  const denied = await bob.cli(['drain', 'alice'])
  expect(denied).toMatchObject({ code: 7, stdout: '' })
  expect(denied.stderr).toContain('hint: run it on alice itself')
  expect((await alice.client.peers()).find(({ self }) => self)?.drain).toBe('no')
  expect(await bob.cli(['drain', 'bob'])).toMatchObject({ code: 0, stdout: 'bob is drained: it holds no work\n' })
  await until('alice sees it', async () => (await seenBy(alice, 'bob'))?.drain === 'drained')
  expect(await bob.cli(['drain', 'bob', '--end'])).toMatchObject({ code: 0 })

  const unknown = await alice.cli(['drain', 'nobody'])
  expect(unknown.code).toBe(2)
  expect(unknown.stderr).toContain('hint: list them with: starling peers')
  await bob.kill('SIGKILL')
  await until('the link is gone', async () => (await seenBy(alice, 'bob'))?.state !== 'alive', 30_000)
  const unlinked = await alice.cli(['drain', 'bob'])
  expect(unlinked.code).toBe(2)
  expect(unlinked.stderr).toMatch(/no link to bob\nhint: run it on bob itself/)
}, 90_000)
