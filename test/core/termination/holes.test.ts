import { describe, expect, test } from 'vitest'
import { LOSSES_MAX } from '../../../src/core/limits.ts'
import { MeshNode } from '../../../src/core/node/index.ts'
import { RootSide } from '../../../src/core/node/root-side.ts'
import { Fences } from '../../../src/core/termination/fences.ts'
import { LEASE_EXPIRY_MS, LEASE_MS, type Ledger, RESEND_INTERVAL_MS } from '../../../src/core/termination/index.ts'
import { firstAttempt, reissued } from '../../../src/core/termination/obligation.ts'
import { OutputQueue } from '../../../src/engine/output-queue.ts'
import { type Fault, planOf, type SchedulePlan, Simulation } from '../../../src/testing/index.ts'
import { encodeRecord, FRAME_KINDS } from '../../../src/wire/index.ts'
import {
  ALICE,
  alicesLedger,
  at,
  BOB,
  BOOT,
  bobEngaged,
  bobsTree,
  bytes,
  CAROL,
  COMPLETED,
  grant,
  handoff,
  JOB,
  Probe,
  running,
  settle
} from '../../helpers/termination-fixtures.ts'

/*
 * The fifteen holes that exhaustive checking and reading found in the first text of the protocol, each by its number.
 * What random schedules do with them is in test/simulator; here each is entered on purpose.
 */

const NEWER = { incarnation: 2, nonce: 'b1'.repeat(8) }
const RESTORED = { incarnation: 1, nonce: 'ff'.repeat(8) }
const engage = (lost = 0, boot = BOOT) => ({ kind: 'engage', job: JOB, boot, lost, sentAt: 0 }) as const

/** Alice's job with engagements 1 for bob, who has the root task, and 2 for carol. */
function underway(): Ledger {
  const ledger = alicesLedger()
  ledger.engage(BOB, engage(), new Probe())
  ledger.engage(CAROL, engage(), new Probe())
  ledger.bind(ledger.state.obligation?.id ?? '', { to: BOB, toEngagement: 1, request: 1 }, null, new Probe())
  return ledger
}

/** One schedule with these faults alone, on a network that does nothing of its own accord. */
async function world(seed: number, change: Partial<SchedulePlan>, tree: object = {}) {
  const plan = planOf(seed, { hosts: 3 })
  const calm = { duplicate: 0, redelivery: 0, reorder: 0, gossipLoss: 0, codec: false }
  const traits = {
    failing: 0,
    flaky: 0,
    hasty: 0,
    rare: 0,
    exclusive: 0,
    poison: false,
    padding: 0,
    fanOut: 4,
    depth: 2
  }
  const jobs = [{ host: 0, at: 1_500, tree: { ...traits, ...tree }, bodyMs: 600 }]
  const hosts = plan.hosts.map((host, index) => ({ ...host, slots: index === 0 ? 1 : 2 }))
  const simulation = new Simulation({
    ...plan,
    network: { ...plan.network, ...calm },
    hosts,
    jobs,
    faults: [],
    ...change
  })
  const events: string[] = []
  simulation.trace.listen = line => events.push(line.trim())
  const { violations, verdicts } = await simulation.run()
  return { violations, verdicts, events, count: (what: string) => events.filter(line => line.includes(what)).length }
}

describe('H1: a host that lives is never fenced because another member cannot reach it', () => {
  const cut: Fault = { kind: 'cut', at: 4_000, forMs: 1e6, a: 1, b: 2, oneWay: false, reset: true }

  test('the root carries frames between two members that are cut apart for ever', async () => {
    let relayed = 0
    for (let seed = 1; seed <= 8; seed += 1) {
      const { violations, verdicts, count } = await world(seed, { faults: [cut] }, { depth: 3 })
      expect({ seed, violations, verdicts }).toEqual({ seed, violations: [], verdicts: { completed: 1 } })
      expect(count('fence-opened')).toBe(0)
      relayed += count(' relay ')
    }
    expect(relayed).toBeGreaterThan(0)
  })

  test('a fence opens when the lease cannot be valid any more, and not before', () => {
    const ledger = underway()
    expect(at(LEASE_EXPIRY_MS - 1, step => ledger.tick(step)).records).toEqual([])
    expect(at(LEASE_EXPIRY_MS, step => ledger.tick(step)).records).not.toEqual([])
  })
})

