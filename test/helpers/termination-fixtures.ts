import type { Frame, Grant, Handoff, Settle } from '../../src/core/frames.ts'
import { Fences } from '../../src/core/termination/fences.ts'
import {
  type BodyEnd,
  EngagedTree,
  Ledger,
  type LedgerRecord,
  type LedgerStep,
  Participant,
  type TerminationEffect
} from '../../src/core/termination/index.ts'
import { decodeRecord, encodeRecord } from '../../src/wire/frame-codec.ts'

/** Peers of the tests: alice is the root of the job, bob is the daemon under test, carol another one. */
export const ALICE = '12D3A1ice'
export const BOB = '12D3Bob11'
export const CAROL = '12D3Caro1'
export const JOB = 'job1'
export const BOOT = { incarnation: 1, nonce: 'b0'.repeat(8) }

const text = new TextEncoder()
export const bytes = (value: unknown) => text.encode(JSON.stringify(value))

export const COMPLETED: BodyEnd = { kind: 'completed', result: bytes(1), digest: 'ab'.repeat(32), recorded: bytes(1) }
export const FAILED: BodyEnd = { kind: 'failed', error: { code: 'TASK_FAILED', message: 'as told' } }

/** A step at `now`, with what came of it. */
export class Probe implements LedgerStep {
  readonly now: number
  readonly out: TerminationEffect[] = []
  readonly records: LedgerRecord[] = []

  constructor(now = 0) {
    this.now = now
  }

  /** Frames sent, in order. */
  frames<K extends Frame['kind']>(kind: K): (Frame & { kind: K })[] {
    return this.sent()
      .map(({ frame }) => frame)
      .filter((frame): frame is Frame & { kind: K } => frame.kind === kind)
  }

  sent(): (TerminationEffect & { kind: 'send' })[] {
    return this.out.filter(effect => effect.kind === 'send')
  }

  /** Effects of one kind, in order. */
  effects<K extends TerminationEffect['kind']>(kind: K): (TerminationEffect & { kind: K })[] {
    return this.out.filter((effect): effect is TerminationEffect & { kind: K } => effect.kind === kind)
  }

  /** Everything in few words: frames as `to<-kind`, other effects by their kind, without logs. */
  get summary(): string[] {
    return this.out
      .filter(({ kind }) => kind !== 'log')
      .map(effect => (effect.kind === 'send' ? `${nameOf(effect.to)}<-${effect.frame.kind}` : effect.kind))
  }
}

function nameOf(peer: string): string {
  return { [ALICE]: 'alice', [BOB]: 'bob', [CAROL]: 'carol' }[peer] ?? peer
}

/** What `act` brings about at time `now`. */
export function at(now: number, act: (probe: Probe) => void): Probe {
  const probe = new Probe(now)
  act(probe)
  return probe
}

export function handoff(more: Partial<Handoff> = {}): Handoff {
  return {
    kind: 'handoff',
    job: JOB,
    obligation: '0:1',
    toEngagement: 2,
    ownerEngagement: 0,
    root: ALICE,
    request: 1,
    task: { path: '0', capability: 'work', input: bytes(null), traceparent: '' },
    attempts: [1],
    ...more
  }
}

export function settle(obligation: string, more: Partial<Settle> = {}): Settle {
  const nothing = { parts: 0, records: [], endedAgoMs: 0, result: bytes(1) }
  return { kind: 'settle', job: JOB, obligation, outcome: 'completed', ...nothing, ...more }
}

export function grant(engagement: number, more: Partial<Grant> = {}): Grant {
  return { kind: 'grant', job: JOB, engagement, boot: BOOT, sentAt: 0, fenced: [], pendingFences: [], ...more }
}

/** Bob's tree under engagement 2. */
export function bobsTree(fences = new Fences()): EngagedTree {
  return new EngagedTree({ job: JOB, root: ALICE, self: BOB, engagement: 2, fences, encodeRecord })
}

export function bobsPart(): Participant {
  return new Participant({ job: JOB, root: ALICE, self: BOB, boot: BOOT, encodeRecord })
}

/** Bob's part, engaged at time 0 as engagement 2. */
export function bobEngaged(): Participant {
  const participant = bobsPart()
  participant.engage(new Probe(0))
  participant.granted(ALICE, grant(2), new Probe(0))
  return participant
}

export const SUBMITTED = {
  kind: 'submitted',
  job: JOB,
  capability: 'work',
  input: bytes(null),
  on: undefined,
  traceparent: '',
  submittedAt: 0
} as const

/** Alice's ledger of a new job, started at time 0; `history` as after a restart. */
export function alicesLedger(history: readonly LedgerRecord[] = [], probe = new Probe(0)): Ledger {
  const ledger = new Ledger({ self: ALICE, encodeRecord }, SUBMITTED, history)
  ledger.start(0, probe)
  return ledger
}

/** A running vertex of `tree` with its obligations bound to carol (engagement 3), all in one go. */
export function running(tree: EngagedTree, children = 0, more: Partial<Handoff> = {}): string[] {
  const frame = handoff(more)
  const probe = new Probe(0)
  tree.handoff(ALICE, frame, probe)
  tree.started(frame.obligation, 1)
  const ids: string[] = []
  for (let child = 0; child < children; child += 1) {
    const spawned = tree.spawn(frame.obligation, { capability: 'work', input: bytes(child), traceparent: '' }, probe)
    if (!('task' in spawned)) throw new Error(spawned.message)
    ids.push(spawned.obligation)
    tree.bind(spawned.obligation, { to: CAROL, toEngagement: 3, request: 1 }, probe)
  }
  return ids
}

export function recordsOf(frame: { readonly records: readonly Uint8Array[] } | undefined) {
  return (frame?.records ?? []).map(decodeRecord).map(({ path, outcome, peer }) => ({ path, outcome, peer }))
}
