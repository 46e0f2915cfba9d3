import { describe, expect, test } from 'vitest'
import {
  DEPTH_MAX,
  FAN_OUT_MAX,
  OBLIGATIONS_MAX,
  RETURNS_MAX,
  WAITING_INPUT_BYTES_MAX
} from '../../../src/core/limits.ts'
import { type EngagedTree, RESEND_INTERVAL_MS } from '../../../src/core/termination/index.ts'
import { refuseSpawn } from '../../../src/core/termination/spawn-refusal.ts'
import {
  ALICE,
  at,
  BOB,
  bobsTree,
  bytes,
  CAROL,
  COMPLETED,
  FAILED,
  handoff,
  JOB,
  Probe,
  recordsOf,
  running,
  settle
} from '../../helpers/termination-fixtures.ts'

const CHILD = { capability: 'work', input: bytes('child'), traceparent: '' }
const cancelOf = (obligation: string) =>
  ({ kind: 'cancel', job: JOB, obligation, toEngagement: 2, ownerEngagement: 0 }) as const
const settledBy = (probe: Probe) => probe.frames('settle')[0]
const end = (tree: EngagedTree, id: string, how = COMPLETED) => at(10, step => tree.bodyEnded(id, how, 2, step))

describe('a hand-off', () => {
  test('waits for a slot, runs, and settles to its owner with its record when its body is gone', () => {
    const tree = bobsTree()
    expect(at(0, step => tree.handoff(ALICE, handoff(), step)).summary).toEqual(['enqueue'])
    expect(tree.started('0:1', 5)).toBe(true)
    const done = end(tree, '0:1')
    expect(done.summary).toEqual(['alice<-settle'])
    expect(settledBy(done)).toMatchObject({ obligation: '0:1', outcome: 'completed', parts: 0 })
    expect(recordsOf(settledBy(done))).toEqual([{ path: '0', outcome: 'completed', peer: BOB }])
    expect(tree.vertices()).toEqual([])
  })

  test('that comes again is ignored while the attempt lives, and answered with its settle after it', () => {
    const tree = bobsTree()
    running(tree)
    expect(at(1, step => tree.handoff(ALICE, handoff(), step)).summary).toEqual([])
    end(tree, '0:1')
    expect(at(20, step => tree.handoff(ALICE, handoff(), step)).summary).toEqual(['alice<-settle'])
    tree.settled(ALICE, '0:1')
    expect(at(30, step => tree.handoff(ALICE, handoff(), step)).summary).toEqual([])
  })

  test('is started once only', () => {
    const tree = bobsTree()
    tree.handoff(ALICE, handoff(), new Probe())
    expect(tree.started('0:1', 1)).toBe(true)
    expect(tree.started('0:1', 1)).toBe(false)
    expect(tree.started('0:2', 1)).toBe(false)
  })

  test('from a fenced owner is dropped', () => {
    const tree = bobsTree()
    tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, new Probe())
    const late = handoff({ obligation: '3:1', ownerEngagement: 3 })
    expect(at(0, step => tree.handoff(CAROL, late, step)).summary).toEqual([])
    expect(
      at(0, step => tree.handoff(CAROL, handoff({ obligation: '4:1', ownerEngagement: 4 }), step)).summary
    ).toEqual(['enqueue'])
  })
})

