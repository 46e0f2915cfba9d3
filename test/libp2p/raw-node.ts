import { randomBytes } from 'node:crypto'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { GateInit } from '../../src/libp2p/gate.ts'
import { Links } from '../../src/libp2p/links.ts'
import { createNode, type StarlingNode } from '../../src/libp2p/node.ts'
import { DEFAULT_TIMING } from '../../src/libp2p/timing.ts'
import { silentLogger } from '../../src/ports/logger.ts'
import type { Swarm } from '../../src/ports/membership.ts'
import type { LocalIdentity } from '../../src/ports/network.ts'
import { CONTROL_PROTOCOL, STATE_TOPIC } from '../../src/wire/names.ts'
import { newIdentity } from './harness.ts'

/** A libp2p node behind the gate without the rest of the adapter: for members that misbehave, and to see events. */
export interface RawNode {
  readonly identity: LocalIdentity
  readonly node: StarlingNode
  readonly links: Links
  /** What libp2p has told of connections. */
  readonly events: { opened: number; identified: number; subscribed: number }
  readonly refused: string[]
  dial(address: string): Promise<Connection>
  /** Opens a control stream as the side that dialled does. */
  control(connection: Connection): Promise<Stream>
}

export class RawNodes {
  readonly #nodes: StarlingNode[] = []

  async start(options: {
    swarm: Swarm | undefined
    swarmKey?: Uint8Array
    identity?: LocalIdentity
    gate?: Partial<GateInit>
  }): Promise<RawNode> {
    const identity = options.identity ?? newIdentity()
    const links = new Links(identity.peer, { opened() {}, closed() {} })
    const refused: string[] = []
    const node = await createNode({
      gate: {
        identity,
        swarmKey: options.swarmKey ?? options.swarm?.publicKey ?? randomBytes(32),
        links,
        logger: silentLogger,
        exchangeMs: 2_000,
        membership: () => options.swarm,
        token: undefined,
        wall: () => Date.now(),
        redeem: () => {
          throw new Error('no tokens here')
        },
        joined() {},
        dialRefused() {},
        inboundEnded: (_connection, code) => {
          if (code !== undefined) refused.push(code)
        },
        ...options.gate
      },
      listen: ['/ip4/127.0.0.1/tcp/0'],
      timing: DEFAULT_TIMING,
      denyInbound: () => false,
      lan: undefined
    })
    const events = { opened: 0, identified: 0, subscribed: 0 }
    node.addEventListener('connection:open', () => {
      events.opened += 1
    })
    node.addEventListener('peer:identify', () => {
      events.identified += 1
    })
    node.services.pubsub.addEventListener('subscription-change', () => {
      events.subscribed += 1
    })
    this.#nodes.push(node)
    await node.start()
    node.services.pubsub.subscribe(STATE_TOPIC)
    return {
      identity,
      node,
      links,
      events,
      refused,
      dial: address => node.dial(multiaddr(address), { signal: AbortSignal.timeout(5_000) }),
      control: connection => connection.newStream(CONTROL_PROTOCOL)
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map(node => node.stop()))
  }
}

export function rawAddress(raw: RawNode): string {
  const [address] = raw.node.getMultiaddrs()
  if (address === undefined) throw new Error('the node does not listen')
  return address.toString()
}
