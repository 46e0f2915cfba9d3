import { expect, test } from 'vitest'
import { parseDuration } from '../../src/daemon/config.ts'
import { DURATION_MS_MAX } from '../../src/daemon/duration.ts'

const good: readonly (readonly [string | number, number])[] = [
  ['500ms', 500],
  ['30s', 30_000],
  ['1.5s', 1_500],
  ['10m', 600_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
  [' 30s ', 30_000],
  [1, 1],
  [DURATION_MS_MAX, DURATION_MS_MAX]
]
for (const [value, ms] of good) {
  test(`${JSON.stringify(value)} is ${ms} ms`, () => {
    expect(parseDuration(value)).toBe(ms)
  })
}

const bad = [
  '',
  '10',
  '10x',
  's',
  '-1s',
  '1e3s',
  '1 s',
  '1s2',
  '0s',
  '0.1ms',
  '25d',
  '99999999999s',
  0,
  -1,
  1.5,
  Number.NaN,
  DURATION_MS_MAX + 1
]
for (const value of bad) {
  test(`${JSON.stringify(value)} is refused`, () => {
    expect(() => parseDuration(value)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', hint: expect.stringContaining('10m') })
    )
  })
}
