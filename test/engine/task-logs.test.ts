import { describe, expect, test } from 'vitest'
import { LOG_LINES_KEPT_MAX, LOGS_KEPT_MAX, TaskLogs } from '../../src/engine/task-logs.ts'
import { logLineSchema } from '../../src/wire/api/index.ts'
import { clockOf, WALL_AT_ZERO_MS } from '../helpers/engine-pool.ts'
import { VirtualTime } from '../helpers/virtual-time.ts'

const TASK = 'job1.0'
const NEVER = new AbortController().signal

function opened() {
  const logs = new TaskLogs(clockOf(new VirtualTime(0), { alive: true }))
  logs.open(TASK)
  return logs
}

/** Reads into `lines`; `done` resolves with them when the log has ended. */
function reader(logs: TaskLogs, { follow = true, signal = NEVER, task = TASK } = {}) {
  const lines: string[] = []
  const done = (async () => {
    for await (const { line } of logs.read(task, { follow, signal })) lines.push(line)
    return lines
  })()
  return { lines, done }
}

const settle = () => new Promise(resolve => setImmediate(resolve))

describe('the log of a task', () => {
  test('has its lines with time and task', async () => {
    const logs = opened()
    logs.append(TASK, 'hello')
    logs.close(TASK)
    for await (const line of logs.read(TASK, { follow: false, signal: NEVER })) {
      expect(logLineSchema.parse(line)).toEqual({
        time: new Date(WALL_AT_ZERO_MS).toISOString(),
        taskId: TASK,
        line: 'hello'
      })
    }
  })

  test('is what there is, or all that comes until the task ends', async () => {
    const logs = opened()
    logs.append(TASK, 'one')
    expect(await reader(logs, { follow: false }).done).toEqual(['one'])
    const following = [reader(logs), reader(logs)]
    await settle()
    logs.append(TASK, 'two')
    await settle()
    expect(following.map(({ lines }) => lines)).toEqual([
      ['one', 'two'],
      ['one', 'two']
    ])
    logs.append(TASK, 'three')
    logs.close(TASK)
    expect(await Promise.all(following.map(({ done }) => done))).toEqual([
      ['one', 'two', 'three'],
      ['one', 'two', 'three']
    ])
    expect(await reader(logs).done).toEqual(['one', 'two', 'three'])
  })

  test('ends for a reader that stops, and is empty for one that never began', async () => {
    const logs = opened()
    const end = new AbortController()
    const waiting = reader(logs, { signal: end.signal })
    await settle()
    end.abort()
    expect(await waiting.done).toEqual([])
    expect(await reader(logs, { task: 'job1.7' }).done).toEqual([])
    expect(logs.has('job1.7')).toBe(false)
    logs.append('job1.7', 'nobody has opened it')
    logs.close('job1.7')
    expect([...logs.ids()]).toEqual([TASK])
  })

  test('keeps its newest lines, also for a reader that falls behind', async () => {
    const logs = opened()
    const reading = logs.read(TASK, { follow: true, signal: NEVER })
    logs.append(TASK, '0')
    expect((await reading.next()).value?.line).toBe('0')
    for (let line = 1; line < LOG_LINES_KEPT_MAX; line += 1) logs.append(TASK, String(line))
    expect(await reader(logs, { follow: false }).done).toHaveLength(LOG_LINES_KEPT_MAX)
    for (let line = 0; line < 10; line += 1) logs.append(TASK, String(LOG_LINES_KEPT_MAX + line))
    expect((await reading.next()).value?.line).toBe('10')
    const kept = await reader(logs, { follow: false }).done
    expect([kept.length, kept[0], kept.at(-1)]).toEqual([LOG_LINES_KEPT_MAX, '10', String(LOG_LINES_KEPT_MAX + 9)])
    await reading.return(undefined)
  })

  test('goes on when another attempt of the task runs here', async () => {
    const logs = opened()
    logs.append(TASK, 'first try')
    logs.close(TASK)
    logs.open(TASK)
    const following = reader(logs)
    logs.append(TASK, 'second try')
    logs.close(TASK)
    expect(await following.done).toEqual(['first try', 'second try'])
  })
})

describe('the logs of a daemon', () => {
  test('are those of the newest tasks; one that runs keeps its log', () => {
    const logs = opened()
    for (let task = 1; task < LOGS_KEPT_MAX; task += 1) {
      logs.open(`job1.${task}`)
      logs.close(`job1.${task}`)
    }
    expect([...logs.ids()]).toHaveLength(LOGS_KEPT_MAX)
    logs.open('job2.0')
    expect([...logs.ids()]).toHaveLength(LOGS_KEPT_MAX)
    expect([TASK, 'job1.1', 'job1.2', 'job2.0'].map(task => logs.has(task))).toEqual([true, false, true, true])
  })
})