describe('a body with children', () => {
  test('settles only when its body is gone and its last child has settled, and carries all records', () => {
    const tree = bobsTree()
    const [first = '', second = ''] = running(tree, 2)
    expect(end(tree, '0:1').summary).toEqual([])
    const record = settledBy(at(0, step => inner(step)))?.records ?? []
    expect(at(11, step => tree.settle(CAROL, settle(first, { records: record }), 0, step)).summary).toEqual([
      'carol<-settled'
    ])
    const last = at(12, step => tree.settle(CAROL, settle(second), 0, step))
    expect(last.summary).toEqual(['carol<-settled', 'alice<-settle'])
    expect(settledBy(last)?.records).toHaveLength(2)
  })

  test('whose children end first settles with its body', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    const told = at(5, step => tree.settle(CAROL, settle(child), 0, step))
    expect(told.summary).toEqual(['carol<-settled', 'child-settled'])
    expect(told.effects('child-settled')[0]).toMatchObject({ parent: '0:1', path: '0.0', outcome: 'completed' })
    expect(end(tree, '0:1').summary).toEqual(['alice<-settle'])
  })

  test('that fails waits for its children all the same', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    expect(end(tree, '0:1', FAILED).summary).toEqual([])
    const last = at(12, step => tree.settle(CAROL, settle(child), 0, step))
    expect(settledBy(last)).toMatchObject({ outcome: 'failed', error: { code: 'TASK_FAILED' } })
  })

  test('that runs into its time limit takes its children with it', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    const error = { code: 'TASK_TIMEOUT', message: 'too slow' }
    expect(end(tree, '0:1', { kind: 'failed', error }).summary).toEqual(['carol<-cancel'])
    const last = at(12, step => tree.settle(CAROL, settle(child, { outcome: 'cancelled' }), 0, step))
    expect(settledBy(last)).toMatchObject({ outcome: 'failed', error })
  })

  test('is bound to one host once: a second binding is refused (I8)', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    const other = at(1, step => expect(tree.bind(child, { to: ALICE, toEngagement: 1, request: 2 }, step)).toBe(false))
    expect(other.summary).toEqual([])
  })

  test('is not bound to a fenced engagement', () => {
    const tree = bobsTree()
    running(tree)
    const spawned = tree.spawn('0:1', CHILD, new Probe())
    tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, new Probe())
    if (!('task' in spawned)) throw new Error(spawned.message)
    expect(tree.bind(spawned.obligation, { to: CAROL, toEngagement: 3, request: 1 }, new Probe())).toBe(false)
    expect(tree.bind(spawned.obligation, { to: CAROL, toEngagement: 4, request: 1 }, new Probe())).toBe(true)
  })

  test('reports how long ago the last body of its subtree ended, the way of the settle included', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    at(10, step => tree.bodyEnded('0:1', COMPLETED, 1, step))
    const last = at(1_000, step => tree.settle(CAROL, settle(child, { endedAgoMs: 300 }), 50, step))
    expect(settledBy(last)?.endedAgoMs).toBe(350)
  })
})

function inner(step: Probe): void {
  const tree = bobsTree()
  running(tree)
  tree.bodyEnded('0:1', COMPLETED, 1, step)
}

describe('a settle', () => {
  test('of an unknown obligation is acknowledged, or its sender would keep it for ever', () => {
    const tree = bobsTree()
    expect(at(0, step => tree.settle(CAROL, settle('2:99'), 0, step)).summary).toEqual(['carol<-settled'])
  })

  test('from a peer that the task was not handed to changes nothing', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    expect(at(1, step => tree.settle(ALICE, settle(child), 0, step)).summary).toEqual([])
    expect(tree.obligation(child)).toBeDefined()
  })

  test('that comes twice counts once', () => {
    const tree = bobsTree()
    const [first = ''] = running(tree, 2)
    end(tree, '0:1')
    tree.settle(CAROL, settle(first), 0, new Probe())
    expect(at(11, step => tree.settle(CAROL, settle(first), 0, step)).summary).toEqual(['carol<-settled'])
    expect(tree.vertex('0:1')?.obligations.size).toBe(1)
  })

  test('is kept, and sent again at a new link and by the slow timer, until its owner acknowledges it', () => {
    const tree = bobsTree()
    running(tree)
    end(tree, '0:1')
    expect(tree.idle).toBe(false)
    expect(at(20, step => tree.resend(ALICE, () => true, step)).summary).toEqual(['alice<-settle'])
    const soon = at(21, step => tree.resend(undefined, () => true, step))
    expect(soon.summary, 'it has just left').toEqual([])
    const later = 20 + RESEND_INTERVAL_MS
    expect(at(later, step => tree.resend(undefined, () => true, step)).summary).toEqual(['alice<-settle'])
    expect(at(20, step => tree.resend(CAROL, () => true, step)).summary).toEqual([])
    tree.settled(CAROL, '0:1')
    expect(tree.idle, 'only the owner can acknowledge it').toBe(false)
    tree.settled(ALICE, '0:1')
    expect(tree.idle).toBe(true)
    expect(at(3 * later, step => tree.resend(undefined, () => true, step)).summary).toEqual([])
  })

  test('as cancelled to an owner that is not cancelling is taken as returned', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    const back = at(1, step => tree.settle(CAROL, settle(child, { outcome: 'cancelled' }), 0, step))
    expect(back.summary).toEqual(['carol<-settled', 'place'])
  })
})

