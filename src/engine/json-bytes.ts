/** JSON values as the core carries them: UTF-8 text. */
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function toBytes(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value ?? null))
}

/** Undefined for no bytes. @throws SyntaxError when they are no JSON. */
export function fromBytes(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(decoder.decode(bytes))
}
