import { describe, expect, test } from 'vitest'
import { RETURNS_MAX } from '../../../src/core/limits.ts'
import {
  judge,
  LEASE_EXPIRY_MS,
  type Ledger,
  type LedgerRecord,
  RESEND_INTERVAL_MS
} from '../../../src/core/termination/index.ts'
import { decodeRecord } from '../../../src/wire/frame-codec.ts'
import {
  ALICE,
  alicesLedger,
  at,
  BOB,
  BOOT,
  CAROL,
  JOB,
  Probe,
  recordsOf,
  settle
} from '../../helpers/termination-fixtures.ts'

const NEWER = { incarnation: 2, nonce: 'b1'.repeat(8) }
const engage = (lost = 0, boot = BOOT) => ({ kind: 'engage', job: JOB, boot, lost, sentAt: 0 }) as const
const fenced = (fence: number, engagement: number) => ({ kind: 'fenced', job: JOB, fence, engagement }) as const
const item = (engagement: number) => ({ job: JOB, engagement, running: 1, queued: 0, ended: 0, failed: 0, spawned: 0 })
const verdict = (ledger: Ledger) => judge(ledger.state.records.map(decodeRecord), ledger.state.cancelRequested).verdict

/** A ledger in which bob (1) and carol (2) are engaged and bob has the root task. */
function underway(): Ledger {
  const ledger = alicesLedger()
  const probe = new Probe(0)
  ledger.engage(BOB, engage(), probe)
  ledger.engage(CAROL, engage(), probe)
  bind(ledger, BOB, 1)
  return ledger
}

function bind(ledger: Ledger, to: string, toEngagement: number): Probe {
  const id = ledger.state.obligation?.id ?? 'none'
  return at(0, step => ledger.bind(id, { to, toEngagement, request: 1 }, null, step))
}

const rootId = (ledger: Ledger) => ledger.state.obligation?.id ?? 'none'

describe('a job', () => {
  test('places its root task, hands it off, and is announced when that has settled', () => {
    const probe = new Probe(0)
    const ledger = alicesLedger([], probe)
    expect(probe.summary).toEqual(['place'])
    expect(at(0, step => ledger.engage(BOB, engage(), step)).summary).toEqual(['bob<-grant'])
    const bound = bind(ledger, BOB, 1)
    expect(bound.summary).toEqual(['bob<-handoff'])
    expect(bound.records.map(({ kind }) => kind)).toEqual(['bound'])
    const over = at(5, step => ledger.settle(BOB, settle(rootId(ledger)), 0, step))
    expect(over.summary).toEqual(['bob<-settled', 'announce', 'bob<-done'])
    expect(over.records.map(({ kind }) => kind)).toEqual(['settled', 'announced'])
  })

  test('is announced once: everything after it is answered, and changes nothing', () => {
    const ledger = underway()
    const id = rootId(ledger)
    ledger.settle(BOB, settle(id), 0, new Probe(5))
    const after = new Probe(6)
    ledger.settle(BOB, settle(id), 0, after)
    ledger.cancel(after)
    ledger.tick(after)
    expect(after.summary).toEqual(['bob<-settled'])
    expect(at(7, step => ledger.engage(CAROL, engage(), step)).summary).toEqual(['carol<-done'])
    expect(ledger.renew(BOB, BOOT, item(1), new Probe(8))).toBe('done')
    expect(after.records).toEqual([])
  })

  test('is bound once, by its present name, to an engagement that is not fenced', () => {
    const ledger = underway()
    expect(ledger.bind(rootId(ledger), { to: CAROL, toEngagement: 2, request: 1 }, null, new Probe())).toBe(false)
    const other = alicesLedger()
    other.engage(BOB, engage(), new Probe())
    other.engage(BOB, engage(1), new Probe())
    expect(other.bind(rootId(other), { to: BOB, toEngagement: 1, request: 1 }, null, new Probe())).toBe(false)
    expect(other.bind('0:99', { to: BOB, toEngagement: 2, request: 1 }, null, new Probe())).toBe(false)
    expect(other.bind(rootId(other), { to: BOB, toEngagement: 2, request: 1 }, null, new Probe())).toBe(true)
  })

  test('ignores a settle from anybody but the host of its root task', () => {
    const ledger = underway()
    expect(at(1, step => ledger.settle(CAROL, settle(rootId(ledger)), 0, step)).out).toEqual([])
    expect(ledger.state.obligation).toBeDefined()
  })

  test(`is issued again when what executes it vanishes, ${RETURNS_MAX} times, then it fails`, () => {
    const ledger = underway()
    const vanished = { outcome: 'returned', error: { code: 'TASK_RETURNED', message: 'gone' } } as const
    const names = new Set<string>()
    for (let back = 1; back <= RETURNS_MAX; back += 1) {
      names.add(rootId(ledger))
      const step = at(back, probe => ledger.settle(BOB, settle(rootId(ledger), vanished), 0, probe))
      expect(step.effects('place')[0]).toMatchObject({ avoid: BOB })
      bind(ledger, BOB, 1)
    }
    expect(names.size).toBe(RETURNS_MAX)
    const last = at(9, step => ledger.settle(BOB, settle(rootId(ledger), vanished), 0, step))
    expect(last.effects('announce')).toHaveLength(1)
    expect(ledger.state.error?.code).toBe('TASK_RETURNED')
    expect(verdict(ledger)).toBe('completed-with-failures')
  })

  test('that no host can take fails', () => {
    const ledger = alicesLedger()
    const error = { code: 'NO_CAPABLE_PEER', message: 'none' }
    const over = at(1, step => ledger.unplaceable(rootId(ledger), error, step))
    expect(over.summary).toEqual(['withdraw', 'announce'])
    expect(ledger.state.error).toEqual(error)
  })
})

