import { ERROR_MESSAGE_CHARS_MAX, type ErrorCode, RESULT_BYTES_MAX, StarlingError } from '../core/index.ts'
import type { AttemptEnd } from '../ports/index.ts'

/** Ends that all runtimes share. */

export function failed(code: string, message: string): AttemptEnd {
  return { kind: 'failed', error: { code, message: clipEnd(message, ERROR_MESSAGE_CHARS_MAX) } }
}

export function failedBy(error: unknown, fallback: ErrorCode): AttemptEnd {
  if (error instanceof StarlingError) {
    return failed(error.code, error.hint === undefined ? error.message : `${error.message}; ${error.hint}`)
  }
  return failed(fallback, error instanceof Error ? error.message : String(error))
}

export function timedOut(timeoutMs: number): AttemptEnd {
  return failed('TASK_TIMEOUT', `ran longer than its timeout of ${timeoutMs} ms`)
}

export function resultTooLarge(): AttemptEnd {
  return failed(
    'RESULT_TOO_LARGE',
    `the result is longer than ${RESULT_BYTES_MAX} bytes; write it to a file and return where it is`
  )
}

/** Completed with `result` (undefined counts as null), unless it is too long or no JSON. */
export function completed(result: unknown): AttemptEnd {
  const value = result === undefined ? null : result
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    // Cycles, big integers, or nesting deeper than the stack.
    return failed('TASK_FAILED', `the result is no JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (text === undefined) return failed('TASK_FAILED', `the result is no JSON: ${typeof value}`)
  if (Buffer.byteLength(text) > RESULT_BYTES_MAX) return resultTooLarge()
  return { kind: 'completed', result: value }
}

/** The first `limit` characters, the last one an ellipsis when something was cut off. */
export function clipEnd(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`
}
