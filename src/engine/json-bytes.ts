import type { TaskError } from '../core/index.ts'

/** JSON values as the core carries them: UTF-8 text. */
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function toBytes(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value ?? null))
}

/** Bytes that have come from another daemon: their value (undefined for no bytes), or why they have none. */
export function fromBytes(bytes: Uint8Array): { value: unknown } | { value: undefined; error: TaskError } {
  if (bytes.length === 0) return { value: undefined }
  try {
    return { value: JSON.parse(decoder.decode(bytes)) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { value: undefined, error: { code: 'INVALID_JSON', message: `not JSON, as its host sent it: ${reason}` } }
  }
}
