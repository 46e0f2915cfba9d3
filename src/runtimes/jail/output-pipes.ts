import { execFile } from 'node:child_process'
import { closeSync, constants, mkdirSync, openSync, rmSync, unlinkSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Logger } from '../../ports/index.ts'

/** Pipes made at once: one run of mkfifo(1) takes milliseconds whatever their number. */
const BATCH = 32

/** Longest run of mkfifo(1), on a machine under load. */
const MAKE_TIMEOUT_MS = 5_000

/** Bytes read at once: the size of a pipe. */
const READ_BYTES = 64 * 1024

/**
 * Pipes for the output of tasks. The ones that node:child_process makes are socket pairs: a task could not open
 * /dev/stdout or /dev/stderr, and each read would allocate. So these are named pipes whose names are removed as soon as
 * both ends are open.
 */
export class OutputPipes {
  readonly #directory: string
  readonly #logger: Logger
  /** Shared by all: what is read is handed on before anything else is read. */
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  readonly #made: string[] = []
  #making: Promise<void> | undefined
  #count = 0
  #usable = true

  /** `directory` belongs to it alone; what an earlier life has left there is removed. */
  constructor(directory: string, logger: Logger) {
    this.#directory = directory
    this.#logger = logger
  }

  /**
   * A pipe, both ends open; undefined where named pipes cannot be made (the log says why, once).
   * @throws errors of open(2) such as EMFILE
   */
  async take(): Promise<OutputPipe | undefined> {
    while (this.#usable && this.#made.length === 0) {
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined
      })
      await this.#making
    }
    const path = this.#made.pop()
    if (path === undefined) return undefined
    try {
      // A reader that does not wait for its writer; then the writer finds its reader.
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        return new OutputPipe(reader, openSync(path, constants.O_WRONLY), this.#buffer)
      } catch (error) {
        closeSync(reader)
        throw error
      }
    } finally {
      unlinkSync(path)
    }
  }

  /** Removes the directory. */
  close(): void {
    this.#usable = false
    this.#made.length = 0
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async #make(): Promise<void> {
    try {
      if (this.#count === 0) rmSync(this.#directory, { recursive: true, force: true })
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
      const paths = Array.from({ length: BATCH }, () => {
        this.#count += 1
        return join(this.#directory, String(this.#count))
      })
      await promisify(execFile)('mkfifo', ['-m', '600', ...paths], { timeout: MAKE_TIMEOUT_MS })
      this.#made.push(...paths)
    } catch (error) {
      this.#usable = false
      this.#logger.warn('no named pipes: tasks cannot open /dev/stdout and /dev/stderr', { error })
    }
  }
}

/** One pipe. Either `read` or `discard` is called, once. */
export class OutputPipe {
  /** Descriptor for the task's process; closed here by `read` and `discard`. */
  readonly writer: number
  readonly #reader: number
  readonly #buffer: Buffer

  constructor(reader: number, writer: number, buffer: Buffer) {
    this.#reader = reader
    this.writer = writer
    this.#buffer = buffer
  }

  /**
   * To be called when the process has been started: hands on what it writes, in order. A chunk is valid during the call
   * only. The stream emits `close` after the last one, when nobody holds the other end any more or it is destroyed.
   */
  read(chunk: (bytes: Buffer) => void): Socket {
    closeSync(this.writer)
    const socket = new Socket({
      fd: this.#reader,
      readable: true,
      writable: false,
      onread: {
        buffer: this.#buffer,
        callback: (length, bytes) => {
          chunk(Buffer.from(bytes.buffer, bytes.byteOffset, length))
          return true
        }
      }
    })
    // Nothing reads it as a stream, so its end would wait for a reader for ever.
    socket.resume()
    return socket
  }

  /** Closes both ends. */
  discard(): void {
    closeSync(this.writer)
    closeSync(this.#reader)
  }
}