describe('an attempt that is given back', () => {
  test('is issued again under a new name, with the next attempt number, elsewhere if possible', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    const back = at(1, step => tree.settle(CAROL, settle(child, { outcome: 'returned' }), 0, step))
    const [place] = back.effects('place')
    expect(place).toMatchObject({ task: { path: '0.0' }, avoid: CAROL })
    expect(place?.obligation).not.toBe(child)
    expect(tree.obligation(place?.obligation ?? '')?.attempts).toEqual([1, 2])
  })

  test(`fails for good when what executes it has vanished more than ${RETURNS_MAX} times`, () => {
    const tree = bobsTree()
    let [child = ''] = running(tree, 1)
    const vanished = { outcome: 'returned', error: { code: 'TASK_RETURNED', message: 'gone' } } as const
    for (let back = 1; back <= RETURNS_MAX; back += 1) {
      const step = at(back, probe => tree.settle(CAROL, settle(child, vanished), 0, probe))
      child = step.effects('place')[0]?.obligation ?? 'none'
      expect(tree.bind(child, { to: CAROL, toEngagement: 3, request: 1 }, new Probe())).toBe(true)
    }
    const last = at(99, step => tree.settle(CAROL, settle(child, vanished), 0, step))
    expect(last.summary).toEqual(['carol<-settled', 'child-settled'])
    expect(last.effects('child-settled')[0]).toMatchObject({ outcome: 'failed', error: { code: 'TASK_RETURNED' } })
  })

  test('of its own accord by its host may come back as often as it likes, but is slowed down', () => {
    const tree = bobsTree()
    let [child = ''] = running(tree, 1)
    const waits: number[] = []
    for (let back = 1; back <= 2 * RETURNS_MAX; back += 1) {
      const step = at(back, probe => tree.settle(CAROL, settle(child, { outcome: 'returned' }), 0, probe))
      const [place] = step.effects('place')
      child = place?.obligation ?? 'none'
      waits.push((place?.notBefore ?? 0) - back)
      expect(tree.bind(child, { to: CAROL, toEngagement: 3, request: 1 }, new Probe())).toBe(true)
    }
    expect(waits).toEqual([0, 0, 0, 0, 0, 1_000, 1_000, 1_000, 1_000, 1_000])
  })

  test('before it began: a queued attempt goes back to its owner, a running one does not', () => {
    const tree = bobsTree()
    tree.handoff(ALICE, handoff(), new Probe())
    const back = at(1, step => tree.giveBack('0:1', step))
    expect(back.summary).toEqual(['dequeue', 'alice<-settle'])
    expect(settledBy(back)).toMatchObject({ outcome: 'returned', records: [] })
    running(tree, 0, { obligation: '0:2' })
    expect(at(1, step => tree.giveBack('0:2', step)).summary).toEqual([])
  })

  test.each(['killed', 'returned'] as const)('because its body was %s: its children are cancelled first', kind => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    expect(end(tree, '0:1', { kind }).summary).toEqual(['carol<-cancel'])
    const last = at(12, step => tree.settle(CAROL, settle(child, { outcome: 'completed' }), 0, step))
    expect(settledBy(last)).toMatchObject({ outcome: 'returned', records: [] })
  })
})

