import type { Monotonic, PeerId } from '../ids.ts'
import type { Member, MemberView } from '../membership/index.ts'

/** Why a task went where it went, or would go: recorded when it is bound, and shown as it was recorded. */
export interface PlacementDecision {
  readonly chosen: PeerId | null
  readonly reason: string
  readonly candidates: readonly Considered[]
  /** From the moment the task needed a host; null in a dry run. */
  readonly waitedMs: number | null
}

export interface Considered {
  readonly peer: PeerId
  readonly name: string
  readonly eligible: boolean
  readonly reason: string
  /** Free slots in the newest advertisement; null when it offers none. */
  readonly free: number | null
  /** Age of that figure; 0 for this daemon itself, null when none has come. */
  readonly ageMs: number | null
}

export interface OwnOffer {
  readonly name: string
  /** It takes work. */
  readonly open: boolean
  readonly capabilities: readonly { readonly name: string; readonly slots: number; readonly free: number }[]
}

const CLOSED = 'it takes no work now: it is draining or stopping'

/** Every known daemon, and whether it can take a task of this capability. */
export function consider(
  capability: string,
  on: PeerId | undefined,
  self: OwnOffer,
  view: MemberView,
  now: Monotonic
): Considered[] {
  const own = self.open ? self.capabilities.find(({ name }) => name === capability) : undefined
  const here = { peer: view.self, name: self.name, ageMs: 0, free: own?.free ?? null }
  const all: Considered[] = [{ ...here, ...judge(view.self, on, own?.free, self.open ? undefined : CLOSED) }]
  for (const member of view.members()) {
    const open = member.advertisement?.drain === 'no'
    const offer = open ? member.advertisement?.capabilities.find(({ name }) => name === capability) : undefined
    const ageMs = member.advertisedAt === undefined ? null : Math.max(0, now - member.advertisedAt)
    const name = member.advertisement?.name ?? ''
    const verdict = judge(member.peer, on, offer?.free, unreachable(member))
    all.push({ peer: member.peer, name, free: offer?.free ?? null, ageMs, ...verdict })
  }
  return all
}

/** Names of all capabilities that are offered here, or by members that are not known to be gone. */
export function capabilitiesOf(own: OwnOffer['capabilities'], view: MemberView): Set<string> {
  const names = new Set(own.map(({ name }) => name))
  for (const { state, advertisement } of view.members()) {
    if (state !== 'alive' && state !== 'suspect') continue
    for (const { name } of advertisement?.capabilities ?? []) names.add(name)
  }
  return names
}

function unreachable(member: Member): string | undefined {
  if (member.state !== 'alive') return `it is ${member.state}`
  if (!member.linked) return 'there is no link to it'
  if (member.advertisement !== undefined && member.advertisement.drain !== 'no') return CLOSED
  return undefined
}

function judge(
  peer: PeerId,
  on: PeerId | undefined,
  free: number | undefined,
  obstacle: string | undefined
): { eligible: boolean; reason: string } {
  if (on !== undefined && on !== peer) return { eligible: false, reason: 'another peer was asked for' }
  if (obstacle !== undefined) return { eligible: false, reason: obstacle }
  if (free === undefined) return { eligible: false, reason: 'it does not offer the capability' }
  return { eligible: true, reason: free > 0 ? `${free} free` : 'all its slots are taken' }
}

/** The decision for a task that was bound to `chosen`. */
export function boundDecision(
  chosen: PeerId,
  candidates: readonly Considered[],
  asked: readonly PeerId[],
  waitedMs: number
): PlacementDecision {
  const nameOf = (peer: PeerId) => candidates.find(c => c.peer === peer)?.name || peer
  const others = asked.filter(peer => peer !== chosen).map(nameOf)
  const beside = others.length === 0 ? 'it alone was asked' : `asked beside it: ${others.join(', ')}`
  return { chosen, reason: `${nameOf(chosen)} was the first with a free slot; ${beside}`, candidates, waitedMs }
}
