import type { MeshSession } from '../../src/daemon/mesh-session.ts'
import type { NetworkCounters } from '../../src/libp2p/index.ts'
import type { Discovery } from '../../src/ports/network.ts'
import type { PoolHost } from './engine-pool.ts'

const SWARM = { publicKey: new Uint8Array(32), seed: undefined, chain: [], role: 'worker' } as const

/** What the network of a session says of itself. */
export interface Measured {
  readonly discovery?: Partial<Discovery>
  readonly addresses?: string[]
  readonly counters?: Partial<NetworkCounters>
}

/** A mesh session whose engine is real and whose network says what the test wants. */
export function sessionOf(host: PoolHost, measured: Measured = {}): MeshSession {
  const { engine, api, network } = host
  const none = { mdns: { state: 'ok' }, unreachable: [], refused: {} } as const
  return {
    engine,
    api,
    swarm: SWARM,
    network: {
      self: network.self,
      start: handlers => network.start(handlers),
      stop: () => network.stop(),
      addresses: () => measured.addresses ?? ['/ip4/10.0.0.1/tcp/4001'],
      send: (to, frame) => network.send(to, frame),
      publish: advertisement => network.publish(advertisement),
      learn: (peer, addresses) => network.learn(peer, addresses),
      known: peer => network.known(peer),
      disconnect: (peer, reason) => network.disconnect(peer, reason),
      discovery: () => ({ ...none, ...measured.discovery }),
      joined: async () => SWARM,
      counters: () => ({ ...NO_COUNTS, ...measured.counters })
    },
    stop: options => engine.stop(options)
  }
}

const NO_COUNTS: NetworkCounters = {
  malformedFrames: 0,
  unknownFrames: 0,
  sendBufferOverflows: 0,
  displacedLinks: 0,
  reopenedStreams: 0,
  dials: 0,
  rejectedGossip: 0,
  gossipPokes: 0,
  gossipHangups: 0,
  mdnsRestarts: 0
}