describe('an engagement', () => {
  test('is granted by growing numbers, the same one again to the same boot', () => {
    const ledger = underway()
    expect(at(1, step => ledger.engage(BOB, engage(), step)).frames('grant')[0]?.engagement).toBe(1)
    expect(at(1, step => ledger.engage(ALICE, engage(), step)).frames('grant')[0]?.engagement).toBe(3)
  })

  const losses: [why: string, act: (ledger: Ledger, step: Probe) => void, regranted: boolean][] = [
    ['its daemon reports the loss', (ledger, step) => ledger.engage(CAROL, engage(2), step), true],
    ['a newer boot of it asks', (ledger, step) => ledger.engage(CAROL, engage(0, NEWER), step), true],
    ['a newer boot of it says hello', (ledger, step) => ledger.newBoot(CAROL, NEWER, step), false],
    [
      'it leaves',
      (ledger, step) => ledger.leave(CAROL, { kind: 'leave', job: JOB, engagement: 2, boot: BOOT }, step),
      false
    ]
  ]

  test.each(losses)('is fenced when %s, and a grant that follows is not under that fence', (_why, act, regranted) => {
    const ledger = underway()
    const step = at(1, probe => act(ledger, probe))
    expect(step.records[0]).toMatchObject({ kind: 'fence-opened', fence: 2, peer: CAROL })
    expect(step.frames('fence')).toMatchObject([{ fence: 2, peer: CAROL, yourEngagement: 1 }])
    expect(ledger.state.openFences.get(2)?.waiting).toEqual(new Map([[BOB, 1]]))
    const [granted] = step.frames('grant')
    expect(granted !== undefined).toBe(regranted)
    if (granted !== undefined)
      expect(granted).toMatchObject({ engagement: 3, fenced: [{ peer: CAROL, upTo: 2 }], pendingFences: [] })
  })

  const harmless: [why: string, act: (ledger: Ledger, step: Probe) => void][] = [
    ['an old loss is reported again', (ledger, step) => ledger.engage(CAROL, engage(1), step)],
    ['an older boot says hello', (ledger, step) => ledger.newBoot(CAROL, { ...BOOT, incarnation: 0 }, step)],
    ['its own boot says hello', (ledger, step) => ledger.newBoot(CAROL, BOOT, step)],
    [
      'a leave names another engagement',
      (ledger, step) => ledger.leave(CAROL, { kind: 'leave', job: JOB, engagement: 1, boot: BOOT }, step)
    ],
    [
      'a leave is of another boot',
      (ledger, step) => ledger.leave(CAROL, { kind: 'leave', job: JOB, engagement: 2, boot: NEWER }, step)
    ],
    ['a stranger says hello', (ledger, step) => ledger.newBoot('12D3Stranger', NEWER, step)]
  ]

  test.each(harmless)('is not fenced when %s', (_why, act) => {
    const ledger = underway()
    expect(at(1, step => act(ledger, step)).records).toEqual([])
  })

  test('is fenced LEASE_EXPIRY_MS after its last renewal was heard, not before', () => {
    const ledger = underway()
    ledger.renew(BOB, BOOT, item(1), new Probe(1_000))
    ledger.renew(CAROL, BOOT, item(2), new Probe(2_000))
    expect(at(1_000 + LEASE_EXPIRY_MS - 1, step => ledger.tick(step)).records).toEqual([])
    const step = at(1_000 + LEASE_EXPIRY_MS, probe => ledger.tick(probe))
    expect(step.records.map(({ kind }) => kind)).toEqual(['fence-opened', 'reissued'])
    expect(ledger.state.grants.has(CAROL)).toBe(true)
  })

  test('that is fenced cannot be renewed', () => {
    const ledger = underway()
    ledger.newBoot(CAROL, NEWER, new Probe())
    expect(ledger.renew(CAROL, BOOT, item(2), new Probe(1))).toBe('lost')
    expect(ledger.renew(BOB, NEWER, item(1), new Probe(1)), 'of another boot').toBe('lost')
    expect(ledger.renew(BOB, BOOT, item(7), new Probe(1)), 'another one').toBe('lost')
  })

  test('its renewals leave what they say of progress, as a soft figure', () => {
    const ledger = underway()
    ledger.renew(BOB, BOOT, { ...item(1), spawned: 5 }, new Probe(1_000))
    expect(ledger.progress()).toMatchObject([{ peer: BOB, at: 1_000, running: 1, spawned: 5 }])
  })
})

