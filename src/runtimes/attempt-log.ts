import type { Clock } from '../ports/index.ts'
import { clipEnd } from './attempt-end.ts'

/** One line; what a worker may send in one message of its session. */
export const LOG_LINE_CHARS_MAX = 16_384

/** Lines of one attempt in one second: more cannot be read by anybody, but would keep the daemon busy. */
export const LOG_LINES_PER_SECOND_MAX = 1_000

/** Characters of one attempt's whole log. */
export const LOG_CHARS_MAX = 8 * 1024 * 1024

const WINDOW_MS = 1_000

/**
 * Bounds one attempt's log: hands lines on, says how many characters it has left out, and stops at LOG_CHARS_MAX. Who
 * reads lines from a stream asks `accepts` first: splitting what will be left out can cost more than writing it.
 */
export class AttemptLog {
  readonly #clock: Clock
  readonly #emit: (line: string) => void
  #windowEnd = 0
  #linesInWindow = 0
  #leftOut = 0
  #chars = 0

  constructor(clock: Clock, emit: (line: string) => void) {
    this.#clock = clock
    this.#emit = emit
  }

  /** Whether a line would be handed on now: if not, it is too fast, or the log is `full`. */
  get accepts(): boolean {
    if (this.full) return false
    const now = this.#clock.now()
    if (now >= this.#windowEnd) {
      this.#windowEnd = now + WINDOW_MS
      this.#linesInWindow = 0
      this.#tellLeftOut()
    }
    return this.#linesInWindow < LOG_LINES_PER_SECOND_MAX
  }

  /** No further line will be handed on. */
  get full(): boolean {
    return this.#chars >= LOG_CHARS_MAX
  }

  line(text: string): void {
    if (!this.accepts) {
      this.leaveOut(text.length + 1)
      return
    }
    this.#linesInWindow += 1
    const line = clipEnd(text, LOG_LINE_CHARS_MAX)
    // An empty line is one character too, or a flood of them would never end.
    this.#chars += line.length + 1
    this.#emit(line)
    if (this.full) this.#emit(`[log ends here: longer than ${LOG_CHARS_MAX} characters]`)
  }

  /** Counts what the caller does not hand in because `accepts` was false. */
  leaveOut(chars: number): void {
    if (!this.full) this.#leftOut += chars
  }

  /** To be called after the last line. */
  end(): void {
    this.#tellLeftOut()
  }

  #tellLeftOut(): void {
    if (this.#leftOut === 0) return
    this.#emit(`[${this.#leftOut} characters left out: more than ${LOG_LINES_PER_SECOND_MAX} lines in a second]`)
    this.#leftOut = 0
  }
}
