import { createHash } from 'node:crypto'
import { describe, expect, type Mock, test, vi } from 'vitest'
import { type BodyEnd, ERROR_MESSAGE_CHARS_MAX, type NodeEffect, RESULT_BYTES_MAX } from '../../src/core/index.ts'
import { Attempts, attemptIdOf, CHILD_RESULTS_BYTES_MAX } from '../../src/engine/attempts.ts'
import { TaskLogs } from '../../src/engine/task-logs.ts'
import type { AttemptEnd, AttemptHandlers, ChildOutcome, TaskStart } from '../../src/ports/runtime.ts'
import { clockOf } from '../helpers/engine-pool.ts'
import { bytes, JOB } from '../helpers/termination-fixtures.ts'
import { VirtualTime } from '../helpers/virtual-time.ts'

const ID = '1:1'
const ATTEMPT = attemptIdOf(JOB, ID)
const TASK = `${JOB}.0`

type Start = NodeEffect & { kind: 'start' }
type ChildSettled = NodeEffect & { kind: 'child-settled' }

interface Started {
  readonly task: TaskStart
  readonly handlers: AttemptHandlers
  readonly kill: Mock<(reason: string) => void>
  readonly children: ChildOutcome[]
}

/** The attempts of a host that serves "work", and what they tell the core. */
function host(kind = 'command') {
  const ended: [obligation: string, end: BodyEnd][] = []
  const blocked: boolean[] = []
  const started: Started[] = []
  const logs = new TaskLogs(clockOf(new VirtualTime(), { alive: true }))
  const runtime = {
    kind,
    start(task: TaskStart, handlers: AttemptHandlers) {
      const one: Started = { task, handlers, kill: vi.fn<(reason: string) => void>(), children: [] }
      started.push(one)
      return { kill: one.kill, childSettled: (child: ChildOutcome) => void one.children.push(child) }
    },
    stop: async () => undefined
  }
  const attempts = new Attempts({
    served: capability => (capability === 'work' ? { runtime, timeoutMs: 5_000 } : undefined),
    logs,
    ended: (_, obligation, end) => ended.push([obligation, end]),
    blocked: (_job, _obligation, is) => blocked.push(is)
  })
  return { attempts, ended, blocked, started, logs }
}

const startOf = (input: Uint8Array = bytes({ n: 1 }), capability = 'work'): Start => ({
  kind: 'start',
  job: JOB,
  obligation: ID,
  task: { path: '0', capability, input, traceparent: '00-trace' },
  attempts: [1, 2]
})

const killOf = (obligation: string) =>
  ({ kind: 'kill', job: JOB, obligation, reason: 'cancelled', hard: false }) as const

const settled = (index: number, result: Uint8Array = bytes(index)): ChildSettled => ({
  kind: 'child-settled',
  job: JOB,
  parent: ID,
  path: `0.${index}`,
  outcome: 'completed',
  result,
  error: undefined
})

/** A host on which the task runs. */
function running(kind?: string) {
  const it = host(kind)
  it.attempts.start(startOf(), 6_000)
  const [one] = it.started
  const attempt = it.attempts.byAttempt(ATTEMPT)
  if (one === undefined || attempt === undefined) throw new Error('not started')
  return { ...it, one, attempt, end: (end: AttemptEnd) => one.handlers.ended(end) }
}

/** How a promise stands when nothing more happens by itself. */
async function state(promise: Promise<unknown>): Promise<unknown> {
  let outcome: unknown = 'pending'
  promise.then(
    value => {
      outcome = value
    },
    error => {
      outcome = error?.code ?? error
    }
  )
  await new Promise(resolve => setImmediate(resolve))
  return outcome
}

