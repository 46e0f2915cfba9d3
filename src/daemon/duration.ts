import { StarlingError } from '../core/errors.ts'

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** The longest duration that can be given, and the longest delay of one Node timer: about 24 days. */
export const DURATION_MS_MAX = 2 ** 31 - 1

/**
 * Milliseconds of a duration: a number with a unit (`500ms`, `1.5s`, `10m`, `2h`, `1d`), or whole milliseconds.
 *
 * @throws StarlingError INVALID_INPUT when it has another form, is not above zero, or is above DURATION_MS_MAX.
 */
export function parseDuration(value: string | number): number {
  const match = /^(\d{1,10}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(typeof value === 'number' ? `${value}ms` : value.trim())
  const unit = match?.[2] === undefined ? undefined : UNITS_MS[match[2]]
  if (unit === undefined || (typeof value === 'number' && !Number.isInteger(value))) {
    throw invalid(`${JSON.stringify(value)} is no duration`)
  }
  const ms = Math.round(Number(match?.[1]) * unit)
  if (ms < 1 || ms > DURATION_MS_MAX) throw invalid(`the duration ${value} is not between 1ms and 24d`)
  return ms
}

function invalid(message: string): StarlingError {
  return new StarlingError('INVALID_INPUT', message, { hint: 'write it like 500ms, 30s, 10m or 2h' })
}
