import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeChunks, decodeRecord, encodeChunks, encodeRecord, recordChecksum } from '../../src/store/record-codec.ts'
import { anyRecord, bytes, settled } from '../helpers/journal-samples.ts'

test('every kind of record survives encoding', () => {
  fc.assert(
    fc.property(anyRecord, record => {
      expect(plain(decodeRecord(encodeRecord(record)))).toEqual(plain(JSON.parse(JSON.stringify(plain(record)))))
    })
  )
})

test('byte fields cost their length and little more', () => {
  const empty = encodeRecord(settled(new Uint8Array(0))).length
  const full = encodeRecord(settled(new Uint8Array(1_000), [new Uint8Array(500)])).length
  expect(full - empty).toBeLessThan(1_500 + 32)
})

test('bytes that were cut off or made longer do not decode', () => {
  const encoded = encodeRecord({
    kind: 'submitted',
    job: 'j',
    capability: 'c',
    input: bytes('input'),
    on: undefined,
    traceparent: '',
    submittedAt: 0
  })
  for (let length = 0; length < encoded.length; length += 1) {
    expect(() => decodeRecord(encoded.subarray(0, length)), `${length} bytes`).toThrow()
  }
  expect(() => decodeRecord(Buffer.concat([encoded, Buffer.alloc(4)]))).toThrow()
})

test('chunks come back as they went in, wherever their bytes lie', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), fc.nat(8), (chunks, offset) => {
      const encoded = encodeChunks(chunks)
      const moved = new Uint8Array(encoded.length + offset)
      moved.set(encoded, offset)
      expect(decodeChunks(moved.subarray(offset)).map(chunk => [...chunk])).toEqual(chunks.map(chunk => [...chunk]))
    })
  )
})

test('the checksum covers the place of a record, not only its bytes', () => {
  const body = bytes('body')
  const sums = [
    recordChecksum(1, 'a', 0, body),
    recordChecksum(2, 'a', 0, body),
    recordChecksum(1, 'b', 0, body),
    recordChecksum(1, 'a', 1, body),
    recordChecksum(1, 'a', 0, bytes('bodx'))
  ]
  expect(new Set(sums).size).toBe(sums.length)
})

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? 0 : value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}