describe('an attempt', () => {
  test('is handed to its runtime with its input as a value, and named for calls from the task', () => {
    const { attempts, one } = running()
    expect(one.task).toEqual({
      attemptId: ATTEMPT,
      taskId: TASK,
      jobId: JOB,
      capability: 'work',
      input: { n: 1 },
      attempt: 2,
      fencingToken: '1.2',
      leaseLeftMs: 6_000,
      traceparent: '00-trace',
      timeoutMs: 5_000
    })
    expect(attempts.byTask(TASK)).toBe(attempts.byAttempt(ATTEMPT))
    expect([...attempts.tasks()]).toEqual([TASK])
    expect(attempts.agents('12D3Bob11')).toEqual([
      {
        id: ATTEMPT,
        peerId: '12D3Bob11',
        runtime: 'command',
        capability: 'work',
        taskId: TASK,
        state: 'working',
        usage: { source: 'unknown' }
      }
    ])
  })

  test('of a capability that is not served any more goes back', () => {
    const { attempts, ended, started } = host()
    attempts.start(startOf(undefined, 'lint'), 6_000)
    expect({ started, ended, size: attempts.size }).toEqual({
      started: [],
      ended: [[ID, { kind: 'returned' }]],
      size: 0
    })
  })

  test('without input gets null, and one whose input is no JSON fails without being started', () => {
    const { attempts, ended, started } = host()
    attempts.start(startOf(new Uint8Array(0)), 6_000)
    expect(started[0]?.task.input).toBeNull()
    started[0]?.handlers.ended({ kind: 'killed' })
    attempts.start(startOf(new TextEncoder().encode('{"a":')), 6_000)
    expect(started).toHaveLength(1)
    expect(ended[1]).toEqual([ID, { kind: 'failed', error: { code: 'INVALID_JSON', message: expect.any(String) } }])
    expect(attempts.size).toBe(0)
  })

  test('that ends is gone with its log closed', async () => {
    const { attempts, logs, one, end } = running()
    one.handlers.log('a line')
    end({ kind: 'killed' })
    expect([attempts.byAttempt(ATTEMPT), attempts.byTask(TASK), attempts.size]).toEqual([undefined, undefined, 0])
    const lines = []
    for await (const { line } of logs.read(TASK, { follow: true, signal: new AbortController().signal }))
      lines.push(line)
    expect(lines).toEqual(['a line'])
  })

  test('that ends late does not take the name of its task from the next one', () => {
    const { attempts, started } = host()
    attempts.start(startOf(), 6_000)
    attempts.start({ ...startOf(), obligation: '1:2', attempts: [1, 3] }, 6_000)
    started[0]?.handlers.ended({ kind: 'killed' })
    expect(attempts.byTask(TASK)).toMatchObject({ attempt: 3, obligation: '1:2' })
  })

  test('is killed by its runtime, and one that never began is said to be killed', () => {
    const { attempts, one, ended } = running()
    attempts.kill(killOf(ID))
    expect(one.kill).toHaveBeenCalledExactlyOnceWith('cancelled', false)
    expect(ended).toEqual([])
    attempts.kill(killOf('1:2'))
    expect(ended).toEqual([['1:2', { kind: 'killed' }]])
  })
})

describe('the end of a body', () => {
  const endOf = (end: AttemptEnd) => {
    const it = running()
    it.end(end)
    return it.ended[0]?.[1]
  }

  test('carries its result, digest and, when it is short, a copy for the record', () => {
    const digest = createHash('sha256').update('{"a":1}').digest('hex')
    expect(endOf({ kind: 'completed', result: { a: 1 } })).toEqual({
      kind: 'completed',
      result: bytes({ a: 1 }),
      digest,
      recorded: bytes({ a: 1 })
    })
  })

  test.each([
    ['kept', 2 * 1024, 2 * 1024],
    ['left out', 2 * 1024 + 1, 0]
  ])('is %s in the record when its result has %i bytes', (_, length, kept) => {
    expect(endOf({ kind: 'completed', result: 'x'.repeat(length - 2) })).toMatchObject({ recorded: { length: kept } })
  })

  test('without a value is null', () => {
    expect(endOf({ kind: 'completed', result: undefined })).toMatchObject({ result: bytes(null) })
  })

  test('is carried up to the limit of results, and fails beyond it', () => {
    const fits = endOf({ kind: 'completed', result: 'x'.repeat(RESULT_BYTES_MAX - 2) })
    expect(fits).toMatchObject({ kind: 'completed', result: { length: RESULT_BYTES_MAX } })
    const over = endOf({ kind: 'completed', result: 'x'.repeat(RESULT_BYTES_MAX - 1) })
    expect(over).toEqual({
      kind: 'failed',
      error: { code: 'RESULT_TOO_LARGE', message: expect.stringContaining('1048577') }
    })
  })

  test('carries an error with a message of bounded length', () => {
    const error = { code: 'TASK_FAILED', message: 'x'.repeat(ERROR_MESSAGE_CHARS_MAX + 1) }
    expect(endOf({ kind: 'failed', error })).toEqual({
      kind: 'failed',
      error: { code: 'TASK_FAILED', message: 'x'.repeat(ERROR_MESSAGE_CHARS_MAX) }
    })
  })

  test('that gives the task back says so', () => {
    expect(endOf({ kind: 'returned', reason: 'the worker has disconnected' })).toEqual({ kind: 'returned' })
  })
})