describe('H2: a restored disk cannot pass for the boot that it copies', () => {
  test('the same incarnation with another nonce is stale, and so is a lower one', () => {
    const roots = new RootSide({ self: ALICE, encodeRecord })
    expect(roots.staleness(BOB, BOOT)).toBeUndefined()
    expect(roots.staleness(BOB, RESTORED)).toBe(BOOT.incarnation)
    expect(roots.staleness(BOB, NEWER)).toBeUndefined()
    expect(roots.staleness(BOB, BOOT)).toBe(NEWER.incarnation)
  })

  test('its engagement is not the one of the boot that it copies', () => {
    const ledger = underway()
    const probe = at(1, step => ledger.engage(BOB, engage(0, RESTORED), step))
    expect(probe.records[0]).toMatchObject({ kind: 'fence-opened', fence: 1, peer: BOB })
    expect(probe.frames('grant')).toMatchObject([{ engagement: 3, boot: RESTORED }])
  })

  test('a daemon on such a disk takes a higher incarnation, and the job ends', async () => {
    const crash: Fault = { kind: 'crash', at: 2_500, host: 1, downMs: 50, power: false, reused: true }
    const { violations, verdicts } = await world(2, { faults: [crash] })
    expect({ violations, verdicts }).toEqual({ violations: [], verdicts: { completed: 1 } })
  })
})

describe('H3: a boot is a loss report, so it comes after the reaping of its predecessors', () => {
  test('the root believes it at once', () => {
    const ledger = underway()
    expect(at(1, step => ledger.newBoot(CAROL, NEWER, step)).records).toMatchObject([
      { kind: 'fence-opened', fence: 2 }
    ])
  })

  test.each([1, 2, 3])(
    'a daemon that is started in the moment of its death reports nothing too early (seed %i)',
    async seed => {
      const crash: Fault = { kind: 'crash', at: 2_800, host: 1, downMs: 0, power: false }
      const { violations } = await world(seed, { faults: [crash] })
      expect(violations).toEqual([])
    }
  )
})

describe('H4: cancel and fence', () => {
  test('what was handed to a lost host under a cancelled owner is not issued again, and the owner can settle', () => {
    const tree = bobsTree()
    running(tree, 1)
    const step = new Probe(1)
    tree.cancel(ALICE, { kind: 'cancel', job: JOB, obligation: '0:1', toEngagement: 2, ownerEngagement: 0 }, step)
    tree.bodyEnded('0:1', { kind: 'killed' }, 1, step)
    expect(step.frames('settle')).toEqual([])
    tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)
    expect(step.effects('place')).toEqual([])
    expect(step.frames('settle')).toMatchObject([{ outcome: 'cancelled' }])
  })

  test('a root task that comes back from a lost host after a cancel is over', () => {
    const ledger = underway()
    ledger.cancel(new Probe(1))
    const step = at(2, probe => ledger.newBoot(BOB, NEWER, probe))
    expect(step.effects('place')).toEqual([])
    expect(ledger.state.obligation).toBeUndefined()
  })
})

test('H5: an exclusive task gets its permit when no fence is open, whoever owns it, and not before', () => {
  const ledger = underway()
  const ask = () =>
    at(2, step => ledger.permit(BOB, { kind: 'exclusive', job: JOB, obligation: '1:7' }, step)).frames('permit')
  expect(ask()).toHaveLength(1)
  ledger.newBoot(CAROL, NEWER, new Probe(1))
  expect(ask()).toEqual([])
  ledger.fenced(BOB, { kind: 'fenced', job: JOB, fence: 2, engagement: 1 }, new Probe(1))
  expect(ask()).toHaveLength(1)
})

