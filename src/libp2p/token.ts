import { createHash, createHmac, randomBytes } from 'node:crypto'
import { StarlingError } from '../core/errors.ts'
import type { PeerId } from '../core/ids.ts'
import type { IssuedToken, MembershipStore } from '../ports/membership.ts'
import type { LocalIdentity, Role } from '../ports/network.ts'
import { PUBLIC_KEY_BYTES, peerIdFromPublicKey, publicKeyFromPeerId } from './keys.ts'
import { canIssue } from './swarm.ts'

/** Begins every printed token, so that people and secret scanners recognise one. */
export const TOKEN_PREFIX = 'starling1-'

/** Longest token that is read: ten addresses of ordinary length. */
export const TOKEN_CHARS_MAX = 1_024

/** Addresses in a token: the issuer's first ones; more would make it unwieldy, and mDNS finds the issuer as well. */
export const TOKEN_ADDRESSES_MAX = 6

const TOKEN_ID_BYTES = 8
const SECRET_BYTES = 16
/** Start of the SHA-256 of all before it: tells a mistyped token from a refused one. */
const CHECKSUM_BYTES = 4
const FIXED_BYTES = 2 * PUBLIC_KEY_BYTES + TOKEN_ID_BYTES + SECRET_BYTES + 1

/** What a printed token says. */
export interface JoinToken {
  /** Public key of the swarm to join, 32 bytes. */
  readonly swarm: Uint8Array
  /** The member that issued the token and alone can redeem it. */
  readonly issuer: PeerId
  /** Multiaddrs of the issuer, without its peer id; may be empty. */
  readonly addresses: readonly string[]
  /** 16 hex digits. */
  readonly id: string
  readonly secret: Uint8Array
}

export interface TokenOptions {
  readonly role: Role
  /** Members that it may admit. */
  readonly uses: number
  readonly ttlMs: number
  /** Where the issuer can be dialled, best first; the first TOKEN_ADDRESSES_MAX go into the token. */
  readonly addresses: readonly string[]
  /** Wall clock, milliseconds since 1970. @default now */
  readonly wallMs?: number
}

/**
 * Makes a token, stores it (durable when it returns) and returns it as printed.
 * @throws StarlingError DENIED when this daemon may not admit members.
 */
export function createToken(
  identity: LocalIdentity,
  store: MembershipStore,
  options: TokenOptions
): { token: string; issued: IssuedToken } {
  const swarm = store.swarm()
  if (swarm === undefined || !canIssue(swarm))
    throw new StarlingError('DENIED', 'this daemon may not admit members', {
      hint: 'create the token on a daemon with the role admin'
    })
  const issued: IssuedToken = {
    id: randomBytes(TOKEN_ID_BYTES).toString('hex'),
    secret: new Uint8Array(randomBytes(SECRET_BYTES)),
    role: options.role,
    uses: options.uses,
    expiresAt: (options.wallMs ?? Date.now()) + options.ttlMs
  }
  const { id, secret } = issued
  const token = formatToken({ swarm: swarm.publicKey, issuer: identity.peer, addresses: options.addresses, id, secret })
  store.saveToken(issued)
  return { token, issued }
}

/** The printed form. At most TOKEN_ADDRESSES_MAX addresses are kept. */
export function formatToken(token: JoinToken): string {
  const issuer = publicKeyFromPeerId(token.issuer)
  if (issuer === undefined) throw new StarlingError('INTERNAL', `issuer ${token.issuer} is no Ed25519 peer id`)
  const addresses = token.addresses.slice(0, TOKEN_ADDRESSES_MAX).map(address => Buffer.from(address))
  const body = Buffer.concat([
    token.swarm,
    issuer,
    Buffer.from(token.id, 'hex'),
    token.secret,
    Buffer.from([addresses.length]),
    ...addresses.flatMap(address => [Buffer.from([address.length]), address])
  ])
  return TOKEN_PREFIX + Buffer.concat([body, checksum(body)]).toString('base64url')
}

/** Reads a printed token. @throws StarlingError INVALID_INPUT when it is none, or was damaged on the way. */
export function parseToken(text: string): JoinToken {
  const trimmed = text.trim()
  if (!trimmed.startsWith(TOKEN_PREFIX))
    throw invalid(`a token begins with ${TOKEN_PREFIX}`, 'copy the whole line that `starling token create` printed')
  const encoded = trimmed.slice(TOKEN_PREFIX.length)
  if (trimmed.length > TOKEN_CHARS_MAX || !/^[A-Za-z0-9_-]+$/.test(encoded)) throw damaged()
  const bytes = Buffer.from(encoded, 'base64url')
  const body = bytes.subarray(0, -CHECKSUM_BYTES)
  if (body.length < FIXED_BYTES || !checksum(body).equals(bytes.subarray(-CHECKSUM_BYTES))) throw damaged()
  let at = 0
  const take = (length: number): Uint8Array => {
    if (at + length > body.length) throw damaged()
    at += length
    return new Uint8Array(body.subarray(at - length, at))
  }
  const swarm = take(PUBLIC_KEY_BYTES)
  const issuer = peerIdFromPublicKey(take(PUBLIC_KEY_BYTES))
  const id = Buffer.from(take(TOKEN_ID_BYTES)).toString('hex')
  const secret = take(SECRET_BYTES)
  const count = take(1)[0] ?? 0
  if (count > TOKEN_ADDRESSES_MAX) throw damaged()
  const addresses = Array.from({ length: count }, () => Buffer.from(take(take(1)[0] ?? 0)).toString('utf8'))
  if (at !== body.length) throw damaged()
  return { swarm, issuer, addresses, id, secret }
}

/**
 * Proof of a token's secret, bound to the keys that noise has proven: useless to anyone whom it is relayed to.
 * Keys are raw Ed25519 keys.
 */
export function tokenProof(secret: Uint8Array, joiner: Uint8Array, issuer: Uint8Array): Buffer {
  return createHmac('sha256', secret).update('starling-join/1\0').update(joiner).update(issuer).digest()
}

function checksum(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECKSUM_BYTES)
}

function damaged(): StarlingError {
  return invalid('the token is damaged', 'copy the whole token again, it is one line without spaces')
}

function invalid(message: string, hint: string): StarlingError {
  return new StarlingError('INVALID_INPUT', message, { hint })
}
