import { describe, expect, test } from 'vitest'
import { RETURNS_MAX } from '../../src/core/limits.ts'
import { LEASE_MS } from '../../src/core/termination/index.ts'
import type { ChildOutcome } from '../../src/ports/runtime.ts'
import { codeOf, EnginePool } from '../helpers/engine-pool.ts'
import type { Behaviour, Body } from '../helpers/scripted-runtime.ts'
import { ALICE, BOB } from '../helpers/termination-fixtures.ts'

const start = (work: Behaviour, slots = 1) =>
  EnginePool.start({
    hosts: [
      { name: 'alice', peer: ALICE, offers: { work: slots } },
      { name: 'bob', peer: BOB, offers: { work: slots, other: 1 } }
    ],
    bodies: { work }
  })

/** Starts a job at alice whose root task runs there and waits for `go`; then it does what the test says. */
async function root(act: Behaviour) {
  const go = Promise.withResolvers<void>()
  const pool = await start(async body => {
    if (body.path !== '0') return body.sleep(1_000).then(() => body.path)
    await go.promise
    return act(body)
  })
  const alice = pool.host('alice')
  const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'alice' }))
  await pool.until(() => pool.running(id).length === 1)
  const over = () => {
    go.resolve()
    return pool.when(alice.api.waitForJob(id, {}))
  }
  return { pool, alice, id, task: `${id}.0`, over }
}

describe('spawning', () => {
  test('names children in the order of their calls, and each runs once', async () => {
    const { pool, over, id } = await root(async body => [await body.spawn('work'), await body.spawn('work')])
    expect(await over()).toMatchObject({ verdict: 'completed', result: [`${id}.0.0`, `${id}.0.1`] })
    expect(pool.executions.map(({ task }) => task.taskId).sort()).toEqual([`${id}.0`, `${id}.0.0`, `${id}.0.1`])
  })

  test('is refused when the task has ended, is of another attempt, or is no task here', async () => {
    const { pool, alice, id, task, over } = await root(() => null)
    const spawn = (taskId: string, more: object = {}) =>
      codeOf(alice.api.spawn(taskId, { capability: 'work', ...more }))
    expect(await spawn(task, { attempt: 2 })).toBe('TASK_ENDED')
    expect(await spawn(`${id}.0.7`)).toBe('NOT_FOUND')
    expect(await spawn('rubbish')).toBe('NOT_FOUND')
    expect(await spawn(task, { capability: 'nothing' })).toBe('NO_CAPABLE_PEER')
    expect(await spawn(task, { input: 'x'.repeat(1024 * 1024 + 1) })).toBe('INPUT_TOO_LARGE')
    await over()
    expect(await spawn(task)).toBe('TASK_ENDED')
    expect(pool.executions).toHaveLength(1)
  })

  test('is refused while the job is being cancelled', async () => {
    const pool = await start(async body => {
      body.reapMs = 5_000
      await body.sleep(60_000)
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'alice' }))
    await pool.until(() => pool.running(id).length === 1)
    await alice.api.cancel(id)
    await pool.until(() => pool.running(id)[0]?.killedFor.length === 1)
    expect(await codeOf(alice.api.spawn(`${id}.0`, { capability: 'work' }))).toBe('TASK_ENDED')
  })
})

