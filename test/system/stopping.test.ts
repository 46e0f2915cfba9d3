import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { WorkerContext, WorkerTask } from '../../src/sdk/index.ts'
import {
  isRunning,
  processesWith,
  sleepers,
  type TestDaemon,
  uniqueSeconds,
  until,
  untilOffered,
  useDaemons,
  within
} from './daemons.ts'

/** A stop waits this long for running tasks, and a little for their processes and the last frames. */
const STOP_WAIT_MS = 15_000

const daemons = useDaemons('test')
let alice: TestDaemon
let bob: TestDaemon
let carol: TestDaemon

/**
 * A job of twelve tasks at bob and carol, two slots each, which end when they are released.
 * `held`: those that run, with where; `release` lets them and all later ones end.
 */
async function heldJob() {
  ;[alice, bob, carol] = await daemons.swarm(['alice', 'bob', 'carol'])
  const released = Promise.withResolvers<void>()
  const held: { taskId: string; at: string }[] = []
  for (const host of [bob, carol]) {
    const mesh = await host.mesh()
    const handler = async (task: { taskId: string }) => {
      held.push({ taskId: task.taskId, at: host.name })
      await released.promise
      return host.name
    }
    await mesh.work('step', handler, { slots: 2 })
  }
  const mesh = await alice.mesh()
  await mesh.work('plan', async (_, context) => {
    for (let step = 0; step < 12; step += 1) await context.spawn('step')
  })
  await untilOffered(alice, 'step', [bob, carol])
  const { id } = await alice.client.submit({ capability: 'plan' })
  await until('all four slots are taken', () => held.length === 4)
  return { id, held, release: () => released.resolve() }
}

/** Peers and outcomes of the steps of a job that is over. */
async function stepsOf(id: string) {
  const { items = [] } = await alice.client.job(id, { items: true })
  return items.filter(({ capability }) => capability === 'step')
}

describe('a daemon that is stopped in the middle of a job', () => {
  test('by `down`: running tasks may end, the others are done elsewhere, and the next `up` works at once', async () => {
    const { id, held, release } = await heldJob()
    const down = bob.start(['down'])
    await until('bob takes nothing new', async () => {
      const peer = (await alice.client.peers()).find(({ name }) => name === 'bob')
      return peer !== undefined && peer.drain !== 'no'
    })
    expect(bob.process.child.exitCode).toBe(null)
    release()
    expect(await down.ended).toMatchObject({
      code: 0,
      stderr: '2 tasks run here: up to 5 s to end; what is left then, other hosts do again\n'
    })
    expect(await bob.process.ended).toMatchObject({ code: 0 })
    const again = await daemons.start('bob', { home: bob.home })
    expect(again.ready.peerId).toBe(bob.ready.peerId)

    const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 13, completed: 13, lost: 0 } })
    const steps = await stepsOf(id)
    const atBob = held.filter(({ at }) => at === 'bob').map(({ taskId }) => taskId)
    for (const step of steps) {
      expect(step.attempt, step.id).toBe(1)
      expect(step.peerId).toBe(atBob.includes(step.id) ? bob.ready.peerId : carol.ready.peerId)
    }
  }, 90_000)

  test('by SIGTERM in the foreground: the same, exit 0', async () => {
    const { id, release } = await heldJob()
    bob.process.child.kill('SIGTERM')
    await until('bob says that it stops', () => bob.process.stderr().includes('stopping'))
    release()
    expect(await within('bob ends', STOP_WAIT_MS, bob.process.ended)).toMatchObject({ code: 0, signal: null })
    expect(existsSync(join(bob.home, 'run', 'starling.sock'))).toBe(false)
    const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 13, completed: 13, lost: 0 } })
    const peers = await alice.client.peers()
    expect(peers.find(({ name }) => name === 'bob')).toMatchObject({ state: 'left' })
  }, 90_000)

  test('by `down --now`: its running tasks are stopped and done again elsewhere', async () => {
    const { id, held, release } = await heldJob()
    const begun = performance.now()
    expect(await bob.cli(['down', '--now'])).toMatchObject({
      code: 0,
      stderr: '2 tasks run here: other hosts do it again\n'
    })
    expect(performance.now() - begun).toBeLessThan(STOP_WAIT_MS)
    expect(await bob.process.ended).toMatchObject({ code: 0 })
    release()
    const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 13, completed: 13, lost: 0 } })
    const steps = await stepsOf(id)
    expect(new Set(steps.map(({ peerId }) => peerId))).toEqual(new Set([carol.ready.peerId]))
    const atBob = held.filter(({ at }) => at === 'bob').map(({ taskId }) => taskId)
    expect(
      steps
        .filter(({ attempt }) => attempt === 2)
        .map(({ id: step }) => step)
        .sort()
    ).toEqual(atBob.sort())
  }, 90_000)
})

