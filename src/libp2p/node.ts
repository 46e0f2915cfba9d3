import { type GossipSub, gossipsub } from '@chainsafe/libp2p-gossipsub'
import { type Identify, identify } from '@libp2p/identify'
import type { Connection, ConnectionGater, Libp2p, MultiaddrConnection } from '@libp2p/interface'
import type { NoiseComponents } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { PEERS_MAX } from '../core/limits.ts'
import { STATE_TOPIC } from '../wire/names.ts'
import { PENDING_MAX } from './admission.ts'
import { Gate, type GateInit } from './gate.ts'
import { ADVERTISEMENT_BYTES_MAX } from './gossip.ts'
import { libp2pPrivateKey } from './keys.ts'
import type { Lan, LanComponents } from './lan.ts'
import type { NetworkTiming } from './timing.ts'

/** Streams per connection and direction: control, gossip and identify with their replacements need about ten. */
const STREAMS_PER_CONNECTION_MAX = 64

/** Inbound connections per second of one address: twenty daemons of one host that start at once, several times over. */
const INBOUND_PER_SECOND_MAX = 100

/** A gossip message with its signature and key around the payload. */
const GOSSIP_MESSAGE_BYTES_MAX = ADVERTISEMENT_BYTES_MAX + 1_024

/** Subscriptions that are read of one gossip frame, and control entries: one topic exists. */
const GOSSIP_TOPICS_MAX = 16
const GOSSIP_CONTROL_MAX = 1_024

export interface StarlingServices extends Record<string, unknown> {
  readonly identify: Identify
  readonly pubsub: GossipSub
  readonly lan?: Lan
}

export type StarlingNode = Libp2p<StarlingServices>

/** A libp2p node with all settings of this project, not started. */
export function createNode(init: {
  readonly gate: GateInit
  readonly listen: readonly string[]
  readonly timing: NetworkTiming
  readonly denyInbound: (connection: MultiaddrConnection) => boolean
  /** Undefined: no mDNS. */
  readonly lan: ((components: LanComponents) => Lan) | undefined
}): Promise<StarlingNode> {
  const { gate, timing, lan } = init
  // Every address may be dialled: who answers there is the gate's business.
  const connectionGater: ConnectionGater = {
    denyDialMultiaddr: () => false,
    denyInboundConnection: connection => init.denyInbound(connection)
  }
  return createLibp2p<StarlingServices>({
    start: false,
    privateKey: libp2pPrivateKey(gate.identity.seed),
    addresses: { listen: [...init.listen] },
    transports: [tcp()],
    connectionEncrypters: [(components: NoiseComponents) => new Gate(components, gate)],
    streamMuxers: [
      yamux({ maxInboundStreams: STREAMS_PER_CONNECTION_MAX, maxOutboundStreams: STREAMS_PER_CONNECTION_MAX })
    ],
    connectionGater,
    connectionManager: {
      inboundConnectionThreshold: INBOUND_PER_SECOND_MAX,
      maxIncomingPendingConnections: PENDING_MAX,
      inboundUpgradeTimeout: timing.inboundUpgradeMs,
      dialTimeout: timing.dialMs,
      addressDialTimeout: timing.dialMs,
      // Twice what can be: libp2p never has a reason to prune.
      maxConnections: 2 * PEERS_MAX
    },
    // Liveness is decided by heartbeats on the control stream; this monitor cuts at the first late ping.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      pubsub: gossipsub({
        allowPublishToZeroTopicPeers: true,
        allowedTopics: [STATE_TOPIC],
        emitSelf: false,
        fallbackToFloodsub: false,
        // With few members everybody gets each message at first hand; the topic mesh only repeats what was lost.
        floodPublish: true,
        doPX: false,
        heartbeatInterval: 700,
        D: 8,
        Dlo: 6,
        Dhi: 16,
        Dscore: 4,
        Dout: 2,
        maxInboundDataLength: GOSSIP_MESSAGE_BYTES_MAX,
        decodeRpcLimits: {
          maxSubscriptions: GOSSIP_TOPICS_MAX,
          maxMessages: GOSSIP_CONTROL_MAX,
          maxIhaveMessageIDs: GOSSIP_CONTROL_MAX,
          maxIwantMessageIDs: GOSSIP_CONTROL_MAX,
          maxIdontwantMessageIDs: GOSSIP_CONTROL_MAX,
          maxControlMessages: GOSSIP_TOPICS_MAX,
          maxPeerInfos: 0
        },
        // No scores: members are few and proven, hosts share addresses, and one wrong score would isolate a host.
        scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0 }
      }),
      ...(lan === undefined ? {} : { lan })
    }
  })
}

/** IP address of the other end of a raw connection. */
export function hostOf(connection: MultiaddrConnection | Connection): string {
  return connection.remoteAddr.getComponents()[0]?.value ?? ''
}
