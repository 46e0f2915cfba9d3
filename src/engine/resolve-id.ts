import { StarlingError } from '../core/index.ts'

/** Shortest prefix of an id that is accepted in its place. */
export const ID_PREFIX_CHARS_MIN = 4

/** Ids named in the message about an ambiguous prefix. */
const NAMED_MAX = 5

/** Where the ids of a noun are listed. */
const LISTS = { job: 'starling jobs', peer: 'starling peers', task: 'starling job ID' } as const

/**
 * The one id that `wanted` is, or is a unique prefix of. @throws StarlingError NOT_FOUND; AMBIGUOUS_ID naming the
 * matches; `what` is the noun for the message ("job").
 */
export function resolveId(what: keyof typeof LISTS, wanted: string, ids: Iterable<string>): string {
  const matches: string[] = []
  for (const id of ids) {
    if (id === wanted) return id
    if (wanted.length >= ID_PREFIX_CHARS_MIN && id.startsWith(wanted)) matches.push(id)
  }
  const [only] = matches
  if (only === undefined) {
    const short = wanted.length < ID_PREFIX_CHARS_MIN
    const hint = short ? `a prefix needs at least ${ID_PREFIX_CHARS_MIN} characters` : `list them with: ${LISTS[what]}`
    throw new StarlingError('NOT_FOUND', `there is no ${what} "${wanted}"`, { hint })
  }
  if (matches.length > 1) {
    const named = matches.slice(0, NAMED_MAX).join(', ') + (matches.length > NAMED_MAX ? ', ...' : '')
    throw new StarlingError('AMBIGUOUS_ID', `"${wanted}" matches ${matches.length} ${what}s: ${named}`, {
      hint: 'give more characters of the id'
    })
  }
  return only
}
