import { CERTIFICATE_BYTES, CHAIN_LENGTH_MAX } from './certificate.ts'
import { type GateCode, GateError, isGateCode } from './gate-error.ts'

/**
 * The messages of the gate, each length-prefixed (varint) on the encrypted connection. Layouts of fixed size, because
 * a stranger's bytes are read before anything about it is known. A chain is one count byte and its certificates.
 *
 * hello:  1, boot (8), nonce (16), replaces (16), chain
 * join:   2, boot (8), nonce (16), replaces (16), token id (8), proof (32)
 * accept: 3, boot (8), chain of the answerer, and after a join the new chain of the joiner
 * refuse: 4, nonce of the link in question or zeros (16), code in ASCII
 */
export type GateMessage =
  | ({ readonly kind: 'hello'; readonly chain: readonly Uint8Array[] } & Opening)
  /** `tokenId`: hex. */
  | ({ readonly kind: 'join'; readonly tokenId: string; readonly proof: Uint8Array } & Opening)
  | {
      readonly kind: 'accept'
      readonly boot: string
      readonly chain: readonly Uint8Array[]
      readonly issued: readonly Uint8Array[] | undefined
    }
  | { readonly kind: 'refuse'; readonly code: GateCode; readonly nonce: string | undefined }

/** What every dialler says of itself and its link; all hex. */
export interface Opening {
  /** Nonce of the dialler's boot: another boot of the same peer makes its old link stale. */
  readonly boot: string
  /** Name of the link that is to be made. */
  readonly nonce: string
  /** Name of a link that the dialler knows to be dead; NO_NONCE when none. */
  readonly replaces: string
}

const BOOT_BYTES = 8
export const NONCE_BYTES = 16
export const NO_NONCE = '0'.repeat(2 * NONCE_BYTES)
const TOKEN_ID_BYTES = 8
const PROOF_BYTES = 32
const CODE_BYTES_MAX = 32

/** Longest message: an accept with two chains of full length, rounded up. */
export const GATE_MESSAGE_BYTES_MAX = 1_024

const TYPES = { hello: 1, join: 2, accept: 3, refuse: 4 } as const

export function encodeGateMessage(message: GateMessage): Uint8Array {
  const type = Buffer.from([TYPES[message.kind]])
  if (message.kind === 'refuse')
    return Buffer.concat([type, Buffer.from(message.nonce ?? NO_NONCE, 'hex'), Buffer.from(message.code, 'latin1')])
  const boot = Buffer.from(message.boot, 'hex')
  if (message.kind === 'accept')
    return Buffer.concat([type, boot, packChain(message.chain), message.issued ? packChain(message.issued) : NOTHING])
  const opening = [type, boot, Buffer.from(message.nonce, 'hex'), Buffer.from(message.replaces, 'hex')]
  return message.kind === 'hello'
    ? Buffer.concat([...opening, packChain(message.chain)])
    : Buffer.concat([...opening, Buffer.from(message.tokenId, 'hex'), message.proof])
}

/** @throws GateError malformed */
export function decodeGateMessage(bytes: Uint8Array): GateMessage {
  const reader = new Reader(bytes)
  const type = reader.take(1)[0]
  if (type === TYPES.refuse) return readRefusal(reader)
  const boot = reader.hex(BOOT_BYTES)
  if (type === TYPES.accept) {
    const chain = reader.chain()
    const issued = reader.left > 0 ? reader.chain() : undefined
    reader.end()
    return { kind: 'accept', boot, chain, issued }
  }
  const opening = { boot, nonce: reader.hex(NONCE_BYTES), replaces: reader.hex(NONCE_BYTES) }
  if (type === TYPES.hello) {
    const chain = reader.chain()
    reader.end()
    return { kind: 'hello', ...opening, chain }
  }
  if (type !== TYPES.join) throw new GateError('malformed')
  const tokenId = reader.hex(TOKEN_ID_BYTES)
  const proof = reader.take(PROOF_BYTES)
  reader.end()
  return { kind: 'join', ...opening, tokenId, proof }
}

const NOTHING = Buffer.alloc(0)

function packChain(chain: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([chain.length]), ...chain])
}

function readRefusal(reader: Reader): GateMessage {
  const nonce = reader.hex(NONCE_BYTES)
  if (reader.left > CODE_BYTES_MAX) throw new GateError('malformed')
  const text = Buffer.from(reader.take(reader.left)).toString('latin1')
  return { kind: 'refuse', code: isGateCode(text) ? text : 'failed', nonce: nonce === NO_NONCE ? undefined : nonce }
}

/** Takes fields off the front; every step beyond the end is malformed. Values are copies. */
class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  take(length: number): Uint8Array {
    if (this.left < length) throw new GateError('malformed')
    this.#at += length
    // Not `slice`: of a Buffer it would be a view.
    return new Uint8Array(this.#bytes.subarray(this.#at - length, this.#at))
  }

  hex(length: number): string {
    return Buffer.from(this.take(length)).toString('hex')
  }

  chain(): Uint8Array[] {
    const count = this.take(1)[0] ?? 0
    if (count < 1 || count > CHAIN_LENGTH_MAX) throw new GateError('malformed')
    return Array.from({ length: count }, () => this.take(CERTIFICATE_BYTES))
  }

  end(): void {
    if (this.left > 0) throw new GateError('malformed')
  }
}