test('H6: the token of every attempt under a re-issued owner is higher than any under the owner before', () => {
  const task = { path: '0.0', capability: 'work', input: bytes(null), traceparent: '' }
  let old = firstAttempt('1:1', task, [1], 0)
  for (let times = 0; times < LOSSES_MAX; times += 1) old = reissued(old, `1:${times + 2}`, 'lost')
  const present = firstAttempt('2:1', task, [2], 0)
  expect(old.attempts).toEqual([1, 1 + LOSSES_MAX])
  expect(present.attempts).toEqual([2, 1])
})

test('H7: the end does not slip through between a fence that closes and the one that its last host makes necessary', () => {
  const ledger = underway()
  ledger.engage(ALICE, engage(), new Probe())
  ledger.newBoot(CAROL, NEWER, new Probe(1))
  ledger.fenced(ALICE, { kind: 'fenced', job: JOB, fence: 2, engagement: 3 }, new Probe(1))
  ledger.settle(BOB, settle(ledger.state.obligation?.id ?? ''), 0, new Probe(1))
  expect(ledger.state.openFences.get(2)?.waiting).toEqual(new Map([[BOB, 1]]))
  const step = at(2, probe => ledger.newBoot(BOB, NEWER, probe))
  expect(step.effects('announce')).toEqual([])
  expect(ledger.state.openFences.get(1)?.waiting).toEqual(new Map([[ALICE, 3]]))
})

test('H8: a fence that a renewal repeats is carried out in full, though its peer is fenced already', () => {
  const fences = new Fences()
  const tree = bobsTree(fences)
  const [child = ''] = running(tree, 1)
  tree.handoff(CAROL, handoff({ obligation: '3:1', ownerEngagement: 3 }), new Probe(1))
  fences.add({ fence: 3, peer: CAROL, cause: 'lost' })
  const step = at(2, probe => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, probe))
  expect(tree.vertex('3:1'), 'the orphan').toBeUndefined()
  expect(tree.obligation(child), 'what was handed to the lost host').toBeUndefined()
  expect(step.effects('place')).toHaveLength(1)
  expect(step.frames('fenced')).toMatchObject([{ fence: 3, engagement: 2 }])
})

test('H9: a settle that was lost is sent again, by the slow timer and when its task is handed over again', () => {
  const tree = bobsTree()
  running(tree)
  expect(at(1, step => tree.bodyEnded('0:1', COMPLETED, 1, step)).frames('settle')).toHaveLength(1)
  const later = 2 + RESEND_INTERVAL_MS
  expect(at(later, step => tree.resend(undefined, () => true, step)).frames('settle')).toHaveLength(1)
  expect(at(later, step => tree.handoff(ALICE, handoff(), step)).frames('settle')).toHaveLength(1)
  tree.settled(ALICE, '0:1')
  expect(at(3 * later, step => tree.resend(undefined, () => true, step)).frames('settle')).toEqual([])
})

test('H10: there are no messages that engage an agent beside the tree: every piece of work is a vertex of its own', () => {
  expect(FRAME_KINDS.filter(kind => /msg|message/i.test(kind))).toEqual([])
})

describe('H11: the journal of the root', () => {
  test('what a step brings about waits until its records are durable', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const done: string[] = []
    const queue = new OutputQueue({ commit: () => promise }, kind => done.push(kind))
    queue.push([{ kind: 'record', job: JOB, record: { kind: 'announced' } }], () => done.push('first'))
    queue.push([], () => done.push('second'))
    await Promise.resolve()
    expect(done).toEqual([])
    resolve()
    await queue.idle()
    expect(done).toEqual(['first', 'second'])
  })

  test('a root that dies between the last settle and the announcement makes it when it is back', () => {
    const ledger = alicesLedger()
    const records = [
      ...at(0, step => ledger.engage(BOB, engage(), step)).records,
      ...at(0, step => ledger.bind('0:1', { to: BOB, toEngagement: 1, request: 1 }, null, step)).records,
      ...at(1, step => ledger.settle(BOB, settle('0:1'), 0, step)).records
    ]
    expect(records.at(-1)?.kind).toBe('announced')
    const restart = new Probe(0)
    alicesLedger(records.slice(0, -1), restart)
    expect(restart.effects('announce')).toHaveLength(1)
  })

  test('engagements of before the restart that stay silent are fenced after one whole lease', () => {
    const ledger = underway()
    const history = [
      ...at(0, step => ledger.engage(CAROL, engage(), step)).records,
      { kind: 'granted', peer: CAROL, engagement: 1, boot: BOOT } as const
    ]
    const again = alicesLedger(history)
    expect(at(LEASE_EXPIRY_MS - 1, step => again.tick(step)).records).toEqual([])
    expect(at(LEASE_EXPIRY_MS, step => again.tick(step)).records).toMatchObject([{ kind: 'fence-opened', peer: CAROL }])
  })
})

