import { beforeEach, describe, expect, test } from 'vitest'
import { CAPABILITIES_MAX, ERROR_MESSAGE_CHARS_MAX, SLOTS_MAX } from '../../src/core/index.ts'
import type { AgentRuntime, Clock, TaskStart, WorkerConnection } from '../../src/ports/index.ts'
import {
  ABORT_GRACE_MS,
  type FunctionWorkers,
  functionRuntime,
  LOG_LINES_PER_SECOND_MAX,
  WORKERS_MAX
} from '../../src/runtimes/index.ts'
import { type LoggedLine, recordingLogger } from '../helpers/recording-logger.ts'
import { recorder, taskStart } from './support.ts'

/** A worker that does nothing but note what it is told. */
function worker() {
  const started: TaskStart[] = []
  const aborted: string[] = []
  const children: string[] = []
  const leases: unknown[] = []
  const connection: WorkerConnection = {
    leases: told => void leases.push(...told),
    start: task => void started.push(task),
    abort: attemptId => void aborted.push(attemptId),
    childSettled: (attemptId, child) => void children.push(`${attemptId} ${child.taskId}`)
  }
  return { connection, started, aborted, children, leases }
}

/** Time that passes when told to. */
function manualClock(): Clock & { pass(ms: number): void } {
  let now = 0
  const timers = new Set<{ at: number; fire: () => void }>()
  return {
    now: () => now,
    wall: () => now,
    uptime: () => now,
    after(delayMs, fire) {
      const timer = { at: now + delayMs, fire }
      timers.add(timer)
      return { cancel: () => void timers.delete(timer) }
    },
    pass(ms) {
      now += ms
      for (const timer of [...timers]) {
        if (timer.at > now || !timers.delete(timer)) continue
        timer.fire()
      }
    }
  }
}

let clock: ReturnType<typeof manualClock>
let workers: FunctionWorkers
let runtime: AgentRuntime
let changes: [string, number][]
let logged: LoggedLine[]

beforeEach(() => {
  clock = manualClock()
  changes = []
  logged = []
  const made = functionRuntime({
    clock,
    logger: recordingLogger(logged),
    slotsChanged: (capability, slots) => void changes.push([capability, slots])
  })
  workers = made.workers
  runtime = made.runtime()
})

let attempts = 0

async function start(overrides: Partial<TaskStart> = {}) {
  attempts += 1
  const attemptId = `a${attempts}`
  const record = recorder()
  const attempt = runtime.start(taskStart({ attemptId, ...overrides }), record.handlers)
  expect(record.ends).toEqual([])
  await Promise.resolve()
  return { attempt, attemptId, ...record }
}

