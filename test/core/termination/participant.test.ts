import { describe, expect, test } from 'vitest'
import type { Renewed } from '../../../src/core/frames.ts'
import { ENGAGE_RETRY_MS, LEASE_MS, type LedgerStep, type Participant } from '../../../src/core/termination/index.ts'
import {
  ALICE,
  at,
  BOB,
  BOOT,
  bobEngaged,
  bobsPart,
  bytes,
  CAROL,
  COMPLETED,
  grant,
  handoff,
  JOB,
  Probe,
  settle
} from '../../helpers/termination-fixtures.ts'

const NEWER = { incarnation: 2, nonce: 'b1'.repeat(8) }
const RESTORED = { incarnation: 1, nonce: 'ff'.repeat(8) }
const CHILD = { capability: 'work', input: bytes('child'), traceparent: '' }

const renewed = (sentAt: number, more: Partial<Renewed> = {}): Renewed => {
  const items = [{ job: JOB, engagement: 2, pendingFences: [] }]
  return { kind: 'renewed', boot: BOOT, sentAt, items, lost: [], done: [], ...more }
}

/** Bob, engaged, with a running body `0:1` that owes a child bound to carol and one still to be placed. */
function busy(): { participant: Participant; bound: string; placing: string } {
  const participant = bobEngaged()
  const probe = new Probe(1)
  const tree = participant.liveFor(2, probe)
  tree?.handoff(ALICE, handoff(), probe)
  tree?.handoff(ALICE, handoff({ obligation: '0:2' }), probe)
  tree?.started('0:1', 1)
  const children = [0, 1].map(() => tree?.spawn('0:1', CHILD, probe))
  const [bound, placing] = children.map(child => (child !== undefined && 'task' in child ? child.obligation : ''))
  if (!bound || !placing) throw new Error('the fixture could not spawn')
  tree?.bind(bound, { to: CAROL, toEngagement: 3, request: 1 }, probe)
  return { participant, bound, placing }
}

describe('engaging', () => {
  test('asks the root once, and again after ENGAGE_RETRY_MS while there is no answer', () => {
    const participant = bobsPart()
    expect(at(0, step => participant.engage(step)).frames('engage')).toMatchObject([{ boot: BOOT, lost: 0, sentAt: 0 }])
    expect(at(1, step => participant.engage(step)).out).toEqual([])
    expect(at(ENGAGE_RETRY_MS - 1, step => participant.tick(step)).out).toEqual([])
    expect(at(ENGAGE_RETRY_MS, step => participant.tick(step)).summary).toEqual(['alice<-engage'])
  })

  test('a daemon that has had nothing to do with a job does not ask', () => {
    expect(at(9_999, step => bobsPart().tick(step)).out).toEqual([])
    expect(at(9_999, step => bobsPart().resend(ALICE, () => true, step)).out).toEqual([])
  })

  test('a new link to the root repeats the question at once, one to somebody else does not', () => {
    const participant = bobsPart()
    participant.engage(new Probe(0))
    expect(at(1, step => participant.resend(CAROL, () => true, step)).summary).toEqual([])
    expect(at(2, step => participant.resend(ALICE, () => true, step)).summary).toEqual(['alice<-engage'])
  })

  test('a grant begins the engagement; the same one again changes nothing', () => {
    const participant = bobsPart()
    participant.engage(new Probe(0))
    expect(at(1, step => participant.granted(ALICE, grant(2), step)).summary).toEqual(['engaged'])
    expect(participant.engagement).toBe(2)
    expect(at(2, step => participant.granted(ALICE, grant(2), step)).summary).toEqual([])
    expect(at(2, step => participant.granted(ALICE, grant(3), step)).summary).toEqual([])
    expect(participant.engagement).toBe(2)
  })

  test('a frame for another engagement finds nothing; without one the root is asked, so that it learns of it (R3)', () => {
    const participant = bobEngaged()
    expect(participant.liveFor(1, new Probe(1))).toBeUndefined()
    expect(participant.liveFor(3, new Probe(1))).toBeUndefined()
    expect(participant.liveFor(2, new Probe(1))).toBeDefined()
    const fresh = bobsPart()
    expect(at(1, step => expect(fresh.liveFor(2, step)).toBeUndefined()).summary).toEqual(['alice<-engage'])
  })
})

