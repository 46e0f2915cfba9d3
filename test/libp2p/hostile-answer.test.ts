import { createHash, randomBytes } from 'node:crypto'
import type { ConnectionEncrypter } from '@libp2p/interface'
import { type NoiseComponents, noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { lpStream } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { issueCertificate, USAGE_MEMBER } from '../../src/libp2p/certificate.ts'
import { decodeGateMessage, encodeGateMessage, type GateMessage } from '../../src/libp2p/gate-message.ts'
import { libp2pPrivateKey, publicKeyFromSeed } from '../../src/libp2p/keys.ts'
import { issueChain } from '../../src/libp2p/swarm.ts'
import type { Swarm } from '../../src/ports/membership.ts'
import type { LocalIdentity } from '../../src/ports/network.ts'
import { GATE_PROTOCOL } from '../../src/wire/names.ts'
import { type Daemon, newIdentity, Pool, tokenOf, until } from './harness.ts'

/** Speaks the protocol of the gate, and answers whatever it is told. */
function hostileGate(swarm: Swarm, answer: (asked: GateMessage) => Uint8Array) {
  return (components: NoiseComponents): ConnectionEncrypter => {
    const prologueBytes = createHash('sha256').update('starling/1').update(swarm.publicKey).digest()
    const inner = noise({ prologueBytes })(components)
    return {
      protocol: GATE_PROTOCOL,
      secureOutbound: (connection, options) => inner.secureOutbound(connection, options),
      secureInbound: async (connection, options) => {
        const secured = await inner.secureInbound(connection, options)
        const lp = lpStream(secured.connection)
        await lp.write(answer(decodeGateMessage((await lp.read()).subarray())))
        return { ...secured, connection: lp.unwrap() }
      }
    }
  }
}

describe('a dialler', () => {
  const pool = new Pool()
  let founder: Daemon
  let swarm: Swarm
  let liar: LocalIdentity
  let node: Libp2p | undefined

  beforeEach(async () => {
    founder = await pool.founder()
    const stored = founder.store.swarm()
    if (stored === undefined) throw new Error('no swarm')
    swarm = stored
    liar = newIdentity()
  })
  afterEach(async () => {
    await Promise.all([pool.stop(), node?.stop()])
    node = undefined
  })

  const chainFor = (identity: LocalIdentity): Uint8Array[] =>
    issueChain(founder.identity, swarm, {
      subject: publicKeyFromSeed(identity.seed),
      role: 'worker',
      wallMs: Date.now()
    })
  const forSubject = (issuerSeed: Uint8Array, identity: LocalIdentity): Uint8Array =>
    issueCertificate(issuerSeed, {
      usage: USAGE_MEMBER,
      role: 'admin',
      subject: publicKeyFromSeed(identity.seed),
      notBefore: 0,
      notAfter: Date.now() + 60_000
    })
  const lie = async (answer: (asked: GateMessage) => Uint8Array): Promise<string> => {
    node = await createLibp2p({
      privateKey: libp2pPrivateKey(liar.seed),
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [hostileGate(swarm, answer)],
      streamMuxers: [yamux()]
    })
    return node.getMultiaddrs()[0]?.toString() ?? ''
  }
  const accept = (chain: Uint8Array[], issued?: Uint8Array[]): Uint8Array =>
    encodeGateMessage({ kind: 'accept', boot: liar.boot.nonce, chain, issued })

  test.each<[string, string, () => Uint8Array]>([
    ['other-swarm', 'shows the certificate of another swarm', () => accept([forSubject(randomBytes(32), liar)])],
    ['not-yours', 'shows the certificate of somebody else', () => accept(chainFor(newIdentity()))],
    ['malformed', 'answers with a hello', () => helloOf(liar)],
    ['malformed', 'answers with garbage', () => randomBytes(300).fill(9, 0, 1)],
    ['malformed', 'answers at length', () => randomBytes(5_000)]
  ])('ends with %s when the other side %s', async (code, _what, answer) => {
    const address = await lie(answer)
    const member = await pool.member(founder, { peers: [address] })
    await until(() => member.network.discovery().unreachable.length > 0, 'a failed dial')
    expect(member.network.discovery().unreachable[0]?.lastError).toContain(`gate: ${code}`)
    expect(member.seen.calls).toEqual([])
  })

  const helloOf = (identity: LocalIdentity): Uint8Array =>
    encodeGateMessage({
      kind: 'hello',
      boot: identity.boot.nonce,
      nonce: '11'.repeat(16),
      replaces: '00'.repeat(16),
      chain: chainFor(identity)
    })

  test('takes no membership that the swarm would not accept, even from its issuer', async () => {
    const newcomer = newIdentity()
    const address = await lie(() => accept(chainFor(liar), [forSubject(randomBytes(32), newcomer)]))
    const token = { ...tokenOf(founder), issuer: liar.peer, addresses: [address.replace(/\/p2p.*/, '')] }
    const joiner = await pool.start({ identity: newcomer, token })
    await expect(joiner.network.joined(3_000)).rejects.toMatchObject({ code: 'TOKEN_REFUSED' })
    expect(joiner.store.swarm()).toBeUndefined()
    expect(joiner.seen.calls).toEqual([])
  })

  test('takes no membership of somebody else', async () => {
    const address = await lie(() => accept(chainFor(liar), chainFor(newIdentity())))
    const token = { ...tokenOf(founder), issuer: liar.peer, addresses: [address.replace(/\/p2p.*/, '')] }
    const joiner = await pool.start({ token })
    await expect(joiner.network.joined(500)).rejects.toMatchObject({ code: 'TIMED_OUT' })
    expect(joiner.store.swarm()).toBeUndefined()
  })
})
