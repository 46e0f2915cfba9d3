import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { privateKeyFromRaw, publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPublicKey as libp2pPeerId, peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../core/ids.ts'

/** Ed25519 public key, raw. */
export const PUBLIC_KEY_BYTES = 32

/** DER around a raw Ed25519 key (RFC 8410): SubjectPublicKeyInfo and PKCS #8. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

export function publicKeyObject(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' })
}

export function privateKeyObject(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' })
}

export function publicKeyFromSeed(seed: Uint8Array): Uint8Array {
  const der = createPublicKey(privateKeyObject(seed)).export({ format: 'der', type: 'spki' })
  return new Uint8Array(der.subarray(-PUBLIC_KEY_BYTES))
}

/** Peer id of the daemon whose Ed25519 seed this is (32 bytes). */
export function peerIdFromSeed(seed: Uint8Array): PeerId {
  return peerIdFromPublicKey(publicKeyFromSeed(seed))
}

/** Peer id of a raw Ed25519 public key (32 bytes). */
export function peerIdFromPublicKey(raw: Uint8Array): PeerId {
  return libp2pPeerId(publicKeyFromRaw(raw)).toString()
}

/** Raw public key inside an Ed25519 peer id; undefined when the text is no such id. */
export function publicKeyFromPeerId(peer: PeerId): Uint8Array | undefined {
  try {
    const parsed = peerIdFromString(peer)
    return parsed.type === 'Ed25519' ? new Uint8Array(parsed.publicKey.raw) : undefined
  } catch {
    return undefined
  }
}

export function libp2pPrivateKey(seed: Uint8Array): PrivateKey {
  return privateKeyFromRaw(Buffer.concat([seed, publicKeyFromSeed(seed)]))
}
