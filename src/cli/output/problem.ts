import { ERROR_CODES, StarlingError } from '../../wire/errors.ts'
import type { Terminal } from './terminal.ts'

/** What was thrown as an error with a code; what has none is a defect of this program. */
export function asStarlingError(thrown: unknown): StarlingError {
  if (thrown instanceof StarlingError) return thrown
  const cause = thrown instanceof Error ? thrown : new Error(String(thrown))
  return new StarlingError('INTERNAL', cause.message, {
    hint: 'this is a defect of starling: please report it with the lines below',
    cause
  })
}

/**
 * Prints an error: what happened and what to do next on stderr, or with `json` one Problem on stdout.
 *
 * @returns the exit code
 */
export function printProblem(terminal: Terminal, error: StarlingError, json: boolean): number {
  const { status, exit, title } = ERROR_CODES[error.code]
  if (json) {
    terminal.json('Problem', {
      type: `urn:starling:problem:${error.code}`,
      title,
      status,
      detail: error.message,
      code: error.code,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      requestId: crypto.randomUUID()
    })
  } else {
    terminal.note(`${terminal.noteStyle('red', 'error:')} ${error.message}`)
    if (error.hint !== undefined) terminal.note(`${terminal.noteStyle('cyan', 'hint:')} ${error.hint}`)
    if (error.code === 'INTERNAL' && error.cause instanceof Error) terminal.note(error.cause.stack ?? '')
  }
  return exit
}
