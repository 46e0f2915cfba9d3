import { randomBytes, sign, verify } from 'node:crypto'
import type { Role } from '../ports/network.ts'
import { PUBLIC_KEY_BYTES, privateKeyObject, publicKeyFromSeed, publicKeyObject } from './keys.ts'

/**
 * Membership certificates: a fixed layout of 157 bytes, so that the gate can bound what a stranger may send before it
 * reads anything. Big-endian:
 *
 * "SC1" (3), usage (1), role (1), serial (8), notBefore (8), notAfter (8), subject key (32), issuer key (32), signature (64)
 *
 * Times are milliseconds since 1970. The Ed25519 signature covers CONTEXT and all bytes before it. A chain is a list of
 * certificates, the member's own one first; the issuer of the last one is the swarm key.
 */
export const CERTIFICATE_BYTES = 157

/** Links of a chain: member, an admin that issued it, an admin that issued that one. Deeper is no use and costs time. */
export const CHAIN_LENGTH_MAX = 3

/** Membership lasts a year: there is no renewal on a live link, and a pool of own machines is tended more often. */
export const VALIDITY_MS = 365 * 24 * 60 * 60 * 1000

/** How far the clock of the verifier may be behind the issuer's. */
export const CLOCK_SKEW_MS = 5 * 60 * 1000

/** Domain separation: a signature made for anything else can never pass for a certificate. */
const CONTEXT = Buffer.from('starling-cert/1\0')

const MAGIC = 'SC1'
const SIGNED_BYTES = CERTIFICATE_BYTES - 64
const SUBJECT_AT = 29
const ISSUER_AT = SUBJECT_AT + PUBLIC_KEY_BYTES

/** The holder is a member. */
export const USAGE_MEMBER = 1
/** The holder may sign certificates. */
export const USAGE_ISSUER = 2

const ROLE_BYTES: Readonly<Record<Role, number>> = { submitter: 1, worker: 2, admin: 3 }
const ROLES = new Map<number, Role>([
  [1, 'submitter'],
  [2, 'worker'],
  [3, 'admin']
])

export interface CertificateFields {
  /** Sum of USAGE_MEMBER and USAGE_ISSUER. */
  readonly usage: number
  readonly role: Role
  readonly serial: bigint
  /** Wall clock, milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  /** Raw Ed25519 keys. */
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
}

export type CertificateProblem =
  | 'malformed'
  | 'not-yours'
  | 'broken-chain'
  | 'wrong-usage'
  | 'role-too-high'
  | 'expired'
  | 'not-yet-valid'
  | 'other-swarm'
  | 'bad-signature'

/** Thrown when a chain proves nothing; `code` says why. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
  readonly code: CertificateProblem

  constructor(code: CertificateProblem) {
    super(`certificate: ${code}`)
    this.code = code
  }
}

/** Signs a certificate for `subject` (raw Ed25519 key) with the issuer's seed. */
export function issueCertificate(
  issuerSeed: Uint8Array,
  fields: {
    readonly usage: number
    readonly role: Role
    readonly subject: Uint8Array
    readonly notBefore: number
    readonly notAfter: number
  }
): Uint8Array {
  const body = Buffer.alloc(SIGNED_BYTES)
  body.write(MAGIC, 0, 'latin1')
  body[3] = fields.usage
  body[4] = ROLE_BYTES[fields.role]
  randomBytes(8).copy(body, 5)
  body.writeBigUInt64BE(BigInt(Math.trunc(fields.notBefore)), 13)
  body.writeBigUInt64BE(BigInt(Math.trunc(fields.notAfter)), 21)
  body.set(fields.subject, SUBJECT_AT)
  body.set(publicKeyFromSeed(issuerSeed), ISSUER_AT)
  const signature = sign(null, Buffer.concat([CONTEXT, body]), privateKeyObject(issuerSeed))
  return new Uint8Array(Buffer.concat([body, signature]))
}

/** Reads the fields without judging them. @throws CertificateError malformed */
export function parseCertificate(certificate: Uint8Array): CertificateFields {
  const bytes = Buffer.from(certificate.buffer, certificate.byteOffset, certificate.byteLength)
  const role = ROLES.get(bytes[4] ?? 0)
  if (bytes.length !== CERTIFICATE_BYTES || bytes.toString('latin1', 0, 3) !== MAGIC || role === undefined)
    throw new CertificateError('malformed')
  return {
    usage: bytes.readUInt8(3),
    role,
    serial: bytes.readBigUInt64BE(5),
    notBefore: Number(bytes.readBigUInt64BE(13)),
    notAfter: Number(bytes.readBigUInt64BE(21)),
    subject: new Uint8Array(bytes.subarray(SUBJECT_AT, ISSUER_AT)),
    issuer: new Uint8Array(bytes.subarray(ISSUER_AT, SIGNED_BYTES))
  }
}

/**
 * Verifies that `chain` proves membership of `subject` in the swarm whose public key is `swarm`, at the wall time `now`.
 * Signatures are checked last, so that a forgery costs as little as possible. @throws CertificateError
 * @returns The member's own certificate, with the end of the whole chain's validity.
 */
export function verifyChain(
  chain: readonly Uint8Array[],
  expected: { readonly swarm: Uint8Array; readonly subject: Uint8Array; readonly now: number }
): { leaf: CertificateFields; notAfter: number } {
  if (chain.length < 1 || chain.length > CHAIN_LENGTH_MAX) throw new CertificateError('malformed')
  const parsed = chain.map(parseCertificate)
  let subject = expected.subject
  let role = 0
  let notAfter = Number.POSITIVE_INFINITY
  for (const [index, fields] of parsed.entries()) {
    if (!sameBytes(fields.subject, subject)) throw new CertificateError(index === 0 ? 'not-yours' : 'broken-chain')
    const usage = index === 0 ? USAGE_MEMBER : USAGE_ISSUER
    if ((fields.usage & usage) !== usage) throw new CertificateError('wrong-usage')
    if (ROLE_BYTES[fields.role] < role) throw new CertificateError('role-too-high')
    if (expected.now > fields.notAfter) throw new CertificateError('expired')
    if (expected.now + CLOCK_SKEW_MS < fields.notBefore) throw new CertificateError('not-yet-valid')
    const last = index === parsed.length - 1
    if (last !== sameBytes(fields.issuer, expected.swarm))
      throw new CertificateError(last ? 'other-swarm' : 'broken-chain')
    role = ROLE_BYTES[fields.role]
    notAfter = Math.min(notAfter, fields.notAfter)
    subject = fields.issuer
  }
  for (const [index, certificate] of chain.entries()) {
    const issuer = parsed[index]?.issuer
    const signed = Buffer.concat([CONTEXT, certificate.subarray(0, SIGNED_BYTES)])
    if (issuer === undefined || !verify(null, signed, publicKeyObject(issuer), certificate.subarray(SIGNED_BYTES)))
      throw new CertificateError('bad-signature')
  }
  const [leaf] = parsed
  if (leaf === undefined) throw new CertificateError('malformed')
  return { leaf, notAfter }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