describe('a fence', () => {
  test('holds the announcement back until every engagement of that time has answered (I7)', () => {
    const ledger = underway()
    ledger.engage(ALICE, engage(), new Probe())
    ledger.newBoot(CAROL, NEWER, new Probe())
    expect(at(1, step => ledger.settle(BOB, settle(rootId(ledger)), 0, step)).summary).toEqual(['bob<-settled'])
    expect(at(2, step => ledger.fenced(BOB, fenced(2, 1), step)).summary).toEqual([])
    expect(at(3, step => ledger.fenced(ALICE, fenced(2, 3), step)).effects('announce')).toHaveLength(1)
  })

  const worthless: [why: string, from: string, fence: number, engagement: number][] = [
    ['by a peer that was not asked', CAROL, 2, 2],
    ['under another engagement', BOB, 2, 7],
    ['for another fence', BOB, 9, 1]
  ]

  test.each(worthless)('is not closed by an answer %s', (_why, from, fence, engagement) => {
    const ledger = underway()
    ledger.newBoot(CAROL, NEWER, new Probe())
    expect(at(1, step => ledger.fenced(from, fenced(fence, engagement), step)).records).toEqual([])
    expect(ledger.state.openFences.has(2)).toBe(true)
  })

  test('does not wait for a host that is fenced itself meanwhile, and the later fence covers it', () => {
    const ledger = underway()
    ledger.engage(ALICE, engage(), new Probe())
    ledger.newBoot(CAROL, NEWER, new Probe())
    ledger.newBoot(BOB, NEWER, new Probe())
    expect(ledger.state.openFences.get(2)?.waiting).toEqual(new Map([[ALICE, 3]]))
    expect(ledger.state.openFences.get(1)?.waiting).toEqual(new Map([[ALICE, 3]]))
  })

  test('that is the last to wait for a lost host does not let the end slip through before the next opens (H7)', () => {
    const ledger = underway()
    ledger.newBoot(CAROL, NEWER, new Probe())
    const step = at(1, probe => ledger.newBoot(BOB, NEWER, probe))
    // Nobody is left to ask: both fences are closed. The root task was lost with bob, and is owed again.
    expect(step.records.map(({ kind }) => kind)).toEqual(['fence-opened', 'reissued'])
    expect(step.effects('announce')).toEqual([])
    expect(step.effects('place')).toHaveLength(1)
  })

  test('issues the root task again when its host is the lost one, under a new name', () => {
    const ledger = underway()
    const before = rootId(ledger)
    const step = at(1, probe => ledger.newBoot(BOB, NEWER, probe))
    expect(step.records.map(({ kind }) => kind)).toEqual(['fence-opened', 'reissued'])
    expect(step.effects('place')[0]?.obligation).toBe(rootId(ledger))
    expect(rootId(ledger)).not.toBe(before)
    expect(ledger.state.obligation?.attempts).toEqual([2])
  })

  test('is repeated in grants and renewals, at a new link and by the slow timer, until it is answered (R5)', () => {
    const ledger = underway()
    ledger.newBoot(CAROL, NEWER, new Probe())
    const pending = [{ fence: 2, peer: CAROL, cause: 'lost' }]
    expect(at(1, step => ledger.engage(BOB, engage(), step)).frames('grant')[0]?.pendingFences).toEqual(pending)
    expect(ledger.renew(BOB, BOOT, item(1), new Probe())).toEqual({ pendingFences: pending })
    expect(at(2, step => ledger.resend(BOB, step)).summary).toEqual(['bob<-handoff', 'bob<-fence'])
    expect(at(2, step => ledger.resend(undefined, step)).summary, 'it has just left').toEqual([])
    const later = RESEND_INTERVAL_MS
    expect(at(later, step => ledger.resend(undefined, step)).summary).toEqual(['bob<-fence'])
    expect(at(2, step => ledger.resend(CAROL, step)).summary).toEqual([])
    ledger.fenced(BOB, fenced(2, 1), new Probe())
    expect(at(3 * later, step => ledger.resend(undefined, step)).summary).toEqual([])
  })
})

