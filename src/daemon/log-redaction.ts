/** Depth of nested fields that is logged. */
const DEPTH_MAX = 4

/** Entries of one list or map, and characters of one text, that are logged. */
const ENTRIES_MAX = 50
const TEXT_CHARS_MAX = 8_192

/** Words that mark a field as secret wherever they stand in its name: `apiKey`, `token_id`, `SEED`. */
const SECRET_WORDS: ReadonlySet<string> = new Set([
  'secret',
  'secrets',
  'seed',
  'token',
  'tokens',
  'key',
  'keys',
  'password'
])

/** A join token in running text. */
const TOKEN_PATTERN = /starling1-[A-Za-z0-9_-]+/g

/** Fields that every line has of its own; one of the same name is set apart. */
const OWN_FIELDS: ReadonlySet<string> = new Set(['time', 'level', 'component', 'message'])

const REDACTED = '[redacted]'

/** The fields of a log line, without secrets, bounded in depth and length, as plain JSON values. */
export function redactFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return redactMap(
    Object.entries(fields).map(([name, value]) => [OWN_FIELDS.has(name) ? `${name}_` : name, value]),
    0
  )
}

export function redactText(text: string): string {
  const cut = text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}... (${text.length} characters)` : text
  return cut.includes('starling1-') ? cut.replace(TOKEN_PATTERN, REDACTED) : cut
}

function redactMap(entries: readonly (readonly [string, unknown])[], depth: number): Record<string, unknown> {
  const plain: Record<string, unknown> = {}
  for (const [name, value] of entries.slice(0, ENTRIES_MAX)) {
    plain[name] = isSecret(name) && value !== undefined ? REDACTED : redact(value, depth + 1)
  }
  return plain
}

function redact(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint' || typeof value === 'symbol' || typeof value === 'function') return String(value)
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return `<${value.length} bytes>`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString()
  if (depth > DEPTH_MAX) return '[deeper]'
  if (value instanceof Error) return redactMap(errorEntries(value), depth)
  if (value instanceof Map)
    return redactMap(
      [...value].map(([name, inner]) => [String(name), inner]),
      depth
    )
  if (Array.isArray(value) || value instanceof Set)
    return [...value].slice(0, ENTRIES_MAX).map(inner => redact(inner, depth + 1))
  return redactMap(Object.entries(value), depth)
}

function errorEntries(error: Error): [string, unknown][] {
  const code = 'code' in error ? [['code', error.code] as [string, unknown]] : []
  const cause = error.cause === undefined ? [] : [['cause', error.cause] as [string, unknown]]
  return [['name', error.name], ['message', error.message], ...code, ['stack', error.stack], ...cause]
}

function isSecret(name: string): boolean {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .some(word => SECRET_WORDS.has(word))
}