describe('a grant is refused', () => {
  const cases: [why: string, from: string, frame: ReturnType<typeof grant>, now: number][] = [
    ['from a peer that is not the root', CAROL, grant(2), 1],
    ['for another boot of this daemon', ALICE, grant(2, { boot: NEWER }), 1],
    [
      'for a boot with the same incarnation and another nonce, as of a restored disk',
      ALICE,
      grant(2, { boot: RESTORED }),
      1
    ],
    ['when its lease would be over already', ALICE, grant(2), LEASE_MS],
    ['when it echoes a time that has not come', ALICE, grant(2, { sentAt: 100 }), 50],
    ['when it answers a question that an earlier participant of the job asked', ALICE, grant(2, { sentAt: -1 }), 1]
  ]

  test.each(cases)('%s', (_why, from, frame, now) => {
    const participant = bobsPart()
    participant.engage(new Probe(0))
    expect(at(now, step => participant.granted(from, frame, step)).effects('engaged')).toEqual([])
    expect(participant.engagement).toBe(0)
  })

  test('when the engagement, or a later one, has been lost by this boot', () => {
    const participant = bobEngaged()
    participant.tick(new Probe(LEASE_MS))
    for (const engagement of [1, 2]) {
      participant.granted(ALICE, grant(engagement, { sentAt: LEASE_MS }), new Probe(LEASE_MS + 1))
      expect(participant.engagement).toBe(0)
    }
    participant.granted(ALICE, grant(3, { sentAt: LEASE_MS }), new Probe(LEASE_MS + 1))
    expect(participant.engagement).toBe(3)
  })

  test('to revive an engagement whose lease has ended unnoticed (R1 comes first)', () => {
    const { participant } = busy()
    const late = at(LEASE_MS + 1, step => participant.granted(ALICE, grant(2, { sentAt: LEASE_MS }), step))
    expect(late.summary).toContain('disengaged')
    expect(participant.engagement).toBe(0)
  })
})

describe('the lease', () => {
  test('is counted from the sending of the request, and a later answer never shortens it', () => {
    const participant = bobEngaged()
    participant.renewed(ALICE, renewed(3_000), new Probe(3_500))
    participant.renewed(ALICE, renewed(1_000), new Probe(3_600))
    expect(participant.live(new Probe(3_000 + LEASE_MS - 1))).toBeDefined()
    expect(participant.live(new Probe(3_000 + LEASE_MS))).toBeUndefined()
  })

  const foreign: [why: string, from: string, frame: Renewed][] = [
    ['from a peer that is not the root', CAROL, renewed(5_000)],
    ['for another boot', ALICE, renewed(5_000, { boot: NEWER })],
    ['for another engagement', ALICE, renewed(5_000, { items: [{ job: JOB, engagement: 1, pendingFences: [] }] })],
    ['that does not name the job, which says nothing', ALICE, renewed(5_000, { items: [] })],
    ['for a request that was never sent', ALICE, renewed(9_000)]
  ]

  test.each(foreign)('is not renewed by an answer %s', (_why, from, frame) => {
    const participant = bobEngaged()
    participant.renewed(from, frame, new Probe(5_500))
    expect(participant.live(new Probe(LEASE_MS - 1))).toBeDefined()
    expect(participant.live(new Probe(LEASE_MS))).toBeUndefined()
  })

  const entries: [entry: string, act: (of: ReturnType<typeof busy>, step: LedgerStep) => void][] = [
    ['live', ({ participant }, step) => participant.live(step)],
    ['liveFor', ({ participant }, step) => participant.liveFor(2, step)],
    [
      'handoff',
      ({ participant }, step) => participant.liveFor(2, step)?.handoff(ALICE, handoff({ obligation: '0:3' }), step)
    ],
    ['started', ({ participant }, step) => void participant.live(step)?.started('0:2', 1)],
    ['spawn', ({ participant }, step) => void participant.live(step)?.spawn('0:1', CHILD, step)],
    [
      'bind',
      ({ participant, placing }, step) =>
        void participant.live(step)?.bind(placing, { to: CAROL, toEngagement: 3, request: 1 }, step)
    ],
    ['settle', ({ participant, bound }, step) => participant.live(step)?.settle(CAROL, settle(bound), 0, step)],
    ['bodyEnded', ({ participant }, step) => participant.bodyEnded('0:1', COMPLETED, 1, step)],
    [
      'fence',
      ({ participant }, step) => participant.liveFor(2, step)?.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)
    ],
    ['granted', ({ participant }, step) => participant.granted(ALICE, grant(2, { sentAt: LEASE_MS }), step)],
    ['renewed', ({ participant }, step) => participant.renewed(ALICE, renewed(LEASE_MS), step)],
    ['engage', ({ participant }, step) => participant.engage(step)],
    ['tick', ({ participant }, step) => participant.tick(step)],
    ['resend', ({ participant }, step) => participant.resend(CAROL, () => true, step)],
    ['leave', ({ participant }, step) => participant.leave(step)],
    [
      'cancel',
      ({ participant }, step) => {
        const cancel = { kind: 'cancel', job: JOB, obligation: '0:1', toEngagement: 2, ownerEngagement: 0 } as const
        participant.liveFor(2, step)?.cancel(ALICE, cancel, step)
      }
    ]
  ]

  test.each(entries)(
    'is over at %s: the engagement ends, bodies are killed, nothing else is done (R1)',
    (entry, act) => {
      const of = busy()
      const late = at(LEASE_MS, step => act(of, step))
      expect(of.participant.peek()).toBeUndefined()
      // A body that has just ended by itself needs no kill, but its end is only a loss.
      expect(late.effects('kill')).toHaveLength(1)
      const done = late.summary.filter(what => !['kill', 'withdraw', 'dequeue', 'disengaged'].includes(what))
      // Its last body was reaped in the same step, so the loss may be reported at once.
      expect(done).toEqual(entry === 'bodyEnded' ? ['alice<-engage'] : [])
    }
  )

  test.each(entries)('is not over one millisecond before its end at %s', (entry, act) => {
    const of = busy()
    at(LEASE_MS - 1, step => act(of, step))
    expect(of.participant.peek() === undefined).toBe(entry === 'leave')
  })
})

