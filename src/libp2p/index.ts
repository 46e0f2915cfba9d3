/**
 * The network adapter: members-only links over libp2p (TCP, noise, yamux), gossip, mDNS, reconnection. The only place
 * that imports libp2p. `libp2pNetwork` implements the `Network` port; `createSwarm`, `createToken` and `parseToken`
 * make and spend memberships.
 */
export { peerIdFromSeed } from './keys.ts'
export { type Libp2pNetwork, type Libp2pNetworkInit, libp2pNetwork, type NetworkCounters } from './network.ts'
export { canIssue, createSwarm, swarmIdOf } from './swarm.ts'
export { DEFAULT_TIMING, type NetworkTiming } from './timing.ts'
export { createToken, type JoinToken, parseToken, type TokenOptions } from './token.ts'
