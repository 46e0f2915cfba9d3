import fc from 'fast-check'
import type { LedgerRecord } from '../../src/core/termination/records.ts'
import type { JobSummary, TaskItem } from '../../src/wire/api/schemas.ts'

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** A job id made of a number. */
export function jobId(number: number): string {
  return `j${String(number)
    .padStart(25, 'a')
    .replace(/[0189]/g, digit => ({ 0: 'q', 1: 'r', 8: 's', 9: 't' })[digit] ?? digit)}`
}

export function granted(engagement: number): LedgerRecord {
  return { kind: 'granted', peer: '12D3KooWalice', engagement, boot: { incarnation: 1, nonce: '0123456789abcdef' } }
}

export function settled(result: Uint8Array, records: readonly Uint8Array[] = []): LedgerRecord & { kind: 'settled' } {
  return { kind: 'settled', obligation: '0:1', outcome: 'completed', result, error: undefined, records, lastEndedAt: 0 }
}

export function summary(id: string, extra: Partial<JobSummary> = {}): JobSummary {
  return {
    id,
    capability: 'index',
    topology: 'mesh',
    verdict: 'completed',
    lost: [],
    tasks: { total: 1, completed: 1, failed: 0, lost: 0, cancelled: 0 },
    peers: [{ peerId: '12D3KooWalice', name: 'alice', tasks: 1 }],
    timings: {
      submittedAt: '2026-01-01T00:00:00.000Z',
      lastTaskEndedAt: '2026-01-01T00:00:01.000Z',
      announcedAt: '2026-01-01T00:00:01.002Z',
      detectionMs: 2
    },
    ...extra
  }
}

export function item(job: string, path: string): TaskItem {
  return {
    id: `${job}.${path}`,
    parent: null,
    capability: 'index',
    peerId: '12D3KooWalice',
    state: 'completed',
    outcome: 'completed',
    attempt: 1,
    resultDigest: null,
    usage: { source: 'unknown' },
    startedAt: '2026-01-01T00:00:00.000Z',
    endedAt: '2026-01-01T00:00:01.000Z'
  }
}

const anyBytes = fc.uint8Array({ maxLength: 300 })
const text = fc.string({ unit: 'binary', maxLength: 40 })
const error = fc.option(fc.record({ code: text, message: text }), { nil: undefined })

type Arbitraries = { readonly [K in LedgerRecord['kind']]: fc.Arbitrary<Extract<LedgerRecord, { kind: K }>> }

/** One arbitrary per kind: a new kind of record does not compile before it is here. */
const arbitraries: Arbitraries = {
  submitted: fc.record({
    kind: fc.constant('submitted'),
    job: text,
    capability: text,
    input: anyBytes,
    on: fc.option(text, { nil: undefined }),
    traceparent: text,
    submittedAt: fc.nat()
  }),
  granted: fc.record({
    kind: fc.constant('granted'),
    peer: text,
    engagement: fc.nat(),
    boot: fc.record({ incarnation: fc.nat(), nonce: text })
  }),
  bound: fc.record({
    kind: fc.constant('bound'),
    obligation: text,
    path: text,
    attempt: fc.nat(),
    to: text,
    toEngagement: fc.nat(),
    request: fc.nat(),
    placement: fc.jsonValue()
  }),
  settled: fc.record({
    kind: fc.constant('settled'),
    obligation: text,
    outcome: fc.constantFrom('completed', 'failed', 'cancelled', 'lost'),
    result: anyBytes,
    error,
    records: fc.array(anyBytes, { maxLength: 5 }),
    lastEndedAt: fc.nat()
  }),
  reissued: fc.record({
    kind: fc.constant('reissued'),
    obligation: text,
    why: fc.constantFrom('returned', 'lost', 'left', 'failed')
  }),
  late: fc.record({ kind: fc.constant('late'), record: anyBytes }),
  'fence-opened': fc.record({
    kind: fc.constant('fence-opened'),
    fence: fc.nat(),
    peer: text,
    cause: fc.constantFrom('left', 'lost', 'final')
  }),
  'fence-answered': fc.record({ kind: fc.constant('fence-answered'), fence: fc.nat(), peer: text }),
  'cancel-requested': fc.record({ kind: fc.constant('cancel-requested') }),
  announced: fc.record({ kind: fc.constant('announced') })
}

export const anyRecord: fc.Arbitrary<LedgerRecord> = fc.oneof(...Object.values(arbitraries))
