import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CERTIFICATE_BYTES, CHAIN_LENGTH_MAX } from '../../src/libp2p/certificate.ts'
import { GATE_CODES, GateError } from '../../src/libp2p/gate-error.ts'
import {
  decodeGateMessage,
  encodeGateMessage,
  GATE_MESSAGE_BYTES_MAX,
  type GateMessage
} from '../../src/libp2p/gate-message.ts'

const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(array => Buffer.from(array).toString('hex'))
const chain = fc.array(fc.uint8Array({ minLength: CERTIFICATE_BYTES, maxLength: CERTIFICATE_BYTES }), {
  minLength: 1,
  maxLength: CHAIN_LENGTH_MAX
})
const opening = { boot: hex(8), nonce: hex(16), replaces: hex(16) }
const message: fc.Arbitrary<GateMessage> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), ...opening, chain }),
  fc.record({
    kind: fc.constant('join' as const),
    ...opening,
    tokenId: hex(8),
    proof: fc.uint8Array({ minLength: 32, maxLength: 32 })
  }),
  fc.record({
    kind: fc.constant('accept' as const),
    boot: hex(8),
    chain,
    issued: fc.option(chain, { nil: undefined })
  }),
  fc.record({
    kind: fc.constant('refuse' as const),
    code: fc.constantFrom(...GATE_CODES),
    nonce: fc.option(
      hex(16).filter(nonce => /[^0]/.test(nonce)),
      { nil: undefined }
    )
  })
)

describe('a message of the gate', () => {
  test('is read as it was written, and never longer than the bound', () => {
    fc.assert(
      fc.property(message, value => {
        const encoded = encodeGateMessage(value)
        expect(encoded.length).toBeLessThanOrEqual(GATE_MESSAGE_BYTES_MAX)
        expect(decodeGateMessage(encoded)).toEqual(value)
      })
    )
  })

  test('is malformed when it is cut off or goes on, at any place', () => {
    fc.assert(
      fc.property(
        message.filter(({ kind }) => kind === 'hello' || kind === 'join'),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (value, part) => {
          const encoded = encodeGateMessage(value)
          expect(() => decodeGateMessage(encoded.subarray(0, Math.floor(part * encoded.length)))).toThrow(GateError)
          expect(() => decodeGateMessage(Buffer.concat([encoded, Buffer.from([0])]))).toThrow(GateError)
        }
      )
    )
  })

  test('of any bytes at all is read or refused, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), bytes => {
        try {
          decodeGateMessage(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(GateError)
        }
      }),
      { numRuns: 1_000 }
    )
  })

  test('with a reason that this version does not know is a plain failure', () => {
    const refusal = Buffer.concat([Buffer.from([4]), Buffer.alloc(16), Buffer.from('from-the-future')])
    expect(decodeGateMessage(refusal)).toEqual({ kind: 'refuse', code: 'failed', nonce: undefined })
  })
})
