/** Names on the wire: protocol ids, topics, tags. Built and parsed here and nowhere else. */

/** The control stream; the version changes only when old and new cannot talk. */
export const CONTROL_PROTOCOL = '/starling/control/1'

/** Security protocol of the members-only gate: noise, then one exchange of certificates. */
export const GATE_PROTOCOL = '/starling/noise/1'

/** Gossip topic of advertisements; the swarm is told apart by the gate, not by the topic. */
export const STATE_TOPIC = 'starling/state/1'

/** Characters of a swarm id: the first 16 hex digits of the SHA-256 of the swarm's public key. */
export const SWARM_ID_CHARS = 16

/** DNS-SD service name of a swarm, so that two swarms on one LAN, and other libp2p programs, never meet. */
export function mdnsServiceTag(swarmId: string): string {
  return `_starling-${swarmId}._udp.local`
}
