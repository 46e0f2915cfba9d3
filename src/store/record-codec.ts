import { crc32 } from 'node:zlib'
import type { JobId } from '../core/ids.ts'
import type { LedgerRecord } from '../core/termination/records.ts'

/**
 * Record as bytes: `u32 length of head | head | (u32 length | bytes)*`, numbers big-endian.
 *
 * The head is JSON `[fields, shape]`: `fields` is the record without its byte fields, `shape` lists those as
 * `[name, count]`, where a count of -1 means one value and any other a list; their bytes follow in that order. Byte
 * fields are `Uint8Array` or lists of them at the top level of a record, nowhere deeper.
 */
export function encodeRecord(record: LedgerRecord): Buffer {
  const fields: Record<string, unknown> = {}
  const shape: [name: string, count: number][] = []
  const chunks: Uint8Array[] = []
  for (const [name, value] of Object.entries(record)) {
    if (value instanceof Uint8Array) {
      shape.push([name, -1])
      chunks.push(value)
    } else if (isByteList(value)) {
      shape.push([name, value.length])
      for (const item of value) chunks.push(item)
    } else fields[name] = value
  }
  const head = Buffer.from(JSON.stringify([fields, shape]))
  return encodeChunks([head, ...chunks])
}

/** @throws Error when `body` was not made by `encodeRecord`. Byte fields share the memory of `body`. */
export function decodeRecord(body: Uint8Array): LedgerRecord {
  const [head, ...chunks] = decodeChunks(body)
  if (head === undefined) throw new Error('record without head')
  const [fields, shape] = JSON.parse(Buffer.from(head).toString()) as [Record<string, unknown>, [string, number][]]
  let next = 0
  for (const [name, count] of shape) {
    fields[name] = count === -1 ? chunks[next] : chunks.slice(next, next + count)
    next += Math.abs(count)
  }
  if (next !== chunks.length) throw new Error('record with bytes left over')
  return fields as LedgerRecord
}

/** Byte strings one after the other, each with its length before it. */
export function encodeChunks(chunks: readonly Uint8Array[]): Buffer {
  let length = 0
  for (const chunk of chunks) length += 4 + chunk.length
  const bytes = Buffer.allocUnsafe(length)
  let offset = 0
  for (const chunk of chunks) {
    offset = bytes.writeUInt32BE(chunk.length, offset)
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}

/** @throws Error when the lengths do not add up. The results share the memory of `bytes`. */
export function decodeChunks(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const chunks: Uint8Array[] = []
  let offset = 0
  while (offset < bytes.length) {
    const start = offset + 4
    const end = start + view.getUint32(offset)
    if (end > bytes.length) throw new Error('chunk longer than its bytes')
    chunks.push(bytes.subarray(start, end))
    offset = end
  }
  return chunks
}

/** Checksum of a row: its body and its place, so that a row that strayed is found out as well as a flipped bit. */
export function rowChecksum(place: readonly (string | number)[], ...bodies: readonly Uint8Array[]): number {
  let sum = crc32(place.join('/'))
  for (const body of bodies) sum = crc32(body, sum)
  return sum
}

export function recordChecksum(sequence: number, job: JobId, position: number, body: Uint8Array): number {
  return rowChecksum([sequence, job, position], body)
}

function isByteList(value: unknown): value is readonly Uint8Array[] {
  return Array.isArray(value) && value.length > 0 && value.every(item => item instanceof Uint8Array)
}
