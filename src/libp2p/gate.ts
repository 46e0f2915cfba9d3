import { createHash, randomBytes } from 'node:crypto'
import type {
  ConnectionEncrypter,
  PeerId as Libp2pPeerId,
  MessageStream,
  SecureConnectionOptions,
  SecuredConnection
} from '@libp2p/interface'
import { type NoiseComponents, noise } from '@libp2p/noise'
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils'
import type { PeerId } from '../core/ids.ts'
import type { Logger } from '../ports/logger.ts'
import type { Swarm } from '../ports/membership.ts'
import type { LocalIdentity } from '../ports/network.ts'
import { GATE_PROTOCOL } from '../wire/names.ts'
import { parseAddress } from './addresses.ts'
import { CertificateError, verifyChain } from './certificate.ts'
import { type GateCode, GateError } from './gate-error.ts'
import {
  decodeGateMessage,
  encodeGateMessage,
  GATE_MESSAGE_BYTES_MAX,
  type GateMessage,
  NONCE_BYTES,
  type Opening
} from './gate-message.ts'
import { publicKeyFromSeed } from './keys.ts'
import type { Links } from './links.ts'
import { type JoinToken, tokenProof } from './token.ts'

/** What a stranger may park here before it has proven anything: two messages. */
const STRANGER_BUFFER_BYTES_MAX = 2 * GATE_MESSAGE_BYTES_MAX

/** Wait for the refusal to leave: a reset would overtake it and eat the reason. */
const REFUSAL_FLUSH_MS = 250

/** `no-noise`: the handshake failed, as with another swarm; `timed-out`: it took too long. */
export type InboundRefusal = GateCode | 'no-noise' | 'timed-out'

export interface GateInit {
  readonly identity: LocalIdentity
  readonly swarmKey: Uint8Array
  readonly links: Links
  readonly logger: Logger
  readonly exchangeMs: number
  /** Own membership; undefined until the token has been redeemed. */
  membership(): Swarm | undefined
  /** Token to be redeemed while there is no membership. */
  readonly token: JoinToken | undefined
  wall(): number
  /** Redeems a token here. @throws GateError */
  redeem(request: { tokenId: string; proof: Uint8Array; joiner: Uint8Array }): readonly Uint8Array[]
  /** Stores the chain that the issuer gave us. Throws when it cannot be stored: then the link is not made. */
  joined(chain: readonly Uint8Array[]): void
  /** A dial of ours ended here; `dialled` is its multiaddr. */
  dialRefused(refusal: { peer: PeerId; dialled: string; error: GateError }): void
  /** An inbound dial was accepted or refused. `connection` is the raw one. */
  inboundEnded(connection: MessageStream, refused: InboundRefusal | undefined): void
}

/**
 * The members-only gate: noise, then one request and one answer on the encrypted connection. libp2p makes a Connection
 * only when it returns, so for a stranger there is no muxer, no connection event, no identify and no gossip.
 *
 * The answerer shows its own certificates only after the dialler's were good, and says nothing before its answer.
 */
export class Gate implements ConnectionEncrypter {
  readonly protocol = GATE_PROTOCOL
  readonly #init: GateInit
  readonly #noise: ConnectionEncrypter
  readonly #selfKey: Uint8Array

  constructor(components: NoiseComponents, init: GateInit) {
    this.#init = init
    this.#selfKey = publicKeyFromSeed(init.identity.seed)
    // Another swarm already fails in the handshake. No secret and no credential, only cheap.
    const prologueBytes = createHash('sha256').update('starling/1').update(init.swarmKey).digest()
    this.#noise = noise({ prologueBytes })(components)
  }

