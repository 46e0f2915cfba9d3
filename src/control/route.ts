import * as z from 'zod'
import type { DaemonApi } from '../ports/daemon-api.ts'
import { WAIT_MS_MAX } from '../wire/api/limits.ts'
import { StarlingError } from '../wire/errors.ts'
import { validationError } from './problem.ts'

/** One operation of the API: the server, and the description in `openapi.json`, are made from the same table of these. */
export interface Route {
  readonly method: 'GET' | 'POST'
  /** Path with `:name` for a parameter. */
  readonly path: string
  readonly summary: string
  readonly query: z.ZodObject | undefined
  readonly body: z.ZodObject | undefined
  readonly answer: Answer
  /** Resolves with the value of the answer. `body` is the parsed JSON, not yet checked. */
  run(request: RawRequest): Promise<unknown>
}

export type Answer =
  /** A JSON document `kind` with the fields of `schema`. */
  | { readonly form: 'document'; readonly kind: string; readonly status: 200 | 201 | 202; readonly schema: z.ZodObject }
  /** Server-sent events, each a JSON value of `schema`. */
  | { readonly form: 'stream'; readonly schema: z.ZodType; readonly id: ((item: never) => string) | undefined }
  /** Bytes as they are. */
  | { readonly form: 'text'; readonly contentType: string }

export interface RawRequest {
  readonly api: DaemonApi
  /** Aborts when the client is gone or the server stops. */
  readonly signal: AbortSignal
  readonly waits: Admission
  readonly parameters: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: unknown
}

export interface CheckedRequest<Q, B> extends Omit<RawRequest, 'query' | 'body'> {
  readonly query: Q
  readonly body: B
}

export interface RouteInit<Q extends z.ZodObject, B extends z.ZodObject> {
  readonly summary: string
  readonly query?: Q
  readonly body?: B
  /** What a parameter of the path looks like. @default letters and digits of ASCII, and . _ : - between them */
  readonly idPattern?: RegExp
  readonly answer: Answer
  handle(request: CheckedRequest<z.output<Q>, z.output<B>>): unknown
}

export function route<Q extends z.ZodObject, B extends z.ZodObject>(
  method: Route['method'],
  path: string,
  init: RouteInit<Q, B>
): Route {
  return {
    method,
    path,
    summary: init.summary,
    query: init.query,
    body: init.body,
    answer: init.answer,
    async run(request) {
      for (const [name, value] of Object.entries(request.parameters)) checkId(name, value, init.idPattern ?? ID)
      const query = check(init.query ?? z.object({}), request.query, 'query') as z.output<Q>
      const body = check(init.body ?? z.object({}), request.body ?? {}, 'body') as z.output<B>
      return init.handle({ ...request, query, body })
    }
  }
}

/** Counts what may go on at one time. */
export class Admission {
  readonly #what: string
  readonly #max: number
  #count = 0

  constructor(what: string, max: number) {
    this.#what = what
    this.#max = max
  }

  /** Runs `work` as one of at most `max`. @throws StarlingError LIMIT_REACHED without running it when there are as many. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#count >= this.#max) {
      throw new StarlingError('LIMIT_REACHED', `this daemon serves ${this.#max} ${this.#what} at a time`, {
        hint: 'end some of them, or try again later'
      })
    }
    this.#count += 1
    try {
      return await work()
    } finally {
      this.#count -= 1
    }
  }
}

/** A duration in a query, `500ms`, `30s` or `5m`; read as milliseconds, cut at WAIT_MS_MAX. */
export const waitSchema = z
  .string()
  .regex(/^\d{1,9}(?:ms|s|m)$/, 'must be a duration like 500ms, 30s or 5m')
  .transform(text => {
    const unit = text.endsWith('ms') ? 1 : text.endsWith('s') ? 1_000 : 60_000
    return Math.min(Number.parseInt(text, 10) * unit, WAIT_MS_MAX)
  })

/** A switch in a query. */
export const flagSchema = z.enum(['0', '1', 'false', 'true']).transform(text => text === '1' || text === 'true')

/** What an id or a prefix of one looks like; whether it exists is for the daemon to say. */
const ID = /^[A-Za-z0-9._:-]{1,300}$/

function checkId(name: string, value: string, pattern: RegExp): void {
  if (!pattern.test(value)) throw new StarlingError('INVALID_INPUT', `${name} in the path is no id`)
}

function check(schema: z.ZodObject, value: unknown, what: string): unknown {
  const checked = schema.safeParse(value)
  if (!checked.success) throw validationError(checked.error, what)
  return checked.data
}
