import { describe, expect, test } from 'vitest'
import { openWorkerSession } from '../../src/daemon/worker-sessions.ts'
import type { AttemptEnd, ChildOutcome, TaskStart } from '../../src/ports/runtime.ts'
import { FunctionWorkers } from '../../src/runtimes/function/function-workers.ts'
import { codeOf, EnginePool } from '../helpers/engine-pool.ts'
import { sessionOf } from '../helpers/pool-session.ts'
import { recordingLogger } from '../helpers/recording-logger.ts'
import { ALICE } from '../helpers/termination-fixtures.ts'

/** A daemon with one task that runs, and a worker that may speak for it. */
async function connected() {
  const pool = await EnginePool.start({
    hosts: [{ name: 'alice', peer: ALICE, offers: { work: 1 }, runtime: 'function' }],
    bodies: { work: body => (body.path === '0' ? body.sleep(10_000) : null) }
  })
  const alice = pool.host('alice')
  const slots: [string, number][] = []
  const workers = new FunctionWorkers({
    clock: alice.clock,
    logger: recordingLogger(),
    slotsChanged: (capability, count) => slots.push([capability, count])
  })
  const told: (TaskStart | ChildOutcome | string)[] = []
  const session = openWorkerSession(
    { workers, mesh: () => sessionOf(alice), declared: capability => capability === 'lint' },
    {
      start: task => told.push(task),
      leases: () => undefined,
      abort: (_, reason) => told.push(reason),
      childSettled: (_, child) => told.push(child)
    }
  )
  const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
  await pool.until(() => pool.running(id).length === 1)
  const attemptId = alice.api.agents()[0]?.id ?? ''
  return { pool, alice, session, slots, workers, told, id, attemptId }
}

describe('a connected worker', () => {
  test('serves what no configuration declares', async () => {
    const { session, slots } = await connected()
    session.work('index', 2)
    session.unwork('index')
    expect(slots).toEqual([
      ['index', 2],
      ['index', 0]
    ])
    expect(await codeOf((async () => session.work('lint', 1))())).toBe('CONFIG_INVALID')
  })

  test('serves nothing any more when it is closed', async () => {
    const { session, slots } = await connected()
    session.work('index', 2)
    session.close()
    session.close()
    expect(slots.at(-1)).toEqual(['index', 0])
    expect(slots).toHaveLength(2)
  })

  test('spawns from an attempt while it runs, and not after it', async () => {
    const { pool, alice, session, id, attemptId } = await connected()
    const request = { capability: 'work', watch: true }
    expect(await session.spawn(attemptId, request)).toEqual({ taskId: `${id}.0.0` })
    await pool.when(alice.api.waitForJob(id, {}))
    expect(await codeOf(session.spawn(attemptId, request))).toBe('TASK_ENDED')
  })

  test('frees the slot of an attempt that waits', async () => {
    const { alice, session, attemptId } = await connected()
    const free = () => alice.engine.node.host.slots.free('work')
    expect(free()).toBe(0)
    session.blocked(attemptId, true)
    expect(free()).toBe(1)
    session.blocked(attemptId, false)
    expect(free()).toBe(0)
  })

  test('tells how far it is while its attempt runs', async () => {
    const { pool, alice, session, id, attemptId } = await connected()
    session.progress(attemptId, 0.5, undefined)
    session.progress('nobody/1:1', 0.5, 'half')
    await pool.settle()
    expect(alice.told('task.progress')).toMatchObject([{ subject: `${id}.0`, data: { fraction: 0.5, note: null } }])
  })

  test('runs its attempts: log, end, and only its own', async () => {
    const { pool, session, workers, told } = await connected()
    session.work('index', 1)
    const lines: string[] = []
    const ends: AttemptEnd[] = []
    const task = { attemptId: 'job1/1:1', taskId: 'job1.0', jobId: 'job1', capability: 'index', input: null }
    workers.start(
      { ...task, attempt: 1, fencingToken: '1', leaseLeftMs: 6_000, traceparent: '', timeoutMs: undefined },
      { log: line => lines.push(line), ended: end => ends.push(end) },
      () => undefined
    )
    await pool.settle()
    expect(told).toMatchObject([task])
    session.log('job1/1:1', 'hello')
    session.ended('job1/9:9', { kind: 'completed', result: 0 })
    session.ended('job1/1:1', { kind: 'completed', result: 1 })
    session.ended('job1/1:1', { kind: 'completed', result: 2 })
    expect({ lines, ends }).toEqual({ lines: ['hello'], ends: [{ kind: 'completed', result: 1 }] })
  })
})
