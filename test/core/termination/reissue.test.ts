import { describe, expect, test } from 'vitest'
import type { TaskPolicy } from '../../../src/core/frames.ts'
import { DEFAULT_POLICY, judge, LEASE_EXPIRY_MS, Ledger } from '../../../src/core/index.ts'
import { ATTEMPTS_MAX, BACKOFF_MS_MAX, LOSSES_MAX, LOST_ENGAGEMENTS_MAX } from '../../../src/core/limits.ts'
import { decodeRecord, encodeRecord } from '../../../src/wire/frame-codec.ts'
import {
  ALICE,
  at,
  BOB,
  BOOT,
  bobsTree,
  bytes,
  CAROL,
  COMPLETED,
  handoff,
  JOB,
  Probe,
  recordsOf,
  running,
  SUBMITTED,
  settle
} from '../../helpers/termination-fixtures.ts'

/*
 * What owners do when an attempt is lost, fails, or takes too long: C11 of the amendments, and the policy of a task.
 */

const FAILURE = { outcome: 'failed', error: { code: 'TASK_FAILED', message: 'no' } } as const

/** Bob's tree with the running root task and one child, bound to carol's engagement 3. */
function withChild(policy: Partial<TaskPolicy> = {}) {
  const tree = bobsTree()
  running(tree)
  const probe = new Probe()
  const child = { capability: 'work', input: bytes(0), traceparent: '', policy: { ...DEFAULT_POLICY, ...policy } }
  const spawned = tree.spawn('0:1', child, probe)
  if (!('task' in spawned)) throw new Error(spawned.message)
  let engagement = 3
  let id = spawned.obligation
  const bind = () => tree.bind(id, { to: CAROL, toEngagement: engagement, request: 1 }, new Probe())
  if (probe.effects('place').length > 0) bind()
  return {
    tree,
    spawned: probe,
    get child() {
      return id
    },
    /** Carol is lost; the next attempt is bound to her next engagement. */
    lose(cause: 'lost' | 'left' | 'final', now = 1) {
      const step = at(now, probe => tree.fence({ fence: engagement, peer: CAROL, cause }, probe))
      engagement += 1
      id = step.effects('place')[0]?.obligation ?? id
      bind()
      return step
    },
    fail(now: number) {
      const step = at(now, probe => tree.settle(CAROL, settle(id, FAILURE), 0, probe))
      id = step.effects('place')[0]?.obligation ?? id
      bind()
      return step
    },
    end: () => at(99, probe => tree.bodyEnded('0:1', COMPLETED, 1, probe))
  }
}

/** Alice's ledger with the root task bound to bob's engagement. */
function ledgerWith(policy: Partial<TaskPolicy> = {}, wall = 0) {
  const submitted = { ...SUBMITTED, policy: { ...DEFAULT_POLICY, ...policy } }
  const ledger = new Ledger({ self: ALICE, encodeRecord }, submitted)
  ledger.start(wall, new Probe(0))
  const bind = (now = 0) => {
    const engagement = ledger.state.engagementCounter + 1
    const frame = { kind: 'engage', job: JOB, boot: BOOT, lost: engagement - 1, sentAt: 0 } as const
    ledger.engage(BOB, frame, new Probe(now))
    const id = ledger.state.obligation?.id ?? ''
    ledger.bind(id, { to: BOB, toEngagement: engagement, request: 1 }, null, new Probe(now))
  }
  bind()
  return { ledger, bind, id: () => ledger.state.obligation?.id ?? 'none' }
}

