/**
 * One network adapter in a process of its own, driven over stdin and stdout by lan-fixture.ts. Reads one JSON line with
 * its settings; prints one JSON line per event; then each line of stdin is a command.
 */
import { createInterface } from 'node:readline'
import { libp2pNetwork, parseToken, peerIdFromSeed } from '../../src/libp2p/index.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import type { LocalIdentity } from '../../src/ports/network.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { realClock, realRandom } from '../helpers/real-time.ts'

export interface HostSettings {
  readonly seed: string
  readonly nonce: string
  /** Hex; without it, `token` is given. */
  readonly swarm?: { readonly publicKey: string; readonly seed?: string | undefined; readonly chain: readonly string[] }
  readonly token?: string
  /** A token that this host redeems. */
  readonly issued?: { readonly id: string; readonly secret: string }
  readonly listen: string[]
  readonly members: { peer: string; name: string; addresses: string[]; lastSeen: number }[]
}

const say = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const first = await lines.next()
const settings: HostSettings = JSON.parse(String(first.value))
const seed = bytes(settings.seed)
const identity: LocalIdentity = { seed, peer: peerIdFromSeed(seed), boot: { incarnation: 1, nonce: settings.nonce } }
const store = new MemoryMembershipStore()
if (settings.swarm !== undefined)
  store.saveSwarm({
    publicKey: bytes(settings.swarm.publicKey),
    seed: settings.swarm.seed === undefined ? undefined : bytes(settings.swarm.seed),
    chain: settings.swarm.chain.map(bytes),
    role: 'worker'
  })
if (settings.issued !== undefined)
  store.saveToken({
    id: settings.issued.id,
    secret: bytes(settings.issued.secret),
    role: 'worker',
    uses: 1,
    expiresAt: Date.now() + 600_000
  })
for (const member of settings.members) store.saveMember(member)

const network = libp2pNetwork({
  identity,
  store,
  token: settings.token === undefined ? undefined : parseToken(settings.token),
  listen: settings.listen,
  mdns: true,
  peers: [],
  clock: realClock,
  random: realRandom,
  logger: silentLogger
})
await network.start({
  linkUp: (peer, link) => say({ event: 'up', peer, address: link.remoteAddress }),
  linkDown: (peer, reason) => say({ event: 'down', peer, reason }),
  frame: (peer, frame) => say({ event: 'frame', peer, kind: frame.kind }),
  advertisement: peer => say({ event: 'advertisement', peer })
})
say({ event: 'ready', addresses: network.addresses() })

for await (const line of lines) {
  const [command, argument] = line.split(' ')
  if (command === 'state') say({ event: 'state', discovery: network.discovery(), counters: network.counters() })
  if (command === 'disconnect' && argument !== undefined) network.disconnect(argument, 'no heartbeat')
  if (command === 'publish')
    network.publish({
      peer: identity.peer,
      incarnation: 1,
      sequence: Number(argument),
      name: '',
      version: '',
      capabilities: [],
      running: 0,
      queued: 0,
      addresses: network.addresses(),
      drain: 'no'
    })
  if (command === 'stop') break
}
await network.stop()
process.exit(0)