describe('slots', () => {
  test('are reported as the sum over workers whenever it changes', () => {
    const [alice, bob] = [worker(), worker()]
    workers.register(alice.connection, 'index', 2)
    workers.register(bob.connection, 'index', 3)
    workers.register(bob.connection, 'index', 1)
    workers.register(bob.connection, 'index', 1)
    workers.unregister(alice.connection, 'index')
    workers.unregister(alice.connection, 'index')
    workers.disconnect(bob.connection)
    workers.disconnect(bob.connection)
    expect(changes).toEqual([
      ['index', 2],
      ['index', 5],
      ['index', 3],
      ['index', 1],
      ['index', 0]
    ])
  })

  test('decide who gets an attempt: the worker with most free ones', async () => {
    const [alice, bob] = [worker(), worker()]
    workers.register(alice.connection, 'test', 1)
    workers.register(bob.connection, 'test', 3)
    for (let count = 0; count < 4; count += 1) await start()
    expect([alice.started.length, bob.started.length]).toEqual([1, 3])
  })

  test('without a free one an attempt is given back', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    await start()
    const second = await start()
    expect(second.ends).toEqual([{ kind: 'returned', reason: 'no worker has a free slot' }])
    const other = await start({ capability: 'other' })
    expect(other.ends).toHaveLength(1)
    expect(alice.started).toHaveLength(1)
  })

  test('of blocked attempts are free until they go on', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const parent = await start()
    workers.blocked(alice.connection, parent.attemptId, true)
    const child = await start()
    expect(alice.started).toHaveLength(2)
    workers.ended(alice.connection, child.attemptId, { kind: 'completed', result: 1 })
    workers.blocked(alice.connection, parent.attemptId, false)
    expect((await start()).ends).toHaveLength(1)
  })

  test('are free again after the end', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    for (let count = 0; count < 3; count += 1) {
      const { attemptId, ends } = await start()
      workers.ended(alice.connection, attemptId, { kind: 'completed', result: count })
      expect(ends).toEqual([{ kind: 'completed', result: count }])
    }
  })

  test('go away with unwork, and running attempts go on', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { attemptId, ends } = await start()
    workers.unregister(alice.connection, 'test')
    expect((await start()).ends).toMatchObject([{ kind: 'returned' }])
    workers.ended(alice.connection, attemptId, { kind: 'completed', result: 1 })
    expect(ends).toEqual([{ kind: 'completed', result: 1 }])
  })

  test.each([0, -1, 1.5, Number.NaN])('are a whole number from 1 on, not %d', slots => {
    expect(() => workers.register(worker().connection, 'test', slots)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT' })
    )
  })
})

describe('limits', () => {
  const refused = expect.objectContaining({ code: 'LIMIT_REACHED' })

  test('WORKERS_MAX workers', () => {
    for (let count = 0; count < WORKERS_MAX; count += 1) workers.register(worker().connection, 'test', 1)
    expect(() => workers.register(worker().connection, 'test', 1)).toThrow(refused)
    expect(workers.slots('test')).toBe(WORKERS_MAX)
  })

  test('a place is free again when a worker has gone', () => {
    const first = worker()
    workers.register(first.connection, 'test', 1)
    for (let count = 1; count < WORKERS_MAX; count += 1) workers.register(worker().connection, 'test', 1)
    workers.disconnect(first.connection)
    workers.register(worker().connection, 'test', 1)
    expect(workers.slots('test')).toBe(WORKERS_MAX)
  })

  test('CAPABILITIES_MAX capabilities of one worker', () => {
    const { connection } = worker()
    for (let count = 0; count < CAPABILITIES_MAX; count += 1) workers.register(connection, `c${count}`, 1)
    expect(() => workers.register(connection, 'more', 1)).toThrow(refused)
    workers.register(connection, 'c0', 2)
    expect(workers.slots('c0')).toBe(2)
  })

  test('SLOTS_MAX slots of one capability', () => {
    const first = worker()
    workers.register(first.connection, 'test', SLOTS_MAX)
    expect(() => workers.register(worker().connection, 'test', 1)).toThrow(refused)
    workers.register(first.connection, 'test', SLOTS_MAX - 1)
    workers.register(worker().connection, 'test', 1)
    expect(workers.slots('test')).toBe(SLOTS_MAX)
  })

  test('LOG_LINES_PER_SECOND_MAX log lines in a second', async () => {
    const { connection } = worker()
    workers.register(connection, 'test', 1)
    const { attemptId, lines } = await start()
    for (let count = 0; count < LOG_LINES_PER_SECOND_MAX + 5; count += 1) workers.log(connection, attemptId, 'x')
    expect(lines).toHaveLength(LOG_LINES_PER_SECOND_MAX)
    clock.pass(1_000)
    workers.log(connection, attemptId, 'next')
    expect(lines.slice(LOG_LINES_PER_SECOND_MAX)).toEqual([expect.stringContaining('10 characters left out'), 'next'])
  })
})

