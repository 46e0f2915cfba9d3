import { describe, expect, test } from 'vitest'
import { ERROR_CODES, isErrorCode, StarlingError } from '../../src/core/errors.ts'
import { childPath, depthOf, parseTaskId, sameBoot, taskId } from '../../src/core/ids.ts'

describe('task ids', () => {
  test('are the job and the path, and come apart again', () => {
    expect(taskId('job1', '0.3.1')).toBe('job1.0.3.1')
    expect(parseTaskId('job1.0.3.1')).toEqual({ job: 'job1', path: '0.3.1' })
  })

  test.each(['', 'job1', 'job1.', '.0'])('%j is none', id => {
    expect(parseTaskId(id)).toBeUndefined()
  })

  test('paths grow by one index a level', () => {
    expect(depthOf('0')).toBe(0)
    expect(childPath('0', 12)).toBe('0.12')
    expect(depthOf(childPath('0.12', 3))).toBe(2)
  })
})

test('boots are the same with the same incarnation and the same nonce only', () => {
  const boot = { incarnation: 1, nonce: 'a' }
  expect(sameBoot(boot, { ...boot })).toBe(true)
  expect(sameBoot(boot, { ...boot, nonce: 'b' })).toBe(false)
  expect(sameBoot(boot, { ...boot, incarnation: 2 })).toBe(false)
})

describe('errors', () => {
  test('have a code of the table, a cause and a hint', () => {
    const cause = new Error('disk full')
    const error = new StarlingError('STORAGE_FAILED', 'nothing was written', { hint: 'make room', cause })
    expect(error).toMatchObject({ name: 'StarlingError', code: 'STORAGE_FAILED', hint: 'make room', cause })
    expect(new StarlingError('INTERNAL', 'x')).not.toHaveProperty('cause')
  })

  test.each(Object.entries(ERROR_CODES))(
    '%s has a title, an HTTP status of a failure and an exit code of one',
    (_code, entry) => {
      expect(entry.title).not.toBe('')
      expect(entry.status).toBeGreaterThanOrEqual(400)
      expect(entry.status).toBeLessThan(600)
      expect(entry.exit).toBeGreaterThan(0)
    }
  )

  test('names of the prototype are no codes', () => {
    expect(isErrorCode('TASK_LOST')).toBe(true)
    expect(['toString', 'constructor', '__proto__', ''].some(isErrorCode)).toBe(false)
  })
})
