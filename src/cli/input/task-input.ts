import { INPUT_BYTES_MAX, TEXT_QUOTES_BYTES } from '../../wire/api/limits.ts'
import { StarlingError } from '../../wire/errors.ts'
import { jsonErrorOffset } from './json-position.ts'

/** Characters of the input that are shown before and after the place of a mistake. */
const EXCERPT_CHARS = 20

/**
 * The value that INPUT stands for: `-` is read from stdin; what begins with `{`, `[` or `"` is JSON; anything else is
 * text, kept to the last character. Left out: null.
 *
 * @throws StarlingError INVALID_JSON, INPUT_TOO_LARGE, INVALID_INPUT when stdin is not UTF-8
 */
export async function taskInput(argument: string | undefined, stdin: AsyncIterable<Buffer>): Promise<unknown> {
  if (argument === undefined) return null
  const value = parseInput(argument === '-' ? await readText(stdin) : argument)
  // The quotes of a plain text do not count: 1 MiB of text is 1 MiB.
  const quotes = typeof value === 'string' ? TEXT_QUOTES_BYTES : 0
  if (encodedBytes(value) - quotes > INPUT_BYTES_MAX) throw tooLarge('the input, written as JSON,')
  return value
}

function encodedBytes(value: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(value))
  } catch (cause) {
    // The only thing that parsed JSON can fail with here is the depth of the stack.
    throw new StarlingError('INVALID_INPUT', 'the input is nested too deep', { cause })
  }
}

/** @throws StarlingError INVALID_JSON */
export function parseInput(text: string): unknown {
  if (!/^[{["]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch (cause) {
    const offset = jsonErrorOffset(text) ?? text.length
    const before = text.slice(0, offset)
    const line = before.split('\n').length
    const column = offset - before.lastIndexOf('\n')
    throw new StarlingError(
      'INVALID_JSON',
      `the input is not valid JSON at line ${line}, column ${column}: ${excerpt(text, offset)}`,
      { hint: 'input that begins with {, [ or " must be JSON; quote it for the shell: \'{"dir": "src"}\'', cause }
    )
  }
}

function excerpt(text: string, offset: number): string {
  if (offset >= text.length) return 'it ends too early'
  const before = text.slice(Math.max(0, offset - EXCERPT_CHARS), offset)
  return `${before} >>>${text.slice(offset, offset + EXCERPT_CHARS)}`.replaceAll(/\s+/g, ' ')
}

/** All of stdin; stops reading as soon as it is too long. */
async function readText(stdin: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of stdin) {
    bytes += part.length
    if (bytes > INPUT_BYTES_MAX) throw tooLarge('what stdin holds')
    parts.push(part)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
  } catch (cause) {
    throw new StarlingError('INVALID_INPUT', 'what stdin holds is not UTF-8 text', {
      hint: 'hand over the path of a file that the workers can read',
      cause
    })
  }
}

function tooLarge(what: string): StarlingError {
  return new StarlingError('INPUT_TOO_LARGE', `${what} is longer than ${INPUT_BYTES_MAX} bytes`, {
    hint: 'put big data into a file that the workers can read, and hand over its path'
  })
}
