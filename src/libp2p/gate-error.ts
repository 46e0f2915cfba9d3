/** Why a link was not made. Codes from the other side are only taken over when they are in this list. */
export const GATE_CODES = [
  // The chain proves nothing (certificate.ts).
  'malformed',
  'not-yours',
  'broken-chain',
  'wrong-usage',
  'role-too-high',
  'expired',
  'not-yet-valid',
  'other-swarm',
  'bad-signature',
  /** The key is not Ed25519, or is our own. */
  'bad-key',
  /** The daemon that was asked is no member of a swarm yet. */
  'not-a-member',
  /** The token is unknown here, or its secret is wrong: the two are not told apart. */
  'bad-token',
  'token-expired',
  'token-used',
  /** A newcomer has reached a member that did not issue its token. */
  'not-the-issuer',
  /** There is a link already; its nonce comes with the refusal. */
  'dup-open',
  /** Both sides dial: the one with the lower id wins. */
  'dup-pending',
  /** Own dial, given up because the other side's won. */
  'dup-lost',
  /** The stale link that a new one replaced. */
  'displaced',
  /** Anything else: connection lost, time over, disk full. */
  'failed'
] as const

export type GateCode = (typeof GATE_CODES)[number]

const CODES: ReadonlySet<string> = new Set(GATE_CODES)

export function isGateCode(text: string): text is GateCode {
  return CODES.has(text)
}

/** Thrown inside the gate; `nonce` names the link that a dup- refusal is about. */
export class GateError extends Error {
  override readonly name = 'GateError'
  readonly code: GateCode
  readonly nonce: string | undefined

  constructor(code: GateCode, options: { nonce?: string | undefined; cause?: unknown } = {}) {
    super(`gate: ${code}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.nonce = options.nonce
  }
}

export function isDuplicate(code: string): boolean {
  return code === 'dup-open' || code === 'dup-pending' || code === 'dup-lost'
}
