/** Bounds of the control API that its server and its clients share. Free of schemas, so that a client loads it fast. */
export {
  ATTEMPTS_MAX,
  BACKOFF_MS_MAX,
  DEADLINE_MS_MAX,
  ERROR_MESSAGE_CHARS_MAX,
  FAN_OUT_MAX,
  INPUT_BYTES_MAX,
  RESULT_BYTES_MAX,
  SLOTS_MAX,
  TEXT_QUOTES_BYTES
} from '../../core/limits.ts'

/** Longest message of a worker session: the largest result or input, with room for its envelope and for JSON escapes. */
export const SESSION_MESSAGE_BYTES_MAX = 4 * 1024 * 1024

/** Longest request body, for the same reason: an input that its sender has written with `\u` escapes triples. */
export const BODY_BYTES_MAX = 4 * 1024 * 1024

/** Longest `wait` of one request. Local sockets need no traffic to stay open; the bound only ends forgotten waits. */
export const WAIT_MS_MAX = 10 * 60_000

/** Longest line of a task's log, in characters; what a worker writes beyond it is cut. */
export const LOG_LINE_CHARS_MAX = 16_384

/** Longest note of a progress report, in characters: one line on a terminal. */
export const PROGRESS_NOTE_CHARS_MAX = 1_000
