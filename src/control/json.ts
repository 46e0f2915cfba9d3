import type { IncomingMessage } from 'node:http'
import { BODY_BYTES_MAX } from '../wire/api/limits.ts'
import { StarlingError } from '../wire/errors.ts'
import { JSON_DEPTH_MAX } from './limits.ts'

/**
 * Reads and parses the body of a request; undefined when it is empty. Stops to read at BODY_BYTES_MAX.
 * @throws StarlingError INPUT_TOO_LARGE, INVALID_JSON, INVALID_INPUT (nested too deep)
 */
export async function readJson(incoming: IncomingMessage): Promise<unknown> {
  if (Number(incoming.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLarge()
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > BODY_BYTES_MAX) throw tooLarge()
    chunks.push(chunk)
  }
  return length === 0 ? undefined : parseJson(Buffer.concat(chunks))
}

/** Parses UTF-8 JSON from a client. @throws StarlingError INVALID_JSON, INVALID_INPUT (nested too deep) */
export function parseJson(bytes: Uint8Array): unknown {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'not valid UTF-8'
    throw new StarlingError('INVALID_JSON', `the body is no valid JSON: ${reason}`, { cause: error })
  }
  if (!isNestedWithin(value, JSON_DEPTH_MAX)) {
    throw new StarlingError('INVALID_INPUT', `the JSON value is nested deeper than ${JSON_DEPTH_MAX} levels`)
  }
  return value
}

/** Level by level, since a recursive walk is what a deep value would break. */
function isNestedWithin(value: unknown, levels: number): boolean {
  let current = [value].filter(isContainer)
  for (let level = 0; level < levels && current.length > 0; level += 1) {
    const next: object[] = []
    for (const container of current) {
      for (const child of Object.values(container)) if (isContainer(child)) next.push(child)
    }
    current = next
  }
  return current.length === 0
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function tooLarge(): StarlingError {
  return new StarlingError('INPUT_TOO_LARGE', `the request body is longer than ${BODY_BYTES_MAX} bytes`, {
    hint: 'pass a path or a reference instead of the data'
  })
}