describe('a cancel', () => {
  test('of a job that has no host yet ends it at once', () => {
    const ledger = alicesLedger()
    expect(at(1, step => ledger.cancel(step)).summary).toEqual(['withdraw', 'announce'])
    expect(verdict(ledger)).toBe('cancelled')
  })

  test('goes to the host, is repeated, and ends the job only when the host says that all is quiet', () => {
    const ledger = underway()
    expect(at(1, step => ledger.cancel(step)).summary).toEqual(['bob<-cancel'])
    expect(at(2, step => ledger.cancel(step)).out).toEqual([])
    expect(at(3, step => ledger.resend(BOB, step)).summary).toEqual(['bob<-cancel'])
    expect(at(3, step => ledger.resend(undefined, step)).summary).toEqual(['bob<-cancel'])
    const over = at(4, step => ledger.settle(BOB, settle(rootId(ledger), { outcome: 'cancelled' }), 0, step))
    expect(over.effects('announce')).toHaveLength(1)
  })

  test('that met only a tombstone is a cancelled job all the same, with its task in the records', () => {
    const ledger = underway()
    ledger.cancel(new Probe(1))
    ledger.settle(BOB, settle(rootId(ledger), { outcome: 'cancelled', records: [] }), 0, new Probe(2))
    expect(recordsOf(ledger.state)).toEqual([{ path: '0', outcome: 'cancelled', peer: BOB }])
    expect(verdict(ledger)).toBe('cancelled')
  })

  test('makes an end of an attempt that comes back', () => {
    const ledger = underway()
    ledger.cancel(new Probe(1))
    const over = at(2, step => ledger.settle(BOB, settle(rootId(ledger), { outcome: 'returned' }), 0, step))
    expect(over.effects('announce')).toHaveLength(1)
    expect(verdict(ledger)).toBe('cancelled')
  })

  test('that nobody asked for is taken as given back', () => {
    const ledger = underway()
    const back = at(2, step => ledger.settle(BOB, settle(rootId(ledger), { outcome: 'cancelled' }), 0, step))
    expect(back.summary).toEqual(['bob<-settled', 'place'])
  })
})