describe('a worker that disconnects', () => {
  test('gives its attempts back, and only its own', async () => {
    const [alice, bob] = [worker(), worker()]
    workers.register(alice.connection, 'test', 1)
    const first = await start()
    workers.register(bob.connection, 'test', 1)
    const second = await start()
    workers.disconnect(alice.connection)
    expect(first.ends).toEqual([{ kind: 'returned', reason: 'the worker has disconnected' }])
    expect(second.ends).toEqual([])
  })

  test('ends an attempt that is being killed as killed, one that timed out as timed out', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 2)
    const killed = await start()
    const late = await start({ timeoutMs: 100 })
    killed.attempt.kill('cancelled', false)
    clock.pass(100)
    workers.disconnect(alice.connection)
    expect(killed.ends).toEqual([{ kind: 'killed' }])
    expect(late.ends).toMatchObject([{ kind: 'failed', error: { code: 'TASK_TIMEOUT' } }])
  })

  test('gets no attempt that is started by what its disconnection sets off', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const again = recorder()
    runtime.start(taskStart({ attemptId: 'first' }), {
      log() {},
      ended: () => void runtime.start(taskStart({ attemptId: 'again' }), again.handlers)
    })
    await Promise.resolve()
    workers.disconnect(alice.connection)
    expect((await again.end).kind).toBe('returned')
    expect(alice.started).toHaveLength(1)
  })

  test('before it was told of the attempt is never told', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { handlers, ends } = recorder()
    runtime.start(taskStart({ attemptId: 'first' }), handlers)
    workers.disconnect(alice.connection)
    await Promise.resolve()
    expect(ends).toMatchObject([{ kind: 'returned' }])
    expect(alice.started).toEqual([])
  })
})

describe('an aborted attempt', () => {
  test('ends when the worker has ended it, whatever the worker says', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { attempt, attemptId, ends } = await start()
    attempt.kill('cancelled', false)
    expect(alice.aborted).toEqual([attemptId])
    expect(ends).toEqual([])
    workers.ended(alice.connection, attemptId, { kind: 'completed', result: 'too late' })
    expect(ends).toEqual([{ kind: 'killed' }])
  })

  test('ends after ABORT_GRACE_MS when the worker ignores it; what it sends later does not count', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { attempt, attemptId, ends, lines } = await start()
    attempt.kill('cancelled', false)
    clock.pass(ABORT_GRACE_MS - 1)
    expect(ends).toEqual([])
    clock.pass(1)
    expect(ends).toEqual([{ kind: 'killed' }])
    workers.log(alice.connection, attemptId, 'still here')
    workers.ended(alice.connection, attemptId, { kind: 'completed', result: 1 })
    expect(ends).toHaveLength(1)
    expect(lines).toEqual([])
    expect(logged.filter(line => line.level === 'debug')).toHaveLength(2)
  })

  test('that was killed before the worker heard of it is never started', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { handlers, ends } = recorder()
    runtime.start(taskStart({ attemptId: 'early' }), handlers).kill('cancelled', false)
    expect(ends).toEqual([])
    await Promise.resolve()
    expect(ends).toEqual([{ kind: 'killed' }])
    expect([alice.started, alice.aborted]).toEqual([[], []])
  })

  test('stays timed out when it is killed too', async () => {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { attempt, attemptId, ends } = await start({ timeoutMs: 50 })
    clock.pass(50)
    attempt.kill('cancelled', false)
    expect(alice.aborted).toEqual([attemptId])
    clock.pass(ABORT_GRACE_MS)
    expect(ends).toMatchObject([{ kind: 'failed', error: { code: 'TASK_TIMEOUT' } }])
  })
})

