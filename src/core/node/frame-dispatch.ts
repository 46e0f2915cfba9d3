import type { EngagementFrame, ObligationFrame, Relay, Renew } from '../frames.ts'
import type { JobId, PeerId } from '../ids.ts'
import type { LedgerStep } from '../termination/index.ts'
import type { HostSide } from './host-side.ts'
import type { RootSide } from './root-side.ts'

/** Frames that belong to jobs. */
export type JobFrame = Exclude<EngagementFrame | ObligationFrame, Relay>

interface Sides {
  readonly host: HostSide
  readonly roots: RootSide
  /** Half a round trip to the sender, 0 when unknown. */
  readonly oneWayMs: number
}

/**
 * Gives a frame of a job to the machine that it is for: the ledger for what the root does, else this host's
 * participant. Returns the job whose records the step may have made.
 */
export function dispatchJobFrame(sides: Sides, from: PeerId, frame: JobFrame, at: LedgerStep): JobId {
  if (frame.kind === 'renew') {
    renew(sides.roots, from, frame, at)
    return ''
  }
  if (frame.kind === 'renewed') {
    for (const participant of sides.host.participants()) {
      if (participant.root === from) participant.renewed(from, frame, at)
    }
    return ''
  }
  if (isForRoot(frame)) toRoot(sides, from, frame, at)
  else toHost(sides, from, frame, at)
  return frame.job
}

type SingleJobFrame = Exclude<JobFrame, { kind: 'renew' | 'renewed' }>

/** Settles of root tasks name obligation "0:n", the virtual root's. */
function isForRoot(frame: SingleJobFrame): boolean {
  switch (frame.kind) {
    case 'engage':
    case 'leave':
    case 'fenced':
    case 'exclusive':
      return true
    case 'settle':
    case 'settlePart':
      return frame.obligation.startsWith('0:')
    default:
      return false
  }
}

function toRoot({ roots, oneWayMs }: Sides, from: PeerId, frame: SingleJobFrame, at: LedgerStep): void {
  const { job } = frame
  const ledger = roots.ledger(job)
  switch (frame.kind) {
    case 'engage': {
      const newest = roots.staleness(from, frame.boot)
      if (newest !== undefined) {
        at.out.push({ kind: 'send', to: from, frame: { kind: 'stale', job, boot: frame.boot, incarnation: newest } })
      } else if (ledger !== undefined) {
        ledger.engage(from, frame, at)
      } else {
        at.out.push({ kind: 'send', to: from, frame: { kind: 'done', job } })
      }
      return
    }
    case 'leave':
      return ledger?.leave(from, frame, at)
    case 'fenced':
      return ledger?.fenced(from, frame, at)
    case 'exclusive':
      return ledger?.permit(from, frame, at)
    case 'settlePart':
      return ledger?.settlePart(from, frame)
    case 'settle':
      if (ledger !== undefined) return ledger.settle(from, frame, oneWayMs, at)
      at.out.push({ kind: 'send', to: from, frame: { kind: 'settled', job, obligation: frame.obligation } })
  }
}

function toHost({ host, oneWayMs }: Sides, from: PeerId, frame: SingleJobFrame, at: LedgerStep): void {
  if (frame.kind === 'handoff') {
    host.join(frame.job, frame.root).liveFor(frame.toEngagement, at)?.handoff(from, frame, at)
    return
  }
  const participant = host.participant(frame.job)
  if (participant === undefined) {
    if (frame.kind !== 'settle') return
    at.out.push({ kind: 'send', to: from, frame: { kind: 'settled', job: frame.job, obligation: frame.obligation } })
    return
  }
  switch (frame.kind) {
    case 'grant':
      return participant.granted(from, frame, at)
    case 'stale':
      return participant.stale(from, frame.boot, frame.incarnation, at)
    case 'done':
      return participant.done(from, at)
    case 'fence':
      if (from === participant.root) participant.liveFor(frame.yourEngagement, at)?.fence(frame, at)
      return
    case 'permit':
      if (from === participant.root) participant.live(at)?.permitted(frame.obligation, at)
      return
    case 'cancel':
      return participant.liveFor(frame.toEngagement, at)?.cancel(from, frame, at)
    case 'settled':
      return participant.live(at)?.settled(from, frame.obligation)
    case 'settlePart':
      return participant.live(at)?.settlePart(from, frame)
    case 'settle': {
      const tree = participant.live(at)
      if (tree !== undefined) return tree.settle(from, frame, oneWayMs, at)
      at.out.push({ kind: 'send', to: from, frame: { kind: 'settled', job: frame.job, obligation: frame.obligation } })
    }
  }
}

function renew(roots: RootSide, from: PeerId, frame: Renew, at: LedgerStep): void {
  const { boot, sentAt } = frame
  const items = []
  const lost: JobId[] = []
  const done: JobId[] = []
  for (const item of frame.items) {
    const ledger = roots.ledger(item.job)
    const answer = ledger === undefined ? 'done' : ledger.renew(from, boot, item, at)
    if (answer === 'done') done.push(item.job)
    else if (answer === 'lost') lost.push(item.job)
    else items.push({ job: item.job, engagement: item.engagement, ...answer })
  }
  at.out.push({ kind: 'send', to: from, frame: { kind: 'renewed', boot, sentAt, items, lost, done } })
}
