import { StarlingError } from '../../wire/errors.ts'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Longest duration that a flag takes: Node's timers end at 2^31 - 1 ms (24.8 days). */
export const DURATION_MS_MAX = 24 * 86_400_000

/**
 * Reads "500ms", "10s", "1.5m", "2h", "7d" as milliseconds. A number alone is refused: nobody knows its unit.
 *
 * @throws StarlingError INVALID_INPUT
 */
export function parseDuration(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  const unitMs = UNIT_MS[match?.[2] ?? '']
  if (match === null || unitMs === undefined) {
    throw new StarlingError('INVALID_INPUT', `${flag} takes a duration with its unit, not ${JSON.stringify(text)}`, {
      hint: 'write for example 500ms, 30s, 10m or 2h'
    })
  }
  const ms = Math.round(Number(match[1]) * unitMs)
  if (ms < 1 || ms > DURATION_MS_MAX) {
    throw new StarlingError('INVALID_INPUT', `${flag} ${text} is out of range: 1ms to 24d`)
  }
  return ms
}

/**
 * Reads a whole number between `min` and `max`.
 *
 * @throws StarlingError INVALID_INPUT
 */
export function parseCount(text: string, flag: string, min: number, max: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= min && number <= max)) {
    throw new StarlingError('INVALID_INPUT', `${flag} takes a whole number from ${min} to ${max}, not "${text}"`)
  }
  return number
}
