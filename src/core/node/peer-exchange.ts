import type { Frame } from '../frames.ts'
import type { PeerId } from '../ids.ts'
import type { MemberView } from '../membership/index.ts'

type Peers = Frame & { kind: 'peers' }

/** Whom this daemon is linked with, for a member that has just been linked. */
export function acquaintances(view: MemberView, peer: PeerId): Peers {
  const others = view.members().filter(member => member.linked && member.peer !== peer)
  const peers = others.map(member => ({ peer: member.peer, addresses: member.advertisement?.addresses ?? [] }))
  return { kind: 'peers', peers }
}

/**
 * Tells all other linked members where `peer` is, when that is news: two that join at the same moment would else never
 * hear of each other, since neither's addresses are known when the other is linked. `before`: its addresses as known.
 */
export function introductions(
  view: MemberView,
  peer: PeerId,
  before: readonly string[] | undefined
): { to: PeerId; frame: Peers }[] {
  const member = view.get(peer)
  const addresses = member?.advertisement?.addresses ?? []
  if (member?.linked !== true || addresses.length === 0 || addresses.join() === before?.join()) return []
  const others = view.members().filter(other => other.linked && other.peer !== peer)
  return others.map(other => ({ to: other.peer, frame: { kind: 'peers', peers: [{ peer, addresses }] } }))
}