describe('a lost engagement', () => {
  test('is reported only when the last of its bodies is gone (R2)', () => {
    const { participant } = busy()
    const tree = participant.live(new Probe(2))
    tree?.started('0:2', 1)
    participant.tick(new Probe(LEASE_MS))
    expect(at(LEASE_MS + 10, step => participant.tick(step)).summary, 'two bodies die').toEqual([])
    expect(at(LEASE_MS + 20, step => participant.resend(ALICE, () => true, step)).summary).toEqual([])
    expect(at(LEASE_MS + 30, step => participant.bodyEnded('0:1', COMPLETED, 1, step)).summary).toEqual([])
    const reaped = at(LEASE_MS + 40, step => participant.bodyEnded('0:2', { kind: 'killed' }, 1, step))
    expect(reaped.frames('engage')).toMatchObject([{ lost: 2 }])
  })

  test('ends when the root says so, and whatever is said of an older request does not touch its successor', () => {
    const participant = bobEngaged()
    const lost = renewed(1_000, { items: [], lost: [JOB] })
    expect(at(1_100, step => participant.renewed(ALICE, lost, step)).summary).toEqual(['disengaged'])
    const asked = at(1_200, step => participant.tick(step))
    expect(asked.frames('engage')).toMatchObject([{ lost: 2 }])
    participant.granted(ALICE, grant(3, { sentAt: 1_200 }), new Probe(1_300))
    expect(at(1_400, step => participant.renewed(ALICE, lost, step)).summary).toEqual([])
    expect(participant.engagement).toBe(3)
  })

  test('takes the seen attempts with it: they are unknown to its successor', () => {
    const { participant } = busy()
    participant.tick(new Probe(LEASE_MS))
    participant.bodyEnded('0:1', COMPLETED, 1, new Probe(LEASE_MS))
    participant.granted(ALICE, grant(3, { sentAt: LEASE_MS }), new Probe(LEASE_MS + 1))
    expect(participant.liveFor(2, new Probe(LEASE_MS + 2))).toBeUndefined()
    expect(participant.peek()?.vertices()).toEqual([])
  })

  test('its successor begins with the fences that its grant names (C8)', () => {
    const participant = bobsPart()
    participant.engage(new Probe(0))
    participant.granted(ALICE, grant(4, { fenced: [{ peer: CAROL, upTo: 3 }] }), new Probe(1))
    const from3 = handoff({ obligation: '3:1', ownerEngagement: 3, toEngagement: 4 })
    expect(at(2, step => participant.liveFor(4, step)?.handoff(CAROL, from3, step)).out).toEqual([])
  })

  test.each(['grant', 'renewed'] as const)(
    'pending fences of a %s are carried out in full, not only noted (H8)',
    kind => {
      const { participant, bound } = busy()
      const pendingFences = [{ fence: 3, peer: CAROL, cause: 'lost' as const }]
      const step = at(100, probe => {
        if (kind === 'grant') participant.granted(ALICE, grant(2, { pendingFences }), probe)
        else participant.renewed(ALICE, renewed(50, { items: [{ job: JOB, engagement: 2, pendingFences }] }), probe)
      })
      expect(step.summary).toEqual(['place', 'alice<-fenced'])
      expect(participant.peek()?.obligation(bound)).toBeUndefined()
    }
  )
})