describe('waiting for a child', () => {
  test('resolves when it settles, for all who wait, and again for who asks later', async () => {
    const { attempts, attempt } = running()
    const waits = [1, 2].map(() => attempts.waitForChild(attempt, `${TASK}.3`, undefined))
    expect(await state(Promise.all(waits))).toBe('pending')
    attempts.childSettled(settled(3))
    const outcome = { taskId: `${TASK}.3`, outcome: 'completed', result: 3, error: undefined }
    expect(await Promise.all(waits)).toEqual([outcome, outcome])
    expect(await state(attempts.waitForChild(attempt, `${TASK}.3`, undefined))).toEqual(outcome)
  })

  test('resolves at once when it had settled before anybody asked', async () => {
    const { attempts, attempt, blocked } = running()
    attempts.childSettled(settled(0))
    expect(await state(attempts.waitForChild(attempt, `${TASK}.0`, undefined))).toMatchObject({ result: 0 })
    expect(blocked).toEqual([])
  })

  test('that was given up loses nothing: the child is there for the next one who asks', async () => {
    const { attempts, attempt } = running()
    const patience = new AbortController()
    const first = attempts.waitForChild(attempt, `${TASK}.0`, patience.signal)
    patience.abort('enough')
    expect(await state(first)).toBe('enough')
    attempts.childSettled(settled(0))
    expect(await state(attempts.waitForChild(attempt, `${TASK}.0`, undefined))).toMatchObject({ result: 0 })
  })

  test('fails at once when it is given up already', async () => {
    const { attempts, attempt, blocked } = running()
    const given = attempts.waitForChild(attempt, `${TASK}.0`, AbortSignal.abort('enough'))
    expect(await state(given)).toBe('enough')
    expect(blocked).toEqual([])
  })

  test('tells of a child whose result is no JSON as failed', async () => {
    const { attempts, attempt, one } = running()
    attempts.childSettled(settled(0, new TextEncoder().encode('nul')))
    const child = await state(attempts.waitForChild(attempt, `${TASK}.0`, undefined))
    expect(child).toMatchObject({ outcome: 'failed', result: undefined, error: { code: 'INVALID_JSON' } })
    expect(one.children).toEqual([child])
  })

  test('keeps results up to a number of bytes; who asks for more too late is refused', async () => {
    const { attempts, attempt } = running()
    const big = new Uint8Array(RESULT_BYTES_MAX).fill(0x20)
    big[0] = 0x31
    const fit = CHILD_RESULTS_BYTES_MAX / RESULT_BYTES_MAX
    for (let index = 0; index < fit; index += 1) attempts.childSettled(settled(index, big))
    const live = attempts.waitForChild(attempt, `${TASK}.${fit}`, undefined)
    attempts.childSettled(settled(fit, bytes(7)))
    expect(await live).toMatchObject({ result: 7 })
    attempts.childSettled({ ...settled(fit + 1, new Uint8Array(0)), outcome: 'lost' })
    expect(await state(attempts.waitForChild(attempt, `${TASK}.${fit - 1}`, undefined))).toMatchObject({ result: 1 })
    expect(await state(attempts.waitForChild(attempt, `${TASK}.${fit}`, undefined))).toBe('LIMIT_REACHED')
    // What takes no room is kept all the same.
    expect(await state(attempts.waitForChild(attempt, `${TASK}.${fit + 1}`, undefined))).toMatchObject({
      outcome: 'lost'
    })
  })

  test('is for live children only in an SDK worker, which is told of each itself', async () => {
    const { attempts, attempt, one } = running('function')
    attempts.childSettled(settled(0))
    expect(one.children).toMatchObject([{ taskId: `${TASK}.0`, result: 0 }])
    expect(await state(attempts.waitForChild(attempt, `${TASK}.0`, undefined))).toBe('LIMIT_REACHED')
  })

  test('ends when the waiting task is over, and cannot begin after it', async () => {
    const { attempts, attempt, end, blocked } = running()
    const waiting = attempts.waitForChild(attempt, `${TASK}.0`, undefined)
    end({ kind: 'killed' })
    expect(await state(waiting)).toMatchObject({ outcome: 'cancelled', error: { code: 'TASK_ENDED' } })
    expect(await state(attempts.waitForChild(attempt, `${TASK}.0`, undefined))).toBe('TASK_ENDED')
    expect(blocked).toEqual([true])
    attempts.childSettled(settled(0))
  })

  test('frees the slot with the first wait and takes it again with the last', async () => {
    const { attempts, attempt, blocked } = running()
    const patience = new AbortController()
    const first = attempts.waitForChild(attempt, `${TASK}.0`, undefined)
    const second = attempts.waitForChild(attempt, `${TASK}.1`, patience.signal)
    const again = attempts.waitForChild(attempt, `${TASK}.0`, undefined)
    expect(blocked).toEqual([true])
    expect(attempts.agents('')).toMatchObject([{ state: 'waiting' }])
    attempts.childSettled(settled(0))
    await Promise.all([first, again])
    expect(blocked).toEqual([true])
    patience.abort('enough')
    expect(await state(second)).toBe('enough')
    expect(blocked).toEqual([true, false])
    expect(attempts.agents('')).toMatchObject([{ state: 'working' }])
    // Neither a late abort nor a late child counts twice.
    attempts.childSettled(settled(1))
    expect(blocked).toEqual([true, false])
  })

  test('counts together with the waits that a worker reports', () => {
    const { attempts, attempt, blocked, end } = running('function')
    attempts.blocked(ATTEMPT, true)
    attempts.blocked(ATTEMPT, true)
    void attempts.waitForChild(attempt, `${TASK}.0`, undefined)
    attempts.blocked(ATTEMPT, false)
    attempts.blocked(ATTEMPT, false)
    expect(blocked).toEqual([true])
    attempts.childSettled(settled(0))
    expect(blocked).toEqual([true, false])
    end({ kind: 'killed' })
    attempts.blocked(ATTEMPT, true)
    expect(blocked).toEqual([true, false])
  })
})
