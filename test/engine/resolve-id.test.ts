import { describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import { resolveId } from '../../src/engine/resolve-id.ts'

const IDS = ['abcd1111', 'abcd2222', 'abce3333', 'abcd', 'xy']

function refused(wanted: string, ids: readonly string[] = IDS): StarlingError {
  try {
    resolveId('job', wanted, ids)
  } catch (error) {
    if (error instanceof StarlingError) return error
    throw error
  }
  throw new Error(`${wanted} was found`)
}

describe('an id', () => {
  test.each([
    ['whole', 'abce3333', 'abce3333'],
    ['whole, however short', 'xy', 'xy'],
    ['whole, though others begin with it', 'abcd', 'abcd'],
    ['by a beginning that only it has', 'abce', 'abce3333']
  ])('is found %s', (_, wanted, found) => {
    expect(resolveId('job', wanted, IDS)).toBe(found)
  })

  test('is not found by less than four characters', () => {
    expect(refused('abc')).toMatchObject({ code: 'NOT_FOUND', hint: 'a prefix needs at least 4 characters' })
  })

  test('that is unknown is answered with where they are listed', () => {
    expect(refused('zzzz')).toMatchObject({ code: 'NOT_FOUND', hint: 'list them with: starling jobs' })
    expect(() => resolveId('task', 'zzzz', [])).toThrow('there is no task "zzzz"')
  })

  test('that could be several is answered with some of them', () => {
    expect(refused('abcd', ['abcd1', 'abcd2'])).toMatchObject({
      code: 'AMBIGUOUS_ID',
      message: '"abcd" matches 2 jobs: abcd1, abcd2'
    })
    const many = Array.from({ length: 6 }, (_, index) => `abcd${index}`)
    expect(refused('abcd', many).message).toBe('"abcd" matches 6 jobs: abcd0, abcd1, abcd2, abcd3, abcd4, ...')
  })
})
