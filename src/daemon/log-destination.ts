import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs'

/** Where finished lines go. `write` never throws: a daemon must not die of its log. */
export interface LogDestination {
  write(line: string): void
}

/** A log file longer than this is put aside as `FILE.1`, of which one is kept. */
export const LOG_BYTES_MAX = 10 * 1024 * 1024

/** The part of a stream like `process.stderr` that is used. */
export interface LogStream {
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** Lines to a stream: JSON as it is, and for people when it is a terminal. Ends silently when nobody reads any more. */
export function streamDestination(stream: LogStream): LogDestination {
  let open = true
  stream.on('error', () => {
    // The reader is gone, and with it the only place where this could be told.
    open = false
  })
  const format = stream.isTTY === true ? forPeople : (line: string) => line
  return {
    write(line) {
      if (open) stream.write(format(line))
    }
  }
}

/**
 * Lines to a file (0600), appended, each written before `write` returns. Lines that do not fit on the disk are counted
 * and told by the next one that does.
 *
 * @throws Error of the file system when the file cannot be opened.
 */
export function fileDestination(path: string, bytesMax: number = LOG_BYTES_MAX): LogDestination {
  let file = openSync(path, 'a', 0o600)
  let size = fstatSync(file).size
  let lost = 0
  const append = (text: string) => {
    size += writeSync(file, text)
  }
  const rotate = () => {
    renameSync(path, `${path}.1`)
    const next = openSync(path, 'a', 0o600)
    closeSync(file)
    file = next
    size = 0
  }
  return {
    write(line) {
      try {
        if (size > 0 && size + Buffer.byteLength(line) > bytesMax) rotate()
        if (lost > 0) append(`${JSON.stringify({ level: 'warn', message: 'log lines lost', lines: lost })}\n`)
        lost = 0
        append(line)
      } catch {
        // Told in the file as soon as it takes lines again.
        lost += 1
      }
    }
  }
}

/** `12:00:00.123 warn  engine: message peer=12D3... code=...`; what is no JSON stays as it is. */
function forPeople(line: string): string {
  try {
    const { time, level, component, message, ...fields } = JSON.parse(line) as Record<string, unknown>
    const rest = Object.entries(fields).map(
      ([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`
    )
    const from = component === undefined ? '' : `${component}: `
    return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${from}${message}${rest.join('')}\n`
  } catch {
    // Only a line that was cut is no JSON; it is still worth to be seen.
    return line
  }
}
