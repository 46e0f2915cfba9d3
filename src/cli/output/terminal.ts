import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import { document } from '../../wire/api/document.ts'
import { printable } from './text.ts'

type Format = Parameters<typeof styleText>[0]

/** What is used of a standard stream; a pipe has no columns. */
export type OutputStream = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>

/**
 * The two output streams. Data goes to stdout, everything about how it went to stderr. Colour and symbols depend on the
 * stream that they are written to, on NO_COLOR and on the locale.
 */
export class Terminal {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  /** Symbols beyond ASCII may be written: a terminal with a UTF-8 locale. */
  readonly unicode: boolean
  /** The terminal cannot move its cursor. */
  readonly dumb: boolean
  readonly #closed = new AbortController()

  constructor(stdout: OutputStream, stderr: OutputStream, env: NodeJS.ProcessEnv) {
    this.stdout = stdout
    this.stderr = stderr
    this.unicode = stdout.isTTY === true && /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '')
    this.dumb = env.TERM === 'dumb'
    for (const stream of [stdout, stderr]) stream.on('error', (error: Error) => this.#failed(error))
  }

  /** Aborts when the reader of stdout or stderr has gone away: `starling events -f | head`. */
  get closed(): AbortSignal {
    return this.#closed.signal
  }

  /** Writes lines of data. On a terminal control characters are made visible: the text may come from another host. */
  out(text: string): void {
    this.#write(this.stdout, `${this.stdout.isTTY ? printable(text) : text}\n`)
  }

  /** Writes text exactly as it is when stdout is no terminal; else as `out`. Adds an end of line where there is none. */
  raw(text: string): void {
    if (text === '') return
    this.#write(this.stdout, (this.stdout.isTTY ? printable(text) : text) + (text.endsWith('\n') ? '' : '\n'))
  }

  /** Writes a line about how it went to stderr. */
  note(text: string): void {
    this.#write(this.stderr, `${printable(text)}\n`)
  }

  /** Writes one document: a single line, or indented when a person reads it. */
  json(kind: string, value: object): void {
    this.#write(this.stdout, `${JSON.stringify(document(kind, value), null, this.stdout.isTTY ? 2 : undefined)}\n`)
  }

  /** Writes one document as a single line, whoever reads it: for streams of documents. */
  jsonLine(kind: string, value: object): void {
    this.#write(this.stdout, `${JSON.stringify(document(kind, value))}\n`)
  }

  style(format: Format, text: string): string {
    return styleText(format, text, { stream: this.stdout })
  }

  noteStyle(format: Format, text: string): string {
    return styleText(format, text, { stream: this.stderr })
  }

  /** Resolves when everything written so far has been handed to the system, or can never be. */
  async flush(): Promise<void> {
    await Promise.all(
      [this.stdout, this.stderr].map(stream => new Promise<void>(done => stream.write('', () => done())))
    )
  }

  #write(stream: OutputStream, text: string): void {
    if (!this.closed.aborted) stream.write(text)
  }

  #failed(error: NodeJS.ErrnoException): void {
    // The reader has seen enough; that is no error of this program.
    if (error.code !== 'EPIPE') throw error
    this.#closed.abort()
  }
}