describe('a result', () => {
  async function endWith(result: unknown) {
    const alice = worker()
    workers.register(alice.connection, 'test', 1)
    const { attemptId, ends } = await start()
    workers.ended(alice.connection, attemptId, { kind: 'completed', result })
    return ends
  }

  test('that is undefined counts as null', async () => {
    expect(await endWith(undefined)).toEqual([{ kind: 'completed', result: null }])
  })

  test.each([
    ['a function', () => 1],
    ['a big integer', 1n],
    ['a cycle', cycle()],
    ['a symbol', Symbol('x')]
  ])('that is no JSON fails the task: %s', async (_, result) => {
    expect(await endWith(result)).toMatchObject([
      { kind: 'failed', error: { code: 'TASK_FAILED', message: expect.stringContaining('no JSON') } }
    ])
  })

  test('counts in bytes of UTF-8', async () => {
    expect(await endWith('ä'.repeat(600_000))).toMatchObject([{ kind: 'failed', error: { code: 'RESULT_TOO_LARGE' } }])
  })
})

test('ends of unknown attempts and of other workers are ignored and logged', async () => {
  const [alice, mallory] = [worker(), worker()]
  workers.register(alice.connection, 'test', 1)
  const { attemptId, ends, lines } = await start()
  workers.ended(mallory.connection, attemptId, { kind: 'completed', result: 'forged' })
  workers.log(mallory.connection, attemptId, 'forged')
  workers.blocked(mallory.connection, attemptId, true)
  workers.ended(alice.connection, 'unknown', { kind: 'completed', result: 1 })
  expect([ends, lines]).toEqual([[], []])
  expect(logged).toHaveLength(4)
  expect((await start()).ends).toMatchObject([{ kind: 'returned' }])
})

test('errors of workers are bounded', async () => {
  const alice = worker()
  workers.register(alice.connection, 'test', 1)
  const { attemptId, ends } = await start()
  const error = { code: 'X'.repeat(10_000), message: 'm'.repeat(10_000) }
  workers.ended(alice.connection, attemptId, { kind: 'failed', error })
  const [end] = ends
  if (end?.kind !== 'failed') throw new Error('did not fail')
  expect(end.error.message).toHaveLength(ERROR_MESSAGE_CHARS_MAX)
  expect(end.error.code.length).toBeLessThan(100)
})

test('children are told to the worker of their parent, while it runs', async () => {
  const alice = worker()
  workers.register(alice.connection, 'test', 1)
  const { attempt, attemptId } = await start()
  const child = { taskId: 'job.0.1', outcome: 'completed', result: 1, error: undefined } as const
  attempt.childSettled(child)
  workers.ended(alice.connection, attemptId, { kind: 'completed', result: 1 })
  attempt.childSettled(child)
  expect(alice.children).toEqual([`${attemptId} job.0.1`])
})

test('a second attempt with the id of a running one is given back', async () => {
  const alice = worker()
  workers.register(alice.connection, 'test', 2)
  const first = await start({ attemptId: 'same' })
  const second = await start({ attemptId: 'same' })
  expect(second.ends).toMatchObject([{ kind: 'returned' }])
  workers.ended(alice.connection, 'same', { kind: 'completed', result: 1 })
  expect(first.ends).toHaveLength(1)
})

function cycle(): unknown {
  const list: unknown[] = []
  list.push(list)
  return list
}

test('workers are told what is left of the leases of their own jobs, about once a second', () => {
  const [one, two] = [worker(), worker()]
  workers.register(one.connection, 'build', 1)
  runtime.start(taskStart({ attemptId: 'a1', jobId: 'job1', capability: 'build' }), recorder().handlers)
  workers.register(two.connection, 'build', 5)
  runtime.start(taskStart({ attemptId: 'a2', jobId: 'job2', capability: 'build' }), recorder().handlers)
  const left = new Map([
    ['job1', 6_000],
    ['job2', 5_000],
    ['job3', 1_000]
  ])
  for (let tick = 0; tick < 8; tick += 1) {
    workers.leases(left)
    clock.pass(250)
  }
  expect(one.leases).toEqual([
    { jobId: 'job1', leftMs: 6_000 },
    { jobId: 'job1', leftMs: 6_000 }
  ])
  expect(two.leases).toEqual([
    { jobId: 'job2', leftMs: 5_000 },
    { jobId: 'job2', leftMs: 5_000 }
  ])
})
