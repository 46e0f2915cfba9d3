import { createSwarm } from '../../src/libp2p/index.ts'
import { networkSuite } from '../compliance/network-suite.ts'
import { MemoryMembershipStore } from '../helpers/memory-membership-store.ts'
import { MemoryHub } from '../helpers/memory-network.ts'
import { realClock } from '../helpers/real-time.ts'
import { admit, freePort, newIdentity, Pool } from './harness.ts'

networkSuite('the libp2p adapter', () => {
  const pool = new Pool()
  const founder = { identity: newIdentity(), store: new MemoryMembershipStore() }
  createSwarm(founder.identity, founder.store)
  const addresses: string[] = []
  return {
    member: async () => {
      const store = new MemoryMembershipStore()
      const identity = newIdentity()
      admit(founder, identity, store)
      const address = `/ip4/127.0.0.1/tcp/${await freePort()}`
      const peers = [...addresses]
      addresses.push(`${address}/p2p/${identity.peer}`)
      return pool.make({ identity, store, listen: [address], peers }).network
    },
    teardown: () => pool.stop()
  }
})

networkSuite('the memory network', () => {
  const hub = new MemoryHub({ clock: realClock, latencyMs: 1 })
  return {
    member: async () => hub.member(newIdentity().peer),
    teardown: async () => {}
  }
})
