import { RESULT_BYTES_MAX } from '../../core/index.ts'
import type { AttemptLog } from '../attempt-log.ts'
import { LOG_LINE_CHARS_MAX } from '../attempt-log.ts'

/** End of stderr that is kept for the error of a failed task: some lines of a stack trace. */
const TAIL_BYTES = 4 * 1024

const TAIL_LINES_MAX = 20

const LINE_END = 0x0a

/** Enough for most results. */
const BUFFER_BYTES_MIN = 4 * 1024

/** Collects stdout up to RESULT_BYTES_MAX; beyond that it forgets what it has and takes nothing more. */
export class ResultCollector {
  /** One buffer, since a task may write byte by byte. */
  #buffer = Buffer.alloc(0)
  #bytes = 0

  get tooLarge(): boolean {
    return this.#bytes > RESULT_BYTES_MAX
  }

  /** Copies `chunk`. */
  push(chunk: Buffer): void {
    if (this.tooLarge) return
    const bytes = this.#bytes + chunk.length
    if (bytes <= RESULT_BYTES_MAX) {
      if (bytes > this.#buffer.length) {
        const larger = Buffer.alloc(
          Math.min(RESULT_BYTES_MAX, Math.max(2 * this.#buffer.length, bytes, BUFFER_BYTES_MIN))
        )
        this.#buffer.copy(larger, 0, 0, this.#bytes)
        this.#buffer = larger
      }
      chunk.copy(this.#buffer, this.#bytes)
    } else this.#buffer = Buffer.alloc(0)
    this.#bytes = bytes
  }

  /** JSON if it parses; else text (UTF-8, wrong bytes as U+FFFD) without its last end of line, as `$(...)` gives it. */
  result(): unknown {
    const text = this.#buffer.toString('utf8', 0, this.#bytes)
    try {
      return JSON.parse(text)
    } catch {
      // Not JSON, so it is text; that is no error.
      return text.replace(/\r?\n$/, '')
    }
  }
}

/** Turns stderr into lines of the log, in bounded memory and time, and keeps its end. */
export class LogReader {
  readonly #log: AttemptLog
  readonly #decoder = new TextDecoder()
  #line = ''
  readonly #tail = Buffer.alloc(TAIL_BYTES)
  #tailBytes = 0
  /** The rest of a line whose beginning was left out is left out too. */
  #skipping = false

  constructor(log: AttemptLog) {
    this.#log = log
  }

  /** Keeps nothing of `chunk` itself. */
  push(chunk: Buffer): void {
    this.#keepTail(chunk.subarray(-TAIL_BYTES))
    if (!this.#log.accepts) {
      this.#leaveOut(chunk.length, chunk.at(-1) === LINE_END)
      return
    }
    const text = this.#decoder.decode(chunk, { stream: true })
    let start = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      if (!this.#log.accepts) break
      if (this.#skipping) this.#log.leaveOut(end + 1 - start)
      else {
        this.#extend(text, start, end)
        this.#flush()
      }
      this.#skipping = false
      start = end + 1
    }
    if (this.#skipping || !this.#log.accepts) this.#leaveOut(text.length - start, text.endsWith('\n'))
    else this.#extend(text, start, text.length)
  }

  end(): void {
    if (this.#line !== '') this.#flush()
    this.#log.end()
  }

  /** The last lines, without blank ones at the end. */
  tail(): string {
    return this.#tail.toString('utf8', 0, this.#tailBytes).trimEnd().split(/\r?\n/).slice(-TAIL_LINES_MAX).join('\n')
  }

  #keepTail(bytes: Buffer): void {
    const kept = Math.min(this.#tailBytes, TAIL_BYTES - bytes.length)
    this.#tail.copyWithin(0, this.#tailBytes - kept, this.#tailBytes)
    bytes.copy(this.#tail, kept)
    this.#tailBytes = kept + bytes.length
  }

  #leaveOut(chars: number, endsLine: boolean): void {
    if (chars === 0) return
    this.#log.leaveOut(this.#line.length + chars)
    this.#line = ''
    this.#skipping = !endsLine
  }

  /** One character more than a line may have is kept, so that the log sees that something was cut off. */
  #extend(text: string, start: number, end: number): void {
    const room = LOG_LINE_CHARS_MAX + 1 - this.#line.length
    if (room > 0) this.#line += text.slice(start, Math.min(end, start + room))
  }

  #flush(): void {
    this.#log.line(this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line)
    this.#line = ''
  }
}
