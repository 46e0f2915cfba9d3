import { describe, expect, test, vi } from 'vitest'
import { ERROR_MESSAGE_CHARS_MAX, RESULT_BYTES_MAX } from '../../src/core/index.ts'
import type { AgentRuntime } from '../../src/ports/index.ts'
import { LOG_LINE_CHARS_MAX } from '../../src/runtimes/index.ts'
import { recorder, taskStart } from '../runtimes/support.ts'

/**
 * What the executor under test does with a task:
 * `echo` completes with its input; `text` with a string of `input` characters "a"; `fail` fails with a message of
 * `input` characters; `hang` does not end but when asked to; `stubborn` not even then; `log` logs a line of `input`
 * characters and completes with null.
 */
export type Behaviour = 'echo' | 'text' | 'fail' | 'hang' | 'stubborn' | 'log'

/** Longest time from a kill to the end: the grace, and the machine may be busy. */
const KILL_LIMIT_MS = 6_000

/** What every AgentRuntime promises. `setup` registers its own cleaning up. */
export function runtimeSuite(setup: (behaviour: Behaviour) => AgentRuntime): void {
  function start(behaviour: Behaviour, overrides: Parameters<typeof taskStart>[0] = {}) {
    const runtime = setup(behaviour)
    const record = recorder()
    const attempt = runtime.start(taskStart(overrides), record.handlers)
    return { runtime, attempt, ...record }
  }

  describe('every runtime', () => {
    test('completes with the result, after start has returned', async () => {
      const { ends, end } = start('echo', { input: { text: 'grüß "dich"\n', list: [1, null, true] } })
      expect(ends).toEqual([])
      expect(await end).toEqual({ kind: 'completed', result: { text: 'grüß "dich"\n', list: [1, null, true] } })
    })

    test('keeps attempts apart that run at the same time', async () => {
      const runtime = setup('echo')
      const ends = await Promise.all(
        Array.from({ length: 8 }, (_, index) => {
          const { handlers, end } = recorder()
          runtime.start(taskStart({ attemptId: `a${index}`, input: index }), handlers)
          return end
        })
      )
      expect(ends).toEqual(Array.from({ length: 8 }, (_, index) => ({ kind: 'completed', result: index })))
    })

    test('fails with a code and a message of bounded length', async () => {
      const end = await start('fail', { input: 3 * ERROR_MESSAGE_CHARS_MAX }).end
      expect(end).toMatchObject({ kind: 'failed', error: { code: 'TASK_FAILED' } })
      if (end.kind === 'failed') expect(end.error.message.length).toBe(ERROR_MESSAGE_CHARS_MAX)
    })

    test('takes a result of exactly RESULT_BYTES_MAX', async () => {
      const end = await start('text', { input: RESULT_BYTES_MAX - 2 }).end
      expect(end.kind).toBe('completed')
      if (end.kind === 'completed') expect(JSON.stringify(end.result)).toHaveLength(RESULT_BYTES_MAX)
    })

    test('refuses a result that is one byte longer', async () => {
      const end = await start('text', { input: RESULT_BYTES_MAX - 1 }).end
      expect(end).toMatchObject({ kind: 'failed', error: { code: 'RESULT_TOO_LARGE' } })
    })

    test('ends as killed, once, however often it is killed', async () => {
      const { attempt, ends, end, runtime } = start('hang')
      attempt.kill('first', false)
      attempt.kill('second', false)
      expect(await end).toEqual({ kind: 'killed' })
      attempt.kill('third', false)
      await runtime.stop()
      expect(ends).toHaveLength(1)
    })

    test('ends as killed when it has been running for a while', async () => {
      const { attempt, lines, end } = start('hang')
      await vi.waitFor(() => expect(lines).toContain('hanging'), { timeout: 5_000 })
      attempt.kill('cancelled', false)
      expect(await end).toEqual({ kind: 'killed' })
    })

    test('ends as killed although the executor ignores it', async () => {
      const { attempt, lines, end } = start('stubborn')
      await vi.waitFor(() => expect(lines).toContain('hanging'), { timeout: 5_000 })
      const killedAt = performance.now()
      attempt.kill('cancelled', false)
      expect(await end).toEqual({ kind: 'killed' })
      expect(performance.now() - killedAt).toBeLessThan(KILL_LIMIT_MS)
    })

    test('stays completed when it is killed after its end', async () => {
      const { attempt, ends, end, runtime } = start('echo', { input: 1 })
      await end
      attempt.kill('late', false)
      attempt.childSettled({ taskId: 'late', outcome: 'completed', result: 1, error: undefined })
      await runtime.stop()
      expect(ends).toEqual([{ kind: 'completed', result: 1 }])
    })

    test('ends with TASK_TIMEOUT when it runs longer than its timeout', async () => {
      expect(await start('hang', { timeoutMs: 100 }).end).toMatchObject({
        kind: 'failed',
        error: { code: 'TASK_TIMEOUT', message: expect.stringContaining('100 ms') }
      })
    })

    test('does not time out when it is faster', async () => {
      expect(await start('echo', { input: 1, timeoutMs: 15_000 }).end).toEqual({ kind: 'completed', result: 1 })
    })

    test('hands on a log line of LOG_LINE_CHARS_MAX, and cuts a longer one', async () => {
      const whole = start('log', { input: LOG_LINE_CHARS_MAX })
      await whole.end
      expect(whole.lines).toEqual(['a'.repeat(LOG_LINE_CHARS_MAX)])
      const cut = start('log', { input: LOG_LINE_CHARS_MAX + 1 })
      await cut.end
      expect(cut.lines).toEqual([`${'a'.repeat(LOG_LINE_CHARS_MAX - 1)}…`])
    })

    test('stops: what runs is killed, what is started later is given back', async () => {
      const { runtime, ends } = start('hang')
      const second = recorder()
      runtime.start(taskStart({ attemptId: 'a2' }), second.handlers)
      await runtime.stop()
      expect([...ends, ...second.ends]).toEqual([{ kind: 'killed' }, { kind: 'killed' }])
      await runtime.stop()
      const late = recorder()
      runtime.start(taskStart({ attemptId: 'a3' }), late.handlers).kill('late', false)
      expect(late.ends).toEqual([])
      expect((await late.end).kind).toBe('returned')
    })
  })
}
