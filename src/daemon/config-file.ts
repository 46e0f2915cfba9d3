import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml'
import { StarlingError } from '../core/errors.ts'

/** A configuration is written by hand; a file longer than this is another file. */
export const CONFIG_BYTES_MAX = 1024 * 1024

/** A parsed file that knows where its keys are. */
export interface ConfigFile {
  readonly path: string
  /** Plain values; undefined when the file is empty. */
  readonly values: unknown
  /** `FILE:LINE:COLUMN` of the key at `path`, or of the nearest one above it that is there. */
  locate(path: readonly PropertyKey[]): string
}

/**
 * Reads a YAML 1.2 file. Undefined when there is none.
 *
 * @throws StarlingError CONFIG_INVALID when it cannot be read or parsed, or when everybody may write it: its commands run here.
 */
export function readConfigFile(path: string): ConfigFile | undefined {
  const text = readText(path)
  return text === undefined ? undefined : parseConfigText(text, path)
}

/** @throws StarlingError CONFIG_INVALID naming line and column of what is no YAML. */
export function parseConfigText(text: string, path: string): ConfigFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true })
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${path}:${line}:${col}`
  }
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined) throw invalid(`${place(problem.pos[0])}: ${problem.message}`)
  const hidden = prototypeKey(document)
  if (hidden !== undefined) throw invalid(`${place(hidden)}: "__proto__" cannot be a key`)
  return {
    path,
    values: toValues(document, path),
    locate: steps => place(offsetOf(document, steps))
  }
}

function toValues(document: Document.Parsed, path: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? undefined
  } catch (error) {
    throw invalid(`${path}: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/** Plain objects, and what checks them, pass over this key without a word. */
function prototypeKey(document: Document.Parsed): number | undefined {
  let offset: number | undefined
  visit(document, {
    Pair(_, { key }) {
      if (!isScalar(key) || key.value !== '__proto__') return undefined
      offset = key.range?.[0] ?? 0
      return visit.BREAK
    }
  })
  return offset
}

function offsetOf(document: Document.Parsed, steps: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = 0
  for (const step of steps) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      if (!isScalar(pair?.key)) return offset
      offset = pair.key.range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)]
      if (isScalar(item) || isMap(item) || isSeq(item) || isAlias(item)) offset = item.range?.[0] ?? offset
      node = item
    } else return offset
  }
  return offset
}

function readText(path: string): string | undefined {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw unreadable(path, error)
  }
  try {
    const { size, mode } = fstatSync(file)
    if (process.platform !== 'win32' && (mode & 0o002) !== 0) {
      throw invalid(`${path} can be written by everybody, and its commands run here`, undefined, `chmod o-w ${path}`)
    }
    if (size > CONFIG_BYTES_MAX) throw invalid(`${path} has ${size} bytes, at most ${CONFIG_BYTES_MAX} are read`)
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file))
  } catch (error) {
    throw error instanceof StarlingError ? error : unreadable(path, error)
  } finally {
    closeSync(file)
  }
}

function unreadable(path: string, cause: unknown): StarlingError {
  return invalid(`cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
}

function invalid(message: string, cause?: unknown, hint = 'correct the file and start again'): StarlingError {
  return new StarlingError('CONFIG_INVALID', message, { hint, cause })
}
