import { expect, test } from 'vitest'
import type { Advertisement, NodeEffect } from '../../../src/core/index.ts'
import { MeshNode } from '../../../src/core/node/index.ts'

const ADDRESS = { bob: '/ip4/127.0.0.1/tcp/1', carol: '/ip4/127.0.0.1/tcp/2' }

function advertisementOf(peer: 'bob' | 'carol', sequence: number, addresses: readonly string[]): Advertisement {
  const load = { capabilities: [], running: 0, queued: 0, drain: 'no' } as const
  return { peer, incarnation: 1, sequence, name: peer, version: '1', addresses, ...load }
}

/** Frames of peer exchange, as `TO: peer@addresses`. */
function exchanged(effects: readonly NodeEffect[]): string[] {
  return effects.flatMap(effect => {
    if (effect.kind !== 'send' || effect.frame.kind !== 'peers') return []
    return effect.frame.peers.map(({ peer, addresses }) => `${effect.to}: ${peer}@${addresses.join()}`)
  })
}

/** A daemon to which bob and carol have been linked at the same moment, neither of whom it knows anything about. */
function alice(): MeshNode {
  const boot = { incarnation: 1, nonce: '0123456789abcdef' }
  const node = new MeshNode({
    self: 'alice',
    boot,
    name: 'alice',
    version: '1',
    encodeRecord: () => new Uint8Array(),
    random: () => 0.5
  })
  node.linkUp('bob', 0)
  node.linkUp('carol', 0)
  node.takeOutput(0)
  return node
}

test('members that are linked at the same moment are told of each other as soon as their addresses are known', () => {
  const node = alice()
  const boot = { incarnation: 1, nonce: 'fedcba9876543210' }
  node.frame('bob', { kind: 'hello', boot, advertisement: advertisementOf('bob', 1, [ADDRESS.bob]) }, 1)
  expect(exchanged(node.takeOutput(1).effects)).toEqual([`carol: bob@${ADDRESS.bob}`])
  // Carol greets before she knows where she listens, and says it later by gossip.
  node.frame('carol', { kind: 'hello', boot, advertisement: advertisementOf('carol', 1, []) }, 2)
  expect(exchanged(node.takeOutput(2).effects)).toEqual([])
  node.gossip('carol', advertisementOf('carol', 2, [ADDRESS.carol]), 3)
  expect(exchanged(node.takeOutput(3).effects)).toEqual([`bob: carol@${ADDRESS.carol}`])
})

test('only news is passed on: a member that moves, not one that says the same again, nor one without a link', () => {
  const node = alice()
  node.gossip('bob', advertisementOf('bob', 1, [ADDRESS.bob]), 1)
  node.takeOutput(1)
  node.gossip('bob', advertisementOf('bob', 2, [ADDRESS.bob]), 2)
  expect(exchanged(node.takeOutput(2).effects)).toEqual([])
  node.gossip('bob', advertisementOf('bob', 3, ['/ip4/127.0.0.1/tcp/9']), 3)
  expect(exchanged(node.takeOutput(3).effects)).toEqual(['carol: bob@/ip4/127.0.0.1/tcp/9'])
  node.linkDown('bob', 4)
  node.gossip('bob', advertisementOf('bob', 4, [ADDRESS.bob]), 5)
  expect(exchanged(node.takeOutput(5).effects)).toEqual([])
})
