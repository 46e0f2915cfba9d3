import { STATUS_CODES } from 'node:http'
import type * as z from 'zod'
import { document } from '../wire/api/document.ts'
import type { Problem } from '../wire/api/schemas.ts'
import { ERROR_CODES, StarlingError } from '../wire/errors.ts'

export const PROBLEM_TYPE = 'application/problem+json'

/** The error that a failed validation stands for: INVALID_INPUT naming the first wrong field. */
export function validationError(error: z.ZodError, what: string): StarlingError {
  const issue = error.issues[0]
  const field = issue === undefined || issue.path.length === 0 ? what : `${what} field ${issue.path.join('.')}`
  return new StarlingError('INVALID_INPUT', `${field}: ${issue?.message ?? 'invalid'}`, {
    hint: 'GET /v1/openapi.json describes every request'
  })
}

/** What is answered for an error: anything that is no StarlingError is INTERNAL, and its text stays in the log. */
export function problem(error: unknown, requestId: string): Problem {
  const known = error instanceof StarlingError ? error : undefined
  const code = known?.code ?? 'INTERNAL'
  const { status, title } = ERROR_CODES[code]
  const hint = known === undefined ? 'the log of the daemon has the details under this request id' : known.hint
  return document('Problem', {
    type: `urn:starling:problem:${code}`,
    title,
    status,
    detail: known?.message ?? 'the daemon failed to handle this request',
    code,
    ...(hint === undefined ? {} : { hint }),
    requestId
  })
}

/** A whole HTTP answer with a problem, for connections that have no response object. */
export function rawProblem(error: unknown, requestId: string): string {
  const value = problem(error, requestId)
  const body = JSON.stringify(value)
  return [
    `HTTP/1.1 ${value.status} ${STATUS_CODES[value.status] ?? 'Error'}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    'connection: close',
    '',
    body
  ].join('\r\n')
}
