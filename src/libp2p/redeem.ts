import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { MembershipStore } from '../ports/membership.ts'
import type { LocalIdentity } from '../ports/network.ts'
import { GateError } from './gate-error.ts'
import { peerIdFromPublicKey, publicKeyFromSeed } from './keys.ts'
import { canIssue, issueChain } from './swarm.ts'
import { tokenProof } from './token.ts'

/**
 * Redeems a token for the newcomer whose key noise has proven (`joiner`, raw Ed25519 key) and returns its chain. Only
 * the issuer has the token, so single use is exact; it is burnt, durably, before this returns. The same newcomer gets
 * the same chain again. @throws GateError bad-token, token-expired, token-used; StarlingError when the store fails.
 */
export function redeemToken(
  identity: LocalIdentity,
  store: MembershipStore,
  request: {
    readonly tokenId: string
    readonly proof: Uint8Array
    readonly joiner: Uint8Array
    readonly wallMs: number
  }
): readonly Uint8Array[] {
  const swarm = store.swarm()
  const token = store.token(request.tokenId)
  // An unknown id costs the same time as a wrong secret.
  const secret = token?.secret ?? randomBytes(16)
  const expected = tokenProof(secret, request.joiner, publicKeyFromSeed(identity.seed))
  const proven = timingSafeEqual(expected, request.proof)
  if (!proven || token === undefined || swarm === undefined || !canIssue(swarm)) throw new GateError('bad-token')
  const peer = peerIdFromPublicKey(request.joiner)
  const before = store.redeemed(token.id, peer)
  if (before !== undefined) return before
  if (request.wallMs > token.expiresAt) throw new GateError('token-expired')
  if (store.redemptions(token.id) >= token.uses) throw new GateError('token-used')
  const chain = issueChain(identity, swarm, { subject: request.joiner, role: token.role, wallMs: request.wallMs })
  store.burnToken(token.id, peer, chain)
  return chain
}