describe('a cancel', () => {
  test('of a queued attempt settles it at once', () => {
    const tree = bobsTree()
    tree.handoff(ALICE, handoff(), new Probe())
    const done = at(1, step => tree.cancel(ALICE, cancelOf('0:1'), step))
    expect(done.summary).toEqual(['dequeue', 'alice<-settle'])
    expect(recordsOf(settledBy(done))).toEqual([{ path: '0', outcome: 'cancelled', peer: BOB }])
    expect(tree.started('0:1', 1)).toBe(false)
  })

  test('of a running one kills its body and waits until it is gone', () => {
    const tree = bobsTree()
    running(tree)
    expect(at(1, step => tree.cancel(ALICE, cancelOf('0:1'), step)).summary).toEqual(['kill'])
    expect(at(2, step => tree.cancel(ALICE, cancelOf('0:1'), step)).summary, 'idempotent').toEqual([])
    expect(settledBy(end(tree, '0:1', { kind: 'killed' }))?.outcome).toBe('cancelled')
  })

  test('of a waiting one goes on to its children, and to no host for those that have none yet', () => {
    const tree = bobsTree()
    const [sent = ''] = running(tree, 1)
    const placing = tree.spawn('0:1', CHILD, new Probe())
    end(tree, '0:1')
    const cancelled = at(11, step => tree.cancel(ALICE, cancelOf('0:1'), step))
    expect(cancelled.summary).toEqual(['carol<-cancel', 'withdraw'])
    expect('task' in placing && tree.obligation(placing.obligation)).toBeUndefined()
    const last = at(12, step => tree.settle(CAROL, settle(sent, { outcome: 'cancelled' }), 0, step))
    expect(settledBy(last)?.outcome).toBe('cancelled')
    expect(recordsOf(settledBy(last)), 'also of children that never had a host').toEqual([
      { path: '0', outcome: 'cancelled', peer: BOB },
      { path: '0.1', outcome: 'cancelled', peer: BOB },
      { path: '0.0', outcome: 'cancelled', peer: CAROL }
    ])
  })

  test('of one that has not arrived leaves a tombstone: the hand-off is too late then', () => {
    const tree = bobsTree()
    const tombstone = at(1, step => tree.cancel(ALICE, cancelOf('0:1'), step))
    expect(settledBy(tombstone)).toMatchObject({ outcome: 'cancelled', records: [] })
    expect(at(2, step => tree.handoff(ALICE, handoff(), step)).summary).toEqual(['alice<-settle'])
    expect(tree.vertices()).toEqual([])
  })

  test('of one that has settled sends the settle again while it is not acknowledged, and nothing after', () => {
    const tree = bobsTree()
    running(tree)
    end(tree, '0:1')
    const again = at(11, step => tree.cancel(ALICE, cancelOf('0:1'), step))
    expect(settledBy(again)?.outcome).toBe('completed')
    tree.settled(ALICE, '0:1')
    expect(at(12, step => tree.cancel(ALICE, cancelOf('0:1'), step)).summary).toEqual([])
  })

  test('from anybody but the owner is ignored', () => {
    const tree = bobsTree()
    running(tree)
    expect(at(1, step => tree.cancel(CAROL, cancelOf('0:1'), step)).summary).toEqual([])
  })

  test.each(['completed', 'failed', 'returned', 'cancelled'] as const)(
    'ends an obligation whose host settles it as %s: nothing is issued again under a cancelling owner (C4)',
    outcome => {
      const tree = bobsTree()
      const [child = ''] = running(tree, 1)
      at(1, step => tree.cancel(ALICE, cancelOf('0:1'), step))
      end(tree, '0:1', { kind: 'killed' })
      const last = at(12, step => tree.settle(CAROL, settle(child, { outcome }), 0, step))
      expect(last.summary).toEqual(['carol<-settled', 'alice<-settle'])
    }
  )

  test('is repeated by the slow timer and at a new link, in place of the hand-off', () => {
    const tree = bobsTree()
    running(tree, 1)
    expect(at(1, step => tree.resend(CAROL, () => true, step)).summary).toEqual(['carol<-handoff'])
    expect(at(1, step => tree.resend(undefined, () => true, step)).summary).toEqual([])
    tree.cancel(ALICE, cancelOf('0:1'), new Probe(2))
    expect(at(3, step => tree.resend(CAROL, () => true, step)).summary).toEqual(['carol<-cancel'])
    expect(at(3, step => tree.resend(undefined, () => true, step)).summary).toEqual(['carol<-cancel'])
  })
})