  async secureOutbound(raw: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    const secured = await this.#noise.secureOutbound(raw, options)
    const peer = secured.remotePeer.toString()
    const nonce = randomBytes(NONCE_BYTES).toString('hex')
    const cancel = new AbortController()
    const signal = this.#signal(options, cancel.signal)
    // The default buffer is kept: the muxer's first bytes may follow the answer in the same packet.
    const lp = lpStream(secured.connection, { maxDataLength: GATE_MESSAGE_BYTES_MAX })
    try {
      const key = ed25519Key(secured.remotePeer)
      if (key === undefined || peer === this.#init.identity.peer) throw new GateError('bad-key')
      const stream = await this.#introduce(lp, { peer, key, nonce, signal, cancel, raw })
      return { ...secured, connection: stream }
    } catch (thrown) {
      const reason: unknown = cancel.signal.aborted ? cancel.signal.reason : thrown
      const error = asGateError(reason)
      this.#init.dialRefused({ peer, dialled: remoteAddressOf(raw), error })
      secured.connection.abort(error)
      throw error
    } finally {
      this.#init.links.finish(peer, nonce)
    }
  }

  /** Says hello (or redeems the token) and takes the answer. Returns the stream that is the link from now on. */
  async #introduce(
    lp: LengthPrefixedStream,
    dial: {
      peer: PeerId
      key: Uint8Array
      nonce: string
      signal: AbortSignal
      cancel: AbortController
      raw: MessageStream
    }
  ): Promise<MessageStream> {
    const { links, identity, token, swarmKey } = this.#init
    const membership = this.#init.membership()
    if (membership === undefined && dial.peer !== token?.issuer) throw new GateError('not-the-issuer')
    const { replaces } = links.begin(dial.peer, dial.nonce, error => dial.cancel.abort(error))
    const opening: Opening = { boot: identity.boot.nonce, nonce: dial.nonce, replaces }
    await lp.write(encodeGateMessage(this.#request(opening, membership, dial.key)), { signal: dial.signal })
    const answer = await readMessage(lp, dial.signal)
    if (answer.kind === 'refuse') throw new GateError(answer.code, { nonce: answer.nonce })
    if (answer.kind !== 'accept') throw new GateError('malformed')
    const now = this.#init.wall()
    const { leaf, notAfter } = verifyChain(answer.chain, { swarm: swarmKey, subject: dial.key, now })
    if (membership === undefined) {
      if (answer.issued === undefined) throw new GateError('malformed')
      verifyChain(answer.issued, { swarm: swarmKey, subject: this.#selfKey, now })
      this.#init.joined(answer.issued)
    }
    if (dial.cancel.signal.aborted) throw dial.cancel.signal.reason
    const stream = lp.unwrap()
    links.claim({
      peer: dial.peer,
      nonce: dial.nonce,
      boot: answer.boot,
      direction: 'outbound',
      remoteAddress: parseAddress(remoteAddressOf(dial.raw))?.address ?? remoteAddressOf(dial.raw),
      role: leaf.role,
      notAfter,
      stream
    })
    return stream
  }

  #request(opening: Opening, membership: Swarm | undefined, issuer: Uint8Array): GateMessage {
    const { token } = this.#init
    if (membership !== undefined) return { kind: 'hello', ...opening, chain: membership.chain }
    if (token === undefined) throw new GateError('not-a-member')
    const proof = tokenProof(token.secret, this.#selfKey, issuer)
    return { kind: 'join', ...opening, tokenId: token.id, proof }
  }

  async secureInbound(raw: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    const signal = this.#signal(options)
    let secured: SecuredConnection
    try {
      secured = await this.#noise.secureInbound(raw, { ...options, signal })
    } catch (thrown) {
      this.#init.inboundEnded(raw, signal.aborted ? 'timed-out' : 'no-noise')
      throw thrown
    }
    const lp = lpStream(secured.connection, {
      maxDataLength: GATE_MESSAGE_BYTES_MAX,
      maxBufferSize: STRANGER_BUFFER_BYTES_MAX
    })
    try {
      const stream = this.#judge(secured.remotePeer, await readMessage(lp, signal), lp, raw)
      this.#init.inboundEnded(raw, undefined)
      return { ...secured, connection: stream }
    } catch (thrown) {
      const error = asGateError(thrown)
      if (error.cause !== undefined && error.code === 'failed')
        this.#init.logger.warn('gate failed', { peer: secured.remotePeer.toString(), error: String(error.cause) })
      this.#init.inboundEnded(raw, error.code)
      await this.#refuse(secured.connection, lp, error)
      throw error
    }
  }

  /** Synchronous from the dialler's message to the answer, so nothing can come between the decision and the claim. */
  #judge(remote: Libp2pPeerId, message: GateMessage, lp: LengthPrefixedStream, raw: MessageStream): MessageStream {
    const { links, identity, swarmKey } = this.#init
    const peer = remote.toString()
    const subject = ed25519Key(remote)
    if (subject === undefined || peer === identity.peer) throw new GateError('bad-key')
    const membership = this.#init.membership()
    if (membership === undefined) throw new GateError('not-a-member')
    if (message.kind !== 'hello' && message.kind !== 'join') throw new GateError('malformed')
    const issued =
      message.kind === 'join'
        ? this.#init.redeem({ tokenId: message.tokenId, proof: message.proof, joiner: subject })
        : undefined
    const chain = message.kind === 'hello' ? message.chain : (issued ?? [])
    const { leaf, notAfter } = verifyChain(chain, { swarm: swarmKey, subject, now: this.#init.wall() })
    links.admit(peer, message, message.kind === 'join')
    const stream = lp.unwrap()
    const remoteAddress = parseAddress(remoteAddressOf(raw))?.address ?? remoteAddressOf(raw)
    const { nonce, boot } = message
    links.claim({ peer, nonce, boot, direction: 'inbound', remoteAddress, role: leaf.role, notAfter, stream })
    const accept = { kind: 'accept', boot: identity.boot.nonce, chain: membership.chain, issued } as const
    stream.send(withLength(encodeGateMessage(accept)))
    return stream
  }

  /** Tells the dialler why, then closes: not `abort`, whose reset would overtake the reason. */
  async #refuse(connection: MessageStream, lp: LengthPrefixedStream, error: GateError): Promise<void> {
    if (connection.status !== 'open') return
    try {
      const signal = AbortSignal.timeout(REFUSAL_FLUSH_MS)
      await lp.write(encodeGateMessage({ kind: 'refuse', code: error.code, nonce: error.nonce }), { signal })
      await connection.close({ signal })
    } catch (thrown) {
      this.#init.logger.debug('refusal not delivered', { code: error.code, error: String(thrown) })
    }
  }

  #signal(options: SecureConnectionOptions, ...others: AbortSignal[]): AbortSignal {
    const signals = [AbortSignal.timeout(this.#init.exchangeMs), ...others]
    return AbortSignal.any(options.signal === undefined ? signals : [...signals, options.signal])
  }
}

async function readMessage(lp: LengthPrefixedStream, signal: AbortSignal): Promise<GateMessage> {
  let bytes: Uint8Array
  try {
    bytes = (await lp.read({ signal })).subarray()
  } catch (cause) {
    // A length over the bound is the only error of the reader that is not a lost connection.
    throw new GateError(cause instanceof Error && cause.name.startsWith('Invalid') ? 'malformed' : 'failed', { cause })
  }
  return decodeGateMessage(bytes)
}

function asGateError(thrown: unknown): GateError {
  if (thrown instanceof GateError) return thrown
  if (thrown instanceof CertificateError) return new GateError(thrown.code, { cause: thrown })
  return new GateError('failed', { cause: thrown })
}

/** Only Ed25519 peers exist: the key is inside the id, and no other signature scheme has to be safe. */
function ed25519Key(peer: Libp2pPeerId): Uint8Array | undefined {
  return peer.type === 'Ed25519' ? new Uint8Array(peer.publicKey.raw) : undefined
}

/** The upgrader hands the raw connection, which knows its address, as a plain stream. */
function remoteAddressOf(raw: MessageStream): string {
  return 'remoteAddr' in raw ? String(raw.remoteAddr) : ''
}

/** Varint length prefix of a message under 16 KiB. */
function withLength(bytes: Uint8Array): Uint8Array {
  const prefix = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7]
  return Buffer.concat([Buffer.from(prefix), bytes])
}