describe('the end of the job', () => {
  test('kills what is left and is final; the participant can be dropped when that is gone', () => {
    const { participant } = busy()
    expect(at(10, step => participant.done(ALICE, step)).summary.toSorted()).toEqual([
      'dequeue',
      'disengaged',
      'kill',
      'withdraw'
    ])
    expect(participant.finished).toBe(false)
    expect(at(20, step => participant.bodyEnded('0:1', COMPLETED, 1, step)).summary).toEqual([])
    expect(participant.finished).toBe(true)
    expect(at(30, step => participant.engage(step)).out).toEqual([])
  })

  test('can be told by the answer to a renewal', () => {
    const participant = bobEngaged()
    participant.renewed(ALICE, renewed(100, { items: [], done: [JOB] }), new Probe(200))
    expect(participant.finished).toBe(true)
  })

  test('is not believed from anybody but the root', () => {
    const participant = bobEngaged()
    participant.done(CAROL, new Probe(1))
    expect(participant.engagement).toBe(2)
  })
})

describe('leaving', () => {
  test('gives the engagement up, and says so when the last body is gone (C12)', () => {
    const { participant } = busy()
    expect(at(10, step => participant.leave(step)).frames('leave')).toEqual([])
    expect(at(20, step => participant.tick(step)).summary).toEqual([])
    const gone = at(30, step => participant.bodyEnded('0:1', { kind: 'killed' }, 1, step))
    expect(gone.frames('leave')).toMatchObject([{ engagement: 2, boot: BOOT }])
    expect(gone.summary, 'and asks for no new one').toEqual(['alice<-leave'])
  })

  test('says so at once when nothing runs, only once, and never engages again', () => {
    const participant = bobEngaged()
    expect(at(10, step => participant.leave(step)).summary).toEqual(['disengaged', 'alice<-leave'])
    expect(at(11, step => participant.leave(step)).summary).toEqual([])
    expect(at(12, step => participant.liveFor(2, step)).summary).toEqual([])
    participant.granted(ALICE, grant(3, { sentAt: 12 }), new Probe(13))
    expect(participant.engagement).toBe(0)
  })

  test('is remembered until the job is over: a forgotten participant could be granted the lost engagement again', () => {
    const participant = bobEngaged()
    participant.leave(new Probe(10))
    expect(participant.finished).toBe(false)
    participant.done(ALICE, new Probe(20))
    expect(participant.finished).toBe(true)
  })

  test('without an engagement says nothing', () => {
    expect(at(0, step => bobsPart().leave(step)).summary).toEqual([])
  })
})

describe('a home that was copied', () => {
  test('is reported when the root knows a newer boot than this one (C2)', () => {
    const participant = bobsPart()
    participant.engage(new Probe(0))
    const told = at(1, step => participant.stale(ALICE, BOOT, 7, step))
    expect(told.effects('stale-boot')).toEqual([{ kind: 'stale-boot', incarnation: 7 }])
  })

  test('is not what an answer to another boot, or somebody else, makes of it', () => {
    const participant = bobsPart()
    expect(at(1, step => participant.stale(ALICE, NEWER, 7, step)).out).toEqual([])
    expect(at(1, step => participant.stale(BOB, BOOT, 7, step)).out).toEqual([])
  })
})

describe('a machine that slept', () => {
  test('gives up what it holds, and takes no grant that it had asked for before (H15)', () => {
    const participant = bobEngaged()
    expect(at(10, step => participant.slept(step)).summary).toEqual(['disengaged'])
    const asking = bobsPart()
    expect(at(0, step => asking.engage(step)).summary).toEqual(['alice<-engage'])
    asking.slept(new Probe(5))
    expect(at(6, step => asking.granted(ALICE, grant(2), step)).summary).toEqual([])
    expect(at(7, step => asking.engage(step)).summary, 'asks anew').toEqual(['alice<-engage'])
    expect(at(8, step => asking.granted(ALICE, grant(3, { sentAt: 7 }), step)).summary).toEqual(['engaged'])
  })
})
