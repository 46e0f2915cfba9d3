import type * as z from 'zod'
import { StarlingError } from '../core/errors.ts'
import { LATER_KEYS, validKeys } from './config-schema.ts'
import { nearest } from './nearest.ts'

/** Problems told at once; the rest is told after these are solved. */
export const PROBLEMS_MAX = 20

/** One line for each issue of a source, each with its place. */
export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  values: unknown,
  locate: (path: readonly PropertyKey[]) => string
): string[] {
  return issues
    .filter(issue => !followsFromRuntime(issue, issues) && !followsFromType(issue, issues))
    .flatMap(issue => describe(issue, values, locate))
}

/** @throws StarlingError CONFIG_INVALID when there is a problem. */
export function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return
  const more = problems.length - PROBLEMS_MAX
  const lines = more > 0 ? [...problems.slice(0, PROBLEMS_MAX), `and ${more} more`] : problems
  throw new StarlingError('CONFIG_INVALID', lines.join('\n'), { hint: 'correct it and start again' })
}

/** Keys of another runtime are no mistakes of their own. */
function followsFromRuntime(issue: z.core.$ZodIssue, issues: readonly z.core.$ZodIssue[]): boolean {
  const [top, capability, key] = issue.path
  if (top !== 'capabilities' || key === 'runtime') return false
  return issues.some(({ path }) => path[0] === top && path[1] === capability && path[2] === 'runtime')
}

/** A value of the wrong type is not also too long. */
function followsFromType(issue: z.core.$ZodIssue, issues: readonly z.core.$ZodIssue[]): boolean {
  const place = issue.path.join('.')
  return issues.some(other => other !== issue && other.code === 'invalid_type' && other.path.join('.') === place)
}

function describe(
  issue: z.core.$ZodIssue,
  values: unknown,
  locate: (path: readonly PropertyKey[]) => string
): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => `${locate([...issue.path, key])}: ${unknownKey(key, issue.path)}`)
  }
  const at = issue.path.length === 0 ? '' : `${issue.path.join('.')}: `
  return [`${locate(issue.path)}: ${at}${complaint(issue, valueAt(values, issue.path))}`]
}

function unknownKey(key: string, path: readonly PropertyKey[]): string {
  const where = path.length === 0 ? '' : ` in ${path.join('.')}`
  if (LATER_KEYS.includes(key)) return `key "${key}"${where} is not available in this version`
  const keys = validKeys(path)
  const meant = nearest(key, keys)
  return `unknown key "${key}"${where}; ${meant === undefined ? `valid keys are ${keys.join(', ')}` : `did you mean "${meant}"?`}`
}

function complaint(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message
  if (issue.code !== 'invalid_type') return issue.message
  const expected = EXPECTED[issue.expected] ?? issue.expected
  if (value === undefined) return `missing; expected ${expected}`
  const quotes = issue.expected === 'string' && typeof value !== 'object' ? ' (write it in quotes)' : ''
  return `expected ${expected}, got ${found(value)}${quotes}`
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'text',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  int: 'a whole number',
  number: 'a whole number'
}

function found(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  return `${typeof value === 'string' ? 'the text ' : ''}${JSON.stringify(value).slice(0, 80)}`
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  let value = values
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<PropertyKey, unknown>)[step]
  }
  return value
}