describe('a fence', () => {
  test('cancels what the lost peer owned, and is answered when that is gone, not before', () => {
    const tree = bobsTree()
    tree.handoff(CAROL, handoff({ obligation: '3:1', ownerEngagement: 3 }), new Probe())
    tree.started('3:1', 1)
    expect(at(1, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)).summary).toEqual(['kill'])
    expect(at(2, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)).summary, 'asked again').toEqual([])
    const gone = end(tree, '3:1', { kind: 'killed' })
    expect(gone.summary).toEqual(['alice<-fenced'])
    expect(gone.frames('fenced')[0]).toMatchObject({ fence: 3, engagement: 2 })
    expect(at(20, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)).summary).toEqual([
      'alice<-fenced'
    ])
  })

  test('waits for children of orphans on other hosts', () => {
    const tree = bobsTree()
    tree.handoff(CAROL, handoff({ obligation: '3:1', ownerEngagement: 3 }), new Probe())
    tree.started('3:1', 1)
    const child = tree.spawn('3:1', CHILD, new Probe())
    if (!('task' in child)) throw new Error(child.message)
    tree.bind(child.obligation, { to: ALICE, toEngagement: 1, request: 1 }, new Probe())
    tree.bodyEnded('3:1', COMPLETED, 1, new Probe())
    expect(at(1, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)).summary).toEqual(['alice<-cancel'])
    const last = at(2, step => tree.settle(ALICE, settle(child.obligation, { outcome: 'cancelled' }), 0, step))
    expect(last.summary).toEqual(['alice<-settled', 'alice<-fenced'])
  })

  test('issues what had been handed to the lost peer again, under a new name', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    const fenced = at(1, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step))
    expect(fenced.summary).toEqual(['place', 'alice<-fenced'])
    const next = fenced.effects('place')[0]?.obligation ?? ''
    expect(next).not.toBe(child)
    expect(tree.obligation(next)).toMatchObject({ attempts: [1, 2], task: { path: '0.0' } })
    expect(tree.obligation(child)).toBeUndefined()
  })

  test('leaves a later engagement of the same peer alone', () => {
    const tree = bobsTree()
    running(tree)
    const child = tree.spawn('0:1', CHILD, new Probe())
    if (!('task' in child)) throw new Error(child.message)
    tree.bind(child.obligation, { to: CAROL, toEngagement: 5, request: 1 }, new Probe())
    expect(at(1, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step)).summary).toEqual(['alice<-fenced'])
    expect(tree.obligation(child.obligation)).toBeDefined()
  })

  test('ends an obligation of a cancelling owner too, and the cancelled tree can settle (C4)', () => {
    const tree = bobsTree()
    running(tree, 1)
    tree.cancel(ALICE, cancelOf('0:1'), new Probe(1))
    end(tree, '0:1', { kind: 'killed' })
    const fenced = at(12, step => tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, step))
    expect(fenced.summary).toEqual(['alice<-settle', 'alice<-fenced'])
    expect(recordsOf(settledBy(fenced))).toContainEqual({ path: '0.0', outcome: 'cancelled', peer: CAROL })
  })

  test('drops settles that only the lost peer could acknowledge', () => {
    const tree = bobsTree()
    tree.handoff(CAROL, handoff({ obligation: '3:1', ownerEngagement: 3 }), new Probe())
    tree.started('3:1', 1)
    end(tree, '3:1')
    expect(tree.idle).toBe(false)
    tree.fence({ fence: 3, peer: CAROL, cause: 'lost' }, new Probe())
    expect(tree.idle).toBe(true)
  })
})