test('a host whose tasks wait for children elsewhere is stopped: they are done again elsewhere, and nothing is lost', async () => {
  ;[alice, bob, carol] = await daemons.swarm(['alice', 'bob', 'carol'])
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const parents: string[] = []
  const children: string[] = []
  const parent = (host: TestDaemon) => async (task: WorkerTask, context: WorkerContext) => {
    parents.push(`${task.taskId} at ${host.name}`)
    // One child is waited for, the other is left to itself.
    await context.spawn('child')
    return (await context.spawn('child')).result()
  }
  await (await bob.mesh()).work('parent', parent(bob), { slots: 3 })
  await (await carol.mesh()).work(
    'child',
    async task => {
      children.push(task.taskId)
      await released
      return 'grown'
    },
    { slots: 12 }
  )
  await (await alice.mesh()).work('root', async (_, context) => {
    const all = []
    for (let index = 0; index < 3; index += 1) all.push(await context.spawn('parent'))
    return Promise.all(all.map(child => child.result()))
  })
  await untilOffered(alice, 'parent', [bob])
  await untilOffered(bob, 'child', [carol])
  const { id } = await alice.client.submit({ capability: 'root' })
  await until('all children run', () => children.length === 6)
  await (await carol.mesh()).work('parent', parent(carol), { slots: 3 })
  await untilOffered(alice, 'parent', [carol])

  expect(await bob.cli(['down'])).toMatchObject({ code: 0 })
  expect(await bob.process.ended).toMatchObject({ code: 0 })
  await until('the parents run at carol', () => parents.filter(entry => entry.endsWith('carol')).length === 3)
  release()
  const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
  expect(job).toMatchObject({
    verdict: 'completed',
    result: ['grown', 'grown', 'grown'],
    lost: [],
    tasks: { total: 10, completed: 10, failed: 0, lost: 0, cancelled: 0 }
  })
  const { items = [] } = await alice.client.job(id, { items: true })
  expect(items.filter(({ capability }) => capability === 'parent').map(({ attempt }) => attempt)).toEqual([2, 2, 2])
}, 90_000)

test('the daemon that a job was handed in to is stopped and started again: the job goes on with its tasks elsewhere', async () => {
  const { id, held, release } = await heldJob()
  expect(await alice.cli(['down'])).toMatchObject({ code: 0, stderr: '' })
  alice = await daemons.start('alice', { home: alice.home, listen: alice.ready.listen[0] ?? '' })
  expect(await alice.client.job(id)).toMatchObject({ verdict: 'running' })
  await until('four tasks run', async () => {
    const agents = await Promise.all([bob, carol].map(({ client }) => client.agents()))
    return agents.flat().length === 4 || held.length > 4
  })
  release()
  const job = await alice.client.waitForJob(id, { timeoutMs: 30_000 })
  expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 13, completed: 13, failed: 0, lost: 0 } })
}, 90_000)

test('a command task that does not end in the grace of a stop is killed with its children, and done elsewhere', async () => {
  const seconds = uniqueSeconds()
  const marker = join(daemons.directory(), 'first')
  // The first attempt never ends; the second one finds the marker.
  const script = `if mkdir ${marker} 2>/dev/null; then trap '' TERM; sleep ${seconds} & setsid sleep ${seconds}; else echo '"again"'; fi`
  const settings = { capabilities: { stubborn: { command: ['sh', '-c', script], slots: 1 } } }
  ;[alice, bob, carol] = await daemons.swarm(['alice', 'bob', 'carol'], name => (name === 'alice' ? {} : settings))
  await untilOffered(alice, 'stubborn', [bob, carol])
  const { id } = await alice.client.submit({ capability: 'stubborn' })
  await until('the task runs', () => sleepers(seconds) === 2)
  const host = (await bob.client.agents()).length === 1 ? bob : carol
  expect(await host.cli(['down'])).toMatchObject({ code: 0, stderr: expect.stringMatching(/^1 task runs here: /) })
  expect(processesWith(seconds)).toEqual([])
  const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
  expect(job).toMatchObject({ verdict: 'completed', result: 'again', tasks: { lost: 0 } })
}, 90_000)

test('a daemon with nothing to do ends at the first Ctrl-C, exit 0', async () => {
  alice = await daemons.start('alice')
  expect(await within('alice ends', STOP_WAIT_MS, alice.kill('SIGINT'))).toMatchObject({ code: 0, signal: null })
}, 60_000)

test('a daemon in the background outlives the command that started it, writes its log, and is stopped by `down`', async () => {
  const home = daemons.directory()
  const up = daemons.run(['up', '--detach', '--json', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'], { home })
  const { code, stdout } = await up.ended
  expect(code).toBe(0)
  const { pid } = JSON.parse(stdout) as { pid: number }
  try {
    expect((await daemons.run(['status', '--json'], { home }).ended).code).toBe(0)
    expect(readFileSync(join(home, 'logs', 'starling.log'), 'utf8')).toContain('daemon is ready')
  } finally {
    const down = await daemons.run(['down', '--now'], { home }).ended
    if (down.code !== 0) process.kill(pid, 'SIGKILL')
  }
  expect(isRunning(pid)).toBe(false)
}, 60_000)