describe('waiting for a child of a task', () => {
  test('frees the slot of its parent, so that waiting tasks do not deadlock', async () => {
    const pool = await EnginePool.start({
      hosts: [{ name: 'alice', peer: ALICE, offers: { work: 1 } }],
      bodies: {
        work: async (body: Body) => {
          const depth = body.input as number
          if (depth === 0) return 0
          const child: ChildOutcome = await body.waitForChild(await body.spawn('work', depth - 1))
          return 1 + (child.result as number)
        }
      }
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', input: 5 }))
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed', result: 5 })
  })

  test('finds one that settled long before', async () => {
    const { over } = await root(async body => {
      const child = await body.spawn('work')
      await body.sleep(30_000)
      return (await body.waitForChild(child)).result
    })
    expect(await over()).toMatchObject({ result: '0.0' })
  })

  test('is refused for what the task has not spawned', async () => {
    const { alice, task, over } = await root(async body => {
      await body.spawn('work')
      for (const wrong of ['0.1', '0.00', '0.0.0', '0.', '0.-1', '0.NaN', '0', '1.0', '0.x']) {
        const wait = async () => alice.api.waitForChild(task, `${body.task.jobId}.${wrong}`)
        expect([wrong, await codeOf(wait())]).toEqual([wrong, 'NOT_FOUND'])
      }
      return 'seen'
    })
    expect(await over()).toMatchObject({ result: 'seen' })
  })
})

describe('an attempt that its runtime gives back', () => {
  test('is made again, counted', async () => {
    const tries: number[] = []
    const pool = await start(body => {
      tries.push(body.task.attempt)
      if (tries.length < 3) body.end({ kind: 'returned', reason: 'the worker has disconnected' })
      return body.task.attempt
    })
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'bob' }))
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed', result: 3 })
    expect(tries).toEqual([1, 2, 3])
    expect(alice.api.job(id, true).items).toMatchObject([{ attempt: 3, peerId: BOB, outcome: 'completed' }])
  })

  test('again and again fails the task in the end', async () => {
    const pool = await start(body => body.end({ kind: 'returned', reason: 'no worker' }))
    const alice = pool.host('alice')
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job).toMatchObject({ verdict: 'completed-with-failures', error: { code: 'TASK_RETURNED' } })
    expect(pool.executions).toHaveLength(RETURNS_MAX + 1)
  })
})

describe('a body whose lease has ended while the disk was busy', () => {
  test('is never started, and its task is done by the next attempt', async () => {
    const hosts = [{ name: 'alice', peer: ALICE, offers: { work: 1 } }]
    const pool = await EnginePool.start({ hosts, bodies: { work: body => body.task.fencingToken } })
    const alice = pool.host('alice')
    const commit = alice.journal.commit.bind(alice.journal)
    let bound = false
    alice.journal.commit = writes => {
      if (!bound && writes.some(write => write.kind === 'record' && write.record.kind === 'bound')) {
        bound = true
        alice.journal.hold()
      }
      return commit(writes)
    }
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => bound)
    // The whole process stood still, or its host slept.
    pool.time.now += LEASE_MS + 1
    alice.journal.release()
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed', result: '2' })
    expect(pool.executions.map(({ task }) => task.fencingToken)).toEqual(['2'])
    expect(alice.told('task.started')).toHaveLength(1)
    expect(alice.engine.node.host.slots.offered()).toMatchObject([{ slots: 1, free: 1 }])
  })
})

describe('what another daemon sends that is no JSON', () => {
  test('fails the task or is left out, and the engine goes on', async () => {
    const pool = await start(() => 'fine')
    const [alice, bob] = [pool.host('alice'), pool.host('bob')]
    const garble = (bytes: Uint8Array) => bytes.fill(0x7b)
    const send = bob.network.send.bind(bob.network)
    bob.network.send = (to, frame) => {
      if (frame.kind === 'settle') garble(frame.result)
      return send(to, frame)
    }
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'bob' }))
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job).toMatchObject({ verdict: 'completed', result: null, error: { code: 'INVALID_JSON' } })

    const handOff = alice.network.send.bind(alice.network)
    alice.network.send = (to, frame) => handOff(to, frame.kind === 'handoff' ? withInput(frame, '{{') : frame)
    const second = await pool.when(alice.api.submit({ capability: 'work', input: {}, on: 'bob' }))
    const failed = await pool.when(alice.api.waitForJob(second.id, {}))
    expect(failed).toMatchObject({ verdict: 'completed-with-failures', error: { code: 'INVALID_JSON' } })
    expect(alice.failures.concat(bob.failures)).toEqual([])

    const third = await pool.when(alice.api.submit({ capability: 'work', on: 'alice' }))
    expect(await pool.when(alice.api.waitForJob(third.id, {}))).toMatchObject({ result: 'fine' })
  })
})

const withInput = <F extends { readonly task: { readonly input: Uint8Array } }>(frame: F, input: string): F => ({
  ...frame,
  task: { ...frame.task, input: new TextEncoder().encode(input) }
})