describe('a spawn is refused', () => {
  const vertex = (state: 'running' | 'waiting' | 'cancelling' | 'queued', path = '0', children = 0) =>
    ({ state, task: { path }, children }) as Parameters<typeof refuseSpawn>[1]
  const NONE = { count: 0, inputBytes: 0 }
  const refusal = (of: ReturnType<typeof vertex>, owed = NONE) => refuseSpawn(JOB, of, owed)?.code
  const deep = (levels: number) => Array.from({ length: levels }, () => '0').join('.')

  test.each(['waiting', 'cancelling', 'queued'] as const)('by a task that is %s', state => {
    expect(refusal(vertex(state))).toBe('TASK_ENDED')
    expect(refusal(vertex('running'))).toBeUndefined()
  })

  test('by a task that is not here', () => {
    expect(bobsTree().spawn('0:1', CHILD, new Probe())).toMatchObject({ code: 'TASK_ENDED' })
  })

  test(`on level ${DEPTH_MAX}`, () => {
    expect(refusal(vertex('running', deep(DEPTH_MAX - 1)))).toBeUndefined()
    expect(refusal(vertex('running', deep(DEPTH_MAX)))).toBe('LIMIT_REACHED')
  })

  test(`beyond ${FAN_OUT_MAX} children`, () => {
    expect(refusal(vertex('running', '0', FAN_OUT_MAX - 1))).toBeUndefined()
    expect(refusal(vertex('running', '0', FAN_OUT_MAX))).toBe('LIMIT_REACHED')
  })

  test(`beyond ${OBLIGATIONS_MAX} obligations of one host`, () => {
    expect(refusal(vertex('running'), { ...NONE, count: OBLIGATIONS_MAX - 1 })).toBeUndefined()
    expect(refusal(vertex('running'), { ...NONE, count: OBLIGATIONS_MAX })).toBe('LIMIT_REACHED')
  })

  test(`beyond ${WAITING_INPUT_BYTES_MAX} bytes of inputs`, () => {
    expect(refusal(vertex('running'), { ...NONE, inputBytes: WAITING_INPUT_BYTES_MAX })).toBeUndefined()
    expect(refusal(vertex('running'), { ...NONE, inputBytes: WAITING_INPUT_BYTES_MAX + 1 })).toBe('LIMIT_REACHED')
  })

  test('really at the bound of the fan-out, and what was refused is owed by nobody', () => {
    const tree = bobsTree()
    running(tree)
    for (let child = 0; child < FAN_OUT_MAX; child += 1) {
      expect(tree.spawn('0:1', CHILD, new Probe())).toHaveProperty('task')
    }
    const refused = at(1, step => expect(tree.spawn('0:1', CHILD, step)).toMatchObject({ code: 'LIMIT_REACHED' }))
    expect(refused.out).toEqual([])
    expect(tree.vertex('0:1')?.obligations.size).toBe(FAN_OUT_MAX)
  })

  test('inputs of settled children count no more', () => {
    const tree = bobsTree()
    const big = { ...CHILD, input: new Uint8Array(WAITING_INPUT_BYTES_MAX / 2) }
    running(tree)
    const first = tree.spawn('0:1', big, new Probe())
    expect(tree.spawn('0:1', big, new Probe())).toHaveProperty('task')
    expect(tree.spawn('0:1', CHILD, new Probe())).toMatchObject({ code: 'LIMIT_REACHED' })
    if (!('task' in first)) throw new Error(first.message)
    tree.unplaceable(first.obligation, { code: 'NO_CAPABLE_PEER', message: 'none' }, new Probe())
    expect(tree.spawn('0:1', CHILD, new Probe())).toHaveProperty('task')
  })
})

describe('the end of an engagement', () => {
  test('kills bodies, withdraws what waits for a host, empties the queue, and settles nothing', () => {
    const tree = bobsTree()
    running(tree, 1)
    tree.spawn('0:1', CHILD, new Probe())
    tree.handoff(ALICE, handoff({ obligation: '0:2' }), new Probe())
    const gone = at(1, step => expect(tree.abandon('its lease is over', true, step)).toEqual(['0:1']))
    expect(gone.summary.toSorted()).toEqual(['dequeue', 'kill', 'withdraw'])
    expect(tree.idle).toBe(true)
  })
})

test('a task that no host can take is settled by its owner', () => {
  const tree = bobsTree()
  running(tree)
  const child = tree.spawn('0:1', CHILD, new Probe())
  if (!('task' in child)) throw new Error(child.message)
  const error = { code: 'NO_CAPABLE_PEER', message: 'none' }
  const told = at(1, step => tree.unplaceable(child.obligation, error, step))
  expect(told.summary).toEqual(['withdraw', 'child-settled'])
  expect(told.effects('child-settled')[0]).toMatchObject({ outcome: 'failed', error })
  expect(at(2, step => tree.unplaceable(child.obligation, error, step)).summary).toEqual([])
})