describe('after a restart', () => {
  const granted = (peer: string, engagement: number): LedgerRecord => ({
    kind: 'granted',
    peer,
    engagement,
    boot: BOOT
  })
  const bound: LedgerRecord = {
    kind: 'bound',
    obligation: '0:2',
    path: '0',
    attempt: 1,
    to: BOB,
    toEngagement: 1,
    request: 1,
    placement: null
  }

  test('an attempt that was not bound is placed again, and a name that was bound once is never used again (C7)', () => {
    const probe = new Probe(0)
    alicesLedger([granted(BOB, 1)], probe)
    expect(probe.effects('place')).toHaveLength(1)
    const rebound = alicesLedger([granted(BOB, 1), bound])
    const back = at(1, step => rebound.settle(BOB, settle('0:2', { outcome: 'returned' }), 0, step))
    const again = alicesLedger([granted(BOB, 1), bound, ...back.records])
    for (const ledger of [rebound, again]) expect(rootId(ledger)).not.toBe('0:2')
  })

  test('silent engagements get one whole lease from now before they are fenced', () => {
    const ledger = alicesLedger([granted(BOB, 1), bound])
    expect(at(LEASE_EXPIRY_MS - 1, step => ledger.tick(step)).records).toEqual([])
    const over = at(LEASE_EXPIRY_MS, step => ledger.tick(step))
    expect(over.records.map(({ kind }) => kind)).toEqual(['fence-opened', 'reissued'])
  })

  test('the hand-off is sent again when the host is linked', () => {
    const ledger = alicesLedger([granted(BOB, 1), bound])
    expect(at(1, step => ledger.resend(BOB, step)).frames('handoff')).toMatchObject([
      { obligation: '0:2', toEngagement: 1 }
    ])
  })

  test('a job whose last record was the settle is announced at once (H11)', () => {
    const end = {
      kind: 'settled',
      obligation: '0:2',
      outcome: 'completed',
      result: new Uint8Array(1),
      error: undefined
    } as const
    const probe = new Probe(0)
    const ledger = alicesLedger([granted(BOB, 1), bound, { ...end, records: [], lastEndedAt: 123_456 }], probe)
    expect(probe.effects('announce')).toHaveLength(1)
    expect(ledger.state.lastEndedAt, 'a time of another boot is no time').toBeUndefined()
  })

  test('a job that was being cancelled goes on being cancelled', () => {
    const ledger = alicesLedger([granted(BOB, 1), bound, { kind: 'cancel-requested' }])
    expect(at(1, step => ledger.resend(BOB, step)).summary).toEqual(['bob<-cancel'])
    const probe = new Probe(0)
    alicesLedger([{ kind: 'cancel-requested' }], probe)
    expect(probe.effects('announce')).toHaveLength(1)
  })

  test('a fence that was opened without its consequence has it now', () => {
    const probe = new Probe(0)
    alicesLedger([granted(BOB, 1), bound, { kind: 'fence-opened', fence: 1, peer: BOB, cause: 'lost' }], probe)
    expect(probe.records.map(({ kind }) => kind)).toEqual(['reissued'])
    expect(probe.effects('place')).toHaveLength(1)
  })
})
