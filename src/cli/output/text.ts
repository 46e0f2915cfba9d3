/** How single values are written for people: ages, durations, ids, text from elsewhere. */

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** Characters of a peer id that are shown: the constant head "12D3KooW" and six that differ; it works as a prefix. */
const PEER_ID_SHOWN_CHARS = 14

/** Characters of a job id that are shown: 50 random bits, far more than the jobs that one daemon keeps. */
const JOB_ID_SHOWN_CHARS = 10

/** "350 ms", "4.2 s", "3 min 5 s", "2 h 10 min", "3 d 4 h". */
export function duration(ms: number): string {
  if (ms < 1) return '< 1 ms'
  if (ms < SECOND_MS) return `${Math.floor(ms)} ms`
  if (ms < 10 * SECOND_MS) return `${(Math.floor(ms / 100) / 10).toString()} s`
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`
  if (ms < HOUR_MS) return pair(ms, MINUTE_MS, 'min', SECOND_MS, 's')
  if (ms < DAY_MS) return pair(ms, HOUR_MS, 'h', MINUTE_MS, 'min')
  return pair(ms, DAY_MS, 'd', HOUR_MS, 'h')
}

function pair(ms: number, big: number, bigUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((ms % big) / small)
  const head = `${Math.floor(ms / big)} ${bigUnit}`
  return rest === 0 ? head : `${head} ${rest} ${smallUnit}`
}

/** "3 s ago", "5 min ago": the biggest unit only; "unknown" for no time. A clock that was set back counts as now. */
export function age(time: string | null, nowMs: number): string {
  if (time === null) return 'unknown'
  const ms = Math.max(0, nowMs - Date.parse(time))
  if (ms < SECOND_MS) return 'now'
  const unitMs = [DAY_MS, HOUR_MS, MINUTE_MS].find(unit => ms >= unit) ?? SECOND_MS
  return `${duration(ms - (ms % unitMs))} ago`
}

export function shortPeerId(id: string): string {
  return id.slice(0, PEER_ID_SHOWN_CHARS)
}

export function shortJobId(id: string): string {
  return id.slice(0, JOB_ID_SHOWN_CHARS)
}

/** "1 task", "2 tasks". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** Cuts a text to one line of at most `chars` characters. */
export function oneLine(text: string, chars: number): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length <= chars ? line : `${line.slice(0, chars - 3)}...`
}

/**
 * Text from elsewhere for a terminal: control characters become U+FFFD, except line feeds, tabs and colours (SGR). A
 * result or a log line of another host can so not move the cursor, set the title or answer for the user.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
  const pattern = /(\u001b\[[0-9;]*m|\r(?=\n))|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g
  return text.replaceAll(pattern, (_, kept: string | undefined) => kept ?? '\ufffd')
}