describe('a task whose host is lost', () => {
  test(`is issued again ${LOSSES_MAX} times, then it is lost and its job is incomplete`, () => {
    const scene = withChild()
    const names = new Set([scene.child])
    for (let loss = 1; loss <= LOSSES_MAX; loss += 1) {
      expect(scene.lose('lost').summary).toContain('place')
      names.add(scene.child)
    }
    expect(names.size).toBe(LOSSES_MAX + 1)
    const last = scene.lose('lost')
    expect(last.effects('child-settled')[0]).toMatchObject({ outcome: 'lost', error: { code: 'TASK_LOST' } })
    expect(recordsOf(scene.end().frames('settle')[0])).toContainEqual({ path: '0.0', outcome: 'lost', peer: CAROL })
  })

  test('that left in order costs it nothing, however often', () => {
    const scene = withChild()
    for (let left = 1; left <= 3 * LOSSES_MAX; left += 1) expect(scene.lose('left').summary).toContain('place')
  })

  test('is written off at once when the job has lost too many hosts', () => {
    const last = withChild().lose('final')
    expect(last.summary).toEqual(['child-settled', 'alice<-fenced'])
    expect(last.effects('child-settled')[0]).toMatchObject({ outcome: 'lost' })
  })

  test('is lost, not failed, when no host can be found for it afterwards', () => {
    const scene = withChild()
    const fence = { fence: 3, peer: CAROL, cause: 'lost' } as const
    const id = at(1, step => scene.tree.fence(fence, step)).effects('place')[0]?.obligation ?? ''
    const none = { code: 'NO_CAPABLE_PEER', message: 'nobody' }
    const over = at(2, step => scene.tree.unplaceable(id, none, step))
    expect(over.effects('child-settled')[0]).toMatchObject({ outcome: 'lost', error: none })
  })

  test(`makes the root open its fences as final after ${LOST_ENGAGEMENTS_MAX} of the job`, () => {
    const { ledger, bind } = ledgerWith()
    const causes: string[] = []
    for (let loss = 0; loss <= LOST_ENGAGEMENTS_MAX && ledger.state.obligation !== undefined; loss += 1) {
      // What runs elsewhere in the job loses hosts too: the root task itself is left out of it here.
      const step = at(1, probe => {
        const engagement = ledger.state.engagementCounter + 1
        ledger.engage(CAROL, { kind: 'engage', job: JOB, boot: BOOT, lost: engagement - 1, sentAt: 0 }, probe)
      })
      for (const record of step.records) if (record.kind === 'fence-opened') causes.push(record.cause)
      for (const fence of ledger.state.openFences.keys()) {
        ledger.fenced(BOB, { kind: 'fenced', job: JOB, fence, engagement: 1 }, new Probe(1))
      }
    }
    bind(2)
    expect(causes.filter(cause => cause === 'lost')).toHaveLength(LOST_ENGAGEMENTS_MAX)
    expect(ledger.state.lostEngagements).toBe(LOST_ENGAGEMENTS_MAX + 1)
    expect(ledger.state.error?.code, 'the loss of bob, with the root task').toBe('TASK_LOST')
  })
})

describe('a task that fails', () => {
  test('is tried again as often as its policy says, elsewhere if it can, after waits that double', () => {
    const scene = withChild({ attemptsMax: 4, backoffMs: 500 })
    const waits: number[] = []
    for (let failure = 1; failure <= 3; failure += 1) {
      const [place] = scene.fail(1_000).effects('place')
      expect(place).toMatchObject({ avoid: CAROL })
      waits.push((place?.notBefore ?? 0) - 1_000)
    }
    expect(waits).toEqual([500, 1_000, 2_000])
    const last = scene.fail(1_000)
    expect(last.effects('child-settled')[0]).toMatchObject({ outcome: 'failed', error: { code: 'TASK_FAILED' } })
  })

  test(`waits ${BACKOFF_MS_MAX} ms at the most`, () => {
    const scene = withChild({ attemptsMax: ATTEMPTS_MAX, backoffMs: 1_000 })
    let wait = 0
    for (let failure = 1; failure < ATTEMPTS_MAX; failure += 1) wait = scene.fail(0).effects('place')[0]?.notBefore ?? 0
    expect(wait).toBe(BACKOFF_MS_MAX)
  })

  test('fails at once without a policy', () => {
    expect(withChild().fail(1).effects('child-settled')[0]).toMatchObject({ outcome: 'failed' })
  })

  test('as the root task is tried again too, and counts once', () => {
    const { ledger, id } = ledgerWith({ attemptsMax: 2, backoffMs: 300 })
    const first = at(10, step => ledger.settle(BOB, settle(id(), FAILURE), 0, step))
    expect(first.records).toMatchObject([{ kind: 'reissued', why: 'failed' }])
    expect(first.effects('place')[0]).toMatchObject({ notBefore: 310, avoid: BOB })
    ledger.bind(id(), { to: BOB, toEngagement: 1, request: 2 }, null, new Probe(400))
    const records = [encodeRecord({ ...recordOf('0'), outcome: 'failed' })]
    at(500, step => ledger.settle(BOB, settle(id(), { ...FAILURE, records }), 0, step))
    expect(judge(ledger.state.records.map(decodeRecord), false)).toMatchObject({ total: 1, failed: 1 })
  })

  test('and is lost meanwhile keeps both accounts apart', () => {
    const scene = withChild({ attemptsMax: 2, backoffMs: 0 })
    scene.fail(1)
    for (let loss = 1; loss <= LOSSES_MAX; loss += 1) expect(scene.lose('lost').summary).toContain('place')
    expect(scene.fail(9).effects('child-settled')[0]).toMatchObject({ outcome: 'failed' })
  })
})

