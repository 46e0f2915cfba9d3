import { createHash, randomBytes } from 'node:crypto'
import { StarlingError } from '../core/errors.ts'
import type { Logger } from '../ports/logger.ts'
import type { MembershipStore, Swarm } from '../ports/membership.ts'
import type { LocalIdentity, Role } from '../ports/network.ts'
import { SWARM_ID_CHARS } from '../wire/names.ts'
import {
  CHAIN_LENGTH_MAX,
  CLOCK_SKEW_MS,
  issueCertificate,
  parseCertificate,
  USAGE_ISSUER,
  USAGE_MEMBER,
  VALIDITY_MS
} from './certificate.ts'
import { publicKeyFromSeed } from './keys.ts'

/** Id of a swarm for display and discovery: the first hex digits of the SHA-256 of its public key. */
export function swarmIdOf(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, SWARM_ID_CHARS)
}

/**
 * Makes a new swarm with this daemon as its first member and admin, and stores it (durable when it returns).
 * `wallMs`: wall clock, milliseconds since 1970. @throws StarlingError ALREADY_MEMBER when another swarm is stored.
 */
export function createSwarm(identity: LocalIdentity, store: MembershipStore, wallMs: number = Date.now()): Swarm {
  const seed = new Uint8Array(randomBytes(32))
  const chain = [
    issueCertificate(seed, {
      usage: USAGE_MEMBER | USAGE_ISSUER,
      role: 'admin',
      subject: publicKeyFromSeed(identity.seed),
      ...validity(wallMs)
    })
  ]
  const swarm: Swarm = { publicKey: publicKeyFromSeed(seed), seed, chain, role: 'admin' }
  store.saveSwarm(swarm)
  return swarm
}

/** Whether certificates that this member issues are accepted: it holds the swarm key, or its own chain lets it issue. */
export function canIssue(swarm: Swarm): boolean {
  if (swarm.seed !== undefined) return true
  const [leaf] = swarm.chain
  if (leaf === undefined || swarm.chain.length >= CHAIN_LENGTH_MAX) return false
  return (parseCertificate(leaf).usage & USAGE_ISSUER) !== 0
}

/**
 * Issues a chain for a new member. With the swarm key it has one link, else the issuer's own chain is its tail.
 * @throws StarlingError DENIED when this member may not issue.
 */
export function issueChain(
  identity: LocalIdentity,
  swarm: Swarm,
  member: { readonly subject: Uint8Array; readonly role: Role; readonly wallMs: number }
): Uint8Array[] {
  if (!canIssue(swarm))
    throw new StarlingError('DENIED', 'this daemon may not admit members', {
      hint: 'create the token on a daemon with the role admin'
    })
  const fields = {
    usage: member.role === 'admin' ? USAGE_MEMBER | USAGE_ISSUER : USAGE_MEMBER,
    role: member.role,
    subject: member.subject,
    ...validity(member.wallMs)
  }
  if (swarm.seed !== undefined) return [issueCertificate(swarm.seed, fields)]
  return [issueCertificate(identity.seed, fields), ...swarm.chain]
}

function validity(wallMs: number): { notBefore: number; notAfter: number } {
  return { notBefore: wallMs - CLOCK_SKEW_MS, notAfter: wallMs + VALIDITY_MS }
}

/** Part of its validity that a certificate must have left, or it is renewed at start where that is possible. */
const RENEW_BELOW = 1 / 3

/**
 * At start: gives the holder of the swarm key a fresh certificate in time, and says in the log when another member's
 * own one nears its end. Returns the membership as it is then; stores it when it changed.
 */
export function renewOwnChain(
  identity: LocalIdentity,
  store: MembershipStore,
  wallMs: number,
  logger: Logger
): Swarm | undefined {
  const swarm = store.swarm()
  if (swarm === undefined) return undefined
  const ends = Math.min(...swarm.chain.map(certificate => parseCertificate(certificate).notAfter))
  if (ends - wallMs > VALIDITY_MS * RENEW_BELOW) return swarm
  if (swarm.seed === undefined) {
    logger.warn('membership ends soon: join again with a new token', { endsAt: new Date(ends).toISOString() })
    return swarm
  }
  const subject = publicKeyFromSeed(identity.seed)
  const renewed = { ...swarm, chain: issueChain(identity, swarm, { subject, role: swarm.role, wallMs }) }
  store.saveSwarm(renewed)
  logger.info('own certificate renewed')
  return renewed
}
