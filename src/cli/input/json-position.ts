/**
 * Where a text stops being JSON. The engine's own message names a position only for some mistakes, and people with a
 * long input need it for all of them.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: a JSON string must not hold them
const STRING = /"(?:[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y
const BLANK = /[ \t\n\r]*/y

/** Offset of the first character that no JSON text can have there; undefined when the text is JSON. */
export function jsonErrorOffset(text: string): number | undefined {
  const open: ('{' | '[')[] = []
  let at = blank(text, 0)
  for (;;) {
    const start = text[at]
    if (start === '{' || start === '[') {
      open.push(start)
      at = blank(text, at + 1)
      if (text[at] !== closerOf(start)) {
        const next = start === '{' ? key(text, at) : { at, ok: true }
        if (!next.ok) return next.at
        at = next.at
        continue
      }
    } else {
      const scalar = start === '"' ? string(text, at) : matchEnd(SCALAR, text, at)
      if (!scalar.ok) return scalar.at
      at = blank(text, scalar.at)
    }
    // A value has ended, or an empty container is about to.
    const step = afterValue(text, at, open)
    if (step.done) return step.at
    at = step.at
  }
}

interface Step {
  /** Where reading goes on, or where it failed. */
  readonly at: number
  readonly ok: boolean
}

/** Closes containers, then goes on behind a comma. `done` with the offset of the mistake, or undefined at a good end. */
function afterValue(
  text: string,
  from: number,
  open: ('{' | '[')[]
): { done: true; at: number | undefined } | { done: false; at: number } {
  let at = from
  for (;;) {
    const container = open.at(-1)
    if (container === undefined) return { done: true, at: at === text.length ? undefined : at }
    if (text[at] === closerOf(container)) {
      open.pop()
      at = blank(text, at + 1)
      continue
    }
    if (text[at] !== ',') return { done: true, at }
    at = blank(text, at + 1)
    if (container === '[') return { done: false, at }
    const next = key(text, at)
    return next.ok ? { done: false, at: next.at } : { done: true, at: next.at }
  }
}

function key(text: string, at: number): Step {
  if (text[at] !== '"') return { at, ok: false }
  const name = string(text, at)
  if (!name.ok) return name
  const colon = blank(text, name.at)
  return text[colon] === ':' ? { at: blank(text, colon + 1), ok: true } : { at: colon, ok: false }
}

function string(text: string, at: number): Step {
  const body = matchEnd(STRING, text, at)
  return text[body.at] === '"' && body.ok ? { at: body.at + 1, ok: true } : { at: body.at, ok: false }
}

function matchEnd(pattern: RegExp, text: string, at: number): Step {
  pattern.lastIndex = at
  return pattern.test(text) ? { at: pattern.lastIndex, ok: true } : { at, ok: false }
}

function blank(text: string, at: number): number {
  return matchEnd(BLANK, text, at).at
}

function closerOf(opener: '{' | '['): '}' | ']' {
  return opener === '{' ? '}' : ']'
}