describe('a deadline', () => {
  test('cancels a task that has not settled by then; it fails, with what is known of its children', () => {
    const scene = withChild({ deadlineMs: 1_000 })
    expect(at(999, step => scene.tree.tick(step)).out).toEqual([])
    expect(at(1_000, step => scene.tree.tick(step)).summary).toEqual(['carol<-cancel'])
    expect(at(1_250, step => scene.tree.tick(step)).out, 'once').toEqual([])
    const records = ['0.0', '0.0.0'].map(path => encodeRecord({ ...recordOf(path), outcome: 'cancelled' }))
    const step = at(1_300, probe => {
      scene.tree.settle(CAROL, settle(scene.child, { outcome: 'cancelled', records }), 0, probe)
    })
    expect(step.effects('child-settled')[0]).toMatchObject({ outcome: 'failed', error: { code: 'DEADLINE_EXCEEDED' } })
    expect(recordsOf(scene.end().frames('settle')[0])).toEqual([
      expect.objectContaining({ path: '0' }),
      expect.objectContaining({ path: '0.0.0', outcome: 'cancelled' }),
      expect.objectContaining({ path: '0.0', outcome: 'failed' })
    ])
  })

  test('is for all attempts together: none is made after it', () => {
    const scene = withChild({ deadlineMs: 1_000, attemptsMax: 5, backoffMs: 0 })
    scene.fail(900)
    scene.tree.tick(new Probe(1_000))
    expect(scene.fail(1_100).effects('child-settled')[0]).toMatchObject({ outcome: 'failed' })
    const lost = withChild({ deadlineMs: 1_000 })
    lost.tree.tick(new Probe(1_000))
    expect(lost.lose('lost', 1_100).effects('child-settled')[0]).toMatchObject({ error: { code: 'DEADLINE_EXCEEDED' } })
  })

  test('of a task that waits for a host fails it at once', () => {
    const tree = bobsTree()
    running(tree)
    const policy = { ...DEFAULT_POLICY, deadlineMs: 50 }
    tree.spawn('0:1', { capability: 'work', input: bytes(0), traceparent: '', policy }, new Probe())
    expect(at(50, step => tree.tick(step)).summary).toEqual(['withdraw', 'child-settled'])
  })

  test('of a task that completes in time, or crosses its cancel, changes nothing', () => {
    const scene = withChild({ deadlineMs: 1_000 })
    scene.tree.tick(new Probe(1_000))
    const step = at(1_001, probe => scene.tree.settle(CAROL, settle(scene.child), 0, probe))
    expect(step.effects('child-settled')[0]).toMatchObject({ outcome: 'completed' })
  })

  test('of a job counts from its submission by the wall clock, also over a restart', () => {
    const { ledger, id } = ledgerWith({ deadlineMs: 5_000 }, 4_000)
    expect(at(999, step => ledger.tick(step)).out).toEqual([])
    expect(at(1_000, step => ledger.tick(step)).frames('cancel')).toMatchObject([{ obligation: id() }])
    expect(at(1_250, step => ledger.resend(BOB, step)).summary, 'asked again').toEqual(['bob<-cancel'])
    const over = at(1_300, step => ledger.settle(BOB, settle(id(), { outcome: 'cancelled' }), 0, step))
    expect(over.effects('announce')).toHaveLength(1)
    expect(ledger.state.error?.code).toBe('DEADLINE_EXCEEDED')
  })
})