test('H12: a task that kills every daemon that runs it is given up, and named', async () => {
  const { violations, verdicts, events } = await world(1, {}, { poison: true })
  expect({ violations, verdicts }).toEqual({ violations: [], verdicts: { incomplete: 1 } })
  const tries = events.filter(line => / begin 0\.0$/.test(line)).length
  expect(tries).toBeGreaterThan(LOSSES_MAX)
})

describe('H13: leaving', () => {
  test('is reported as soon as the bodies are gone', () => {
    const participant = bobEngaged()
    const tree = participant.liveFor(2, new Probe(1))
    tree?.handoff(ALICE, handoff(), new Probe(1))
    tree?.started('0:1', 1)
    expect(at(2, step => participant.leave(step)).frames('leave')).toEqual([])
    const reaped = at(3, step => participant.bodyEnded('0:1', { kind: 'killed' }, 1, step))
    expect(reaped.frames('leave')).toMatchObject([{ engagement: 2 }])
  })

  test('costs the job no lease: the fence opens with it, and the task is issued again at no cost', () => {
    const ledger = underway()
    const step = at(1, probe => ledger.leave(BOB, { kind: 'leave', job: JOB, engagement: 1, boot: BOOT }, probe))
    expect(step.records).toMatchObject([{ kind: 'fence-opened', cause: 'left' }, { kind: 'reissued' }])
    expect(ledger.state.obligation?.past).toMatchObject({ lost: 0, left: 1 })
  })
})

test('H14: a body that was to be started is not, when the lease has ended meanwhile', () => {
  const node = new MeshNode({ self: BOB, boot: BOOT, name: 'bob', version: '1', encodeRecord, random: () => 0.5 })
  node.offer('work', 1, 0)
  node.frame(ALICE, { kind: 'reserve', request: 1, job: JOB, root: ALICE, capability: 'work', count: 1 }, 0)
  node.takeOutput(0)
  node.frame(ALICE, grant(2), 10)
  node.frame(ALICE, handoff(), 20)
  expect(node.takeOutput(20).effects.map(({ kind }) => kind)).toContain('start')
  expect(node.leaseToStart(JOB, '0:1', 30)).toBe(LEASE_MS - 30)
  expect(node.leaseToStart(JOB, '0:1', LEASE_MS)).toBeUndefined()
})

describe('H15: a machine that was asleep', () => {
  test('gives up its leases, though its monotonic clock says that they last', () => {
    const participant = bobEngaged()
    const tree = participant.liveFor(2, new Probe(1))
    tree?.handoff(ALICE, handoff(), new Probe(1))
    tree?.started('0:1', 1)
    const woken = at(2, step => participant.slept(step))
    expect(woken.effects('kill')).toHaveLength(1)
    expect(participant.engagement).toBe(0)
  })

  test('does not take a grant that it had asked for before', () => {
    const participant = bobEngaged()
    participant.slept(new Probe(2))
    participant.granted(ALICE, grant(3, { sentAt: 1 }), new Probe(3))
    expect(participant.engagement).toBe(0)
  })

  test.each([1, 2, 3])('goes on without an overlap when it wakes after its lease (seed %i)', async seed => {
    const { violations, verdicts } = await world(
      seed,
      { faults: [{ kind: 'suspend', at: 2_600, host: 1, forMs: 12_000 }] },
      { exclusive: 1 }
    )
    expect({ violations, verdicts }).toEqual({ violations: [], verdicts: { completed: 1 } })
  })
})