describe('an exclusive task', () => {
  test('is placed only when the root permits it, which is asked again until it does (C5)', () => {
    const scene = withChild({ exclusive: true })
    expect(scene.spawned.summary).toEqual(['alice<-exclusive'])
    expect(at(100, step => scene.tree.tick(step)).summary).toEqual(['alice<-exclusive'])
    expect(at(1_000, step => scene.tree.tick(step)).out, 'not at every tick').toEqual([])
    expect(at(1_100, step => scene.tree.tick(step)).summary).toEqual(['alice<-exclusive'])
    expect(at(1_200, step => scene.tree.permitted(scene.child, step)).summary).toEqual(['place'])
    expect(at(1_300, step => scene.tree.permitted(scene.child, step)).out, 'once').toEqual([])
  })

  test('that is lost asks again, under its new name', () => {
    const scene = withChild({ exclusive: true })
    scene.tree.permitted(scene.child, new Probe())
    scene.tree.bind(scene.child, { to: CAROL, toEngagement: 3, request: 1 }, new Probe())
    const step = at(1, probe => scene.tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, probe))
    expect(step.frames('exclusive').map(({ obligation }) => obligation)).not.toContain(scene.child)
    expect(step.summary).toEqual(['alice<-exclusive', 'alice<-fenced'])
  })

  test('is permitted while no fence is open, to the engagement that asks and to no older one', () => {
    const { ledger } = ledgerWith()
    const ask = (obligation: string) =>
      at(1, step => ledger.permit(BOB, { kind: 'exclusive', job: JOB, obligation }, step)).summary
    expect(ask('1:4')).toEqual(['bob<-permit'])
    expect(ask('7:4')).toEqual([])
    ledger.engage(CAROL, { kind: 'engage', job: JOB, boot: BOOT, lost: 0, sentAt: 0 }, new Probe())
    ledger.leave(CAROL, { kind: 'leave', job: JOB, engagement: 2, boot: BOOT }, new Probe())
    expect(ask('1:4'), 'bob has yet to confirm what carol left behind').toEqual([])
    ledger.fenced(BOB, { kind: 'fenced', job: JOB, fence: 2, engagement: 1 }, new Probe())
    expect(ask('1:4')).toEqual(['bob<-permit'])
  })

  test('as the root task waits for the fence of its lost host, and for that of anybody else', () => {
    const { ledger } = ledgerWith({ exclusive: true })
    ledger.engage(CAROL, { kind: 'engage', job: JOB, boot: BOOT, lost: 0, sentAt: 0 }, new Probe(LEASE_EXPIRY_MS - 1))
    const lost = at(LEASE_EXPIRY_MS, step => ledger.tick(step))
    expect(lost.records.map(({ kind }) => kind)).toEqual(['fence-opened', 'reissued'])
    expect(lost.effects('place')).toEqual([])
    const closed = at(LEASE_EXPIRY_MS + 1, step => {
      ledger.fenced(CAROL, { kind: 'fenced', job: JOB, fence: 1, engagement: 2 }, step)
    })
    expect(closed.effects('place')).toHaveLength(1)
  })
})

describe('a late end', () => {
  test('of an attempt that was issued again is kept beside its siblings, told once, and never counted', () => {
    const scene = withChild()
    const first = scene.child
    scene.lose('lost')
    const late = at(5, step => scene.tree.settle(CAROL, settle(first), 0, step))
    expect(late.summary).toEqual(['carol<-settled', 'late'])
    expect(late.effects('late')[0]).toMatchObject({ path: '0.0', peer: CAROL })
    const again = at(6, step => scene.tree.settle(CAROL, settle(first), 0, step))
    expect(again.summary, 'a repeated frame').toEqual(['carol<-settled'])
    at(7, step => scene.tree.settle(CAROL, settle(scene.child), 0, step))
    const records = scene.end().frames('settle')[0]?.records.map(decodeRecord) ?? []
    expect(records.filter(({ outcome }) => outcome === 'late')).toMatchObject([{ path: '0.0', attempt: 1 }])
    expect(judge(records, false)).toMatchObject({ verdict: 'completed', total: 1 })
  })

  test('from anybody but its host, or of one that never counted, is none', () => {
    const scene = withChild()
    const first = scene.child
    scene.lose('lost')
    expect(at(5, step => scene.tree.settle(ALICE, settle(first), 0, step)).summary).toEqual(['alice<-settled'])
    const returned = at(5, step => scene.tree.settle(CAROL, settle(first, { outcome: 'returned' }), 0, step))
    expect(returned.effects('late')).toEqual([])
  })

  test('of the root task is kept in the journal of its job', () => {
    const { ledger, bind, id } = ledgerWith()
    const first = id()
    bind(10)
    const late = at(20, step => ledger.settle(BOB, settle(first), 0, step))
    expect(late.records).toMatchObject([{ kind: 'late' }])
    expect(ledger.state.records.map(decodeRecord)).toMatchObject([{ path: '0', outcome: 'late', attempt: 1 }])
  })
})

function recordOf(path: string) {
  const nothing = { resultDigest: '', result: new Uint8Array(0), startedAt: 0, endedAt: 0, error: undefined }
  return { path, capability: 'work', peer: CAROL, attempt: 1, outcome: 'completed' as const, ...nothing }
}

test('an attempt that is handed over says which one it is, from the root task down', () => {
  const tree = bobsTree()
  const step = new Probe()
  tree.handoff(ALICE, handoff({ attempts: [4] }), step)
  tree.started('0:1', 1)
  const spawned = tree.spawn('0:1', { capability: 'work', input: bytes(0), traceparent: '' }, step)
  if (!('task' in spawned)) throw new Error(spawned.message)
  tree.bind(spawned.obligation, { to: CAROL, toEngagement: 3, request: 1 }, step)
  expect(step.frames('handoff')[0]?.attempts).toEqual([4, 1])
})
