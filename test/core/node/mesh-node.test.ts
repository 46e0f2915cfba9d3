import { describe, expect, test } from 'vitest'
import type { Frame } from '../../../src/core/frames.ts'
import { ADVERTISE_INTERVAL_MS, ADVERTISE_UNCHANGED_MS } from '../../../src/core/node/advertiser.ts'
import { MeshNode, type NodeEffect } from '../../../src/core/node/index.ts'
import { RESERVATION_TTL_MS } from '../../../src/core/placement/index.ts'
import { LEASE_MS, type SubmittedRecord } from '../../../src/core/termination/index.ts'
import { encodeRecord } from '../../../src/wire/frame-codec.ts'
import { ALICE, BOB, bytes, CAROL, COMPLETED, handoff, JOB, SUBMITTED } from '../../helpers/termination-fixtures.ts'
import { seeded } from '../../helpers/virtual-time.ts'

const bootOf = (incarnation: number) => ({ incarnation, nonce: incarnation.toString(16).padStart(16, '0') })

function node(self = BOB, incarnation = 1): MeshNode {
  const random = seeded(1)
  return new MeshNode({ self, boot: bootOf(incarnation), name: 'bob', version: '1.2.3', encodeRecord, random })
}

const framesTo = (effects: readonly NodeEffect[], to: string): Frame[] =>
  effects.flatMap(effect => (effect.kind === 'send' && effect.to === to ? [effect.frame] : []))
const kindsTo = (effects: readonly NodeEffect[], to: string) => framesTo(effects, to).map(({ kind }) => kind)

/** A node that is linked with alice and has answered her hello. */
function linked(): MeshNode {
  const bob = node()
  bob.linkUp(ALICE, 0)
  bob.takeOutput(0)
  return bob
}

const hello = (peer: string, incarnation = 1, slots = 0) => {
  const capabilities = slots > 0 ? [{ name: 'work', slots, free: slots }] : []
  const state = { running: 0, queued: 0, addresses: [`/ip4/10.0.0.1/tcp/4001`], drain: 'no' } as const
  const advertisement = { peer, incarnation, sequence: 1, name: peer, version: '0', capabilities, ...state }
  return { kind: 'hello', boot: bootOf(incarnation), advertisement } as const
}

describe('a new link', () => {
  test('begins with a hello that says all there is, and with the other members', () => {
    const bob = node()
    bob.listening(['/ip4/10.0.0.2/tcp/4001'])
    bob.offer('work', 3, 0)
    bob.linkUp(ALICE, 0)
    bob.frame(ALICE, hello(ALICE), 1)
    bob.takeOutput(1)
    bob.linkUp(CAROL, 2)
    const [first, second] = framesTo(bob.takeOutput(2).effects, CAROL)
    expect(first).toMatchObject({
      kind: 'hello',
      boot: bootOf(1),
      advertisement: {
        peer: BOB,
        name: 'bob',
        version: '1.2.3',
        addresses: ['/ip4/10.0.0.2/tcp/4001'],
        capabilities: [{ name: 'work', slots: 3, free: 3 }]
      }
    })
    expect(second).toEqual({ kind: 'peers', peers: [{ peer: ALICE, addresses: ['/ip4/10.0.0.1/tcp/4001'] }] })
  })

  test('makes the addresses known that come over it, but not the own ones', () => {
    const bob = linked()
    bob.frame(ALICE, hello(ALICE), 1)
    const peers = [
      { peer: CAROL, addresses: ['/ip4/10.0.0.3/tcp/4001'] },
      { peer: BOB, addresses: ['/ip4/10.0.0.2/tcp/4001'] }
    ]
    bob.frame(ALICE, { kind: 'peers', peers }, 2)
    const learnt = bob.takeOutput(2).effects.filter(effect => effect.kind === 'learn')
    expect(learnt.map(({ peer }) => peer)).toEqual([ALICE, CAROL])
  })

  test('carries a heartbeat a second, each answered with its number', () => {
    const bob = linked()
    const beats = [0, 250, 500, 750, 1_000].map(now => {
      bob.tick(now, now)
      return framesTo(bob.takeOutput(now).effects, ALICE).filter(({ kind }) => kind === 'heartbeat').length
    })
    expect(beats).toEqual([1, 0, 0, 0, 1])
    bob.frame(ALICE, { kind: 'heartbeat', sequence: 42 }, 1_001)
    expect(framesTo(bob.takeOutput(1_001).effects, ALICE)).toEqual([{ kind: 'heartbeatAck', sequence: 42 }])
  })

  test('ends with a goodbye to all who are linked when the daemon stops', () => {
    const bob = linked()
    bob.linkUp(CAROL, 0)
    bob.linkDown(CAROL, 1)
    bob.takeOutput(1)
    bob.goodbye()
    const { effects } = bob.takeOutput(2)
    expect(kindsTo(effects, ALICE)).toEqual(['goodbye'])
    expect(kindsTo(effects, CAROL)).toEqual([])
  })
})

describe('gossip', () => {
  const published = (bob: MeshNode, now: number) => {
    bob.tick(now, now)
    return bob.takeOutput(now).effects.flatMap(effect => (effect.kind === 'publish' ? [effect.advertisement] : []))
  }

  const intervals: [load: string, changes: boolean, ms: number][] = [
    ['changing', true, ADVERTISE_INTERVAL_MS],
    ['unchanged', false, ADVERTISE_UNCHANGED_MS]
  ]

  test.each(intervals)(
    'of %s load is published at its interval, give or take a fifth, with growing sequences',
    (_load, changes, ms) => {
      const bob = node()
      bob.offer('work', 1_000, 0)
      const times: number[] = []
      const sequences: number[] = []
      for (let now = 0; now <= 20 * ms; now += 50) {
        if (changes)
          bob.frame(ALICE, { kind: 'reserve', request: now, job: JOB, root: ALICE, capability: 'work', count: 1 }, now)
        for (const { sequence } of published(bob, now)) {
          times.push(now)
          sequences.push(sequence)
        }
      }
      const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0))
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0.8 * ms)
      expect(Math.max(...gaps)).toBeLessThanOrEqual(1.2 * ms + 50)
      expect(new Set(gaps).size, 'not in step').toBeGreaterThan(1)
      expect(sequences).toEqual([...new Set(sequences)].toSorted((a, b) => a - b))
    }
  )

  test('is published at the next tick when something has changed', () => {
    const bob = node()
    published(bob, 0)
    expect(published(bob, 250)).toEqual([])
    bob.offer('work', 2, 300)
    expect(published(bob, 500)).toMatchObject([{ capabilities: [{ name: 'work', slots: 2, free: 2 }] }])
  })

  test('of the daemon itself that comes back is ignored', () => {
    const bob = node()
    bob.gossip(BOB, bob.advertisement(), 1)
    expect(bob.view.members()).toEqual([])
  })
})

describe('reservations', () => {
  const reserve = (capability: string, request = 1) =>
    ({ kind: 'reserve', request, job: JOB, root: ALICE, capability, count: 1 }) as const

  test('for a capability that is not offered, and all of a stopping daemon, are refused', () => {
    const bob = linked()
    bob.frame(ALICE, reserve('sing'), 1)
    expect(framesTo(bob.takeOutput(1).effects, ALICE)).toEqual([{ kind: 'busy', request: 1, job: JOB }])
    bob.offer('work', 1, 2)
    bob.stop(3)
    // A worker that registers at the last moment.
    bob.offer('work', 1, 3)
    bob.frame(ALICE, reserve('work', 2), 4)
    expect(framesTo(bob.takeOutput(4).effects, ALICE)).toContainEqual({ kind: 'busy', request: 2, job: JOB })
  })

  test('wait for the engagement of their job, and name it', () => {
    const bob = linked()
    bob.offer('work', 1, 0)
    bob.frame(ALICE, reserve('work'), 1)
    expect(kindsTo(bob.takeOutput(1).effects, ALICE)).toEqual(['engage'])
    const granted = {
      kind: 'grant',
      job: JOB,
      engagement: 7,
      boot: bootOf(1),
      sentAt: 1,
      fenced: [],
      pendingFences: []
    } as const
    bob.frame(ALICE, granted, 2)
    expect(framesTo(bob.takeOutput(2).effects, ALICE)).toEqual([
      { kind: 'reserved', request: 1, job: JOB, engagement: 7, slots: 1 }
    ])
  })

  test('whose engagement does not come are refused after a while, and their slots are free', () => {
    const bob = linked()
    bob.offer('work', 1, 0)
    bob.frame(ALICE, reserve('work'), 1)
    bob.takeOutput(1)
    expect(bob.host.slots.free('work')).toBe(0)
    bob.tick(1 + RESERVATION_TTL_MS, 0)
    expect(kindsTo(bob.takeOutput(1 + RESERVATION_TTL_MS).effects, ALICE)).toContain('busy')
    expect(bob.host.slots.free('work')).toBe(1)
  })

  test('end with the capability', () => {
    const bob = linked()
    bob.offer('work', 1, 0)
    for (const request of [1, 2]) bob.frame(ALICE, reserve('work', request), 1)
    bob.takeOutput(1)
    bob.offer('work', 0, 2)
    expect(framesTo(bob.takeOutput(2).effects, ALICE).filter(({ kind }) => kind === 'busy')).toHaveLength(2)
  })
})

/** Bob with one slot, engaged in a job of alice, with `0:1` running and `0:2` queued. */
function busyBob(): MeshNode {
  const bob = linked()
  bob.offer('work', 1, 0)
  bob.frame(ALICE, { kind: 'reserve', request: 1, job: JOB, root: ALICE, capability: 'work', count: 1 }, 1)
  bob.takeOutput(1)
  const granted = {
    kind: 'grant',
    job: JOB,
    engagement: 2,
    boot: bootOf(1),
    sentAt: 1,
    fenced: [],
    pendingFences: []
  } as const
  bob.frame(ALICE, granted, 2)
  for (const obligation of ['0:1', '0:2']) bob.frame(ALICE, handoff({ obligation }), 3)
  bob.takeOutput(3)
  return bob
}

describe('slots', () => {
  test('hold one body each; the next one starts when the first is gone', () => {
    const bob = busyBob()
    expect(bob.host.running).toBe(1)
    bob.bodyEnded(JOB, '0:1', COMPLETED, 10)
    const { effects } = bob.takeOutput(10)
    expect(effects.flatMap(effect => (effect.kind === 'start' ? [effect.obligation] : []))).toEqual(['0:2'])
  })

  test('are not leaked when a lease turns out to be over at the very start of a body', () => {
    const bob = busyBob()
    bob.offer('work', 2, LEASE_MS + 10)
    const { effects } = bob.takeOutput(LEASE_MS + 10)
    expect(effects.filter(({ kind }) => kind === 'start')).toEqual([])
    expect(effects.filter(({ kind }) => kind === 'kill')).toHaveLength(1)
    bob.bodyEnded(JOB, '0:1', { kind: 'killed' }, LEASE_MS + 20)
    bob.takeOutput(LEASE_MS + 20)
    expect(bob.host.slots.free('work')).toBe(2)
  })

  test('of a job are free again when it is over', () => {
    const bob = busyBob()
    bob.frame(ALICE, { kind: 'done', job: JOB }, 10)
    bob.takeOutput(10)
    bob.bodyEnded(JOB, '0:1', { kind: 'killed' }, 20)
    bob.tick(30, 0)
    bob.takeOutput(30)
    expect(bob.host.slots.free('work')).toBe(1)
    expect(bob.quiet && bob.host.idle).toBe(true)
    expect(bob.host.participants()).toEqual([])
  })

  test('a body may start only while its lease lasts', () => {
    const bob = busyBob()
    expect(bob.leaseToStart(JOB, '0:1', LEASE_MS)).toBe(1)
    expect(bob.leaseToStart(JOB, '0:2', LEASE_MS)).toBeUndefined()
    expect(bob.leaseToStart(JOB, '0:1', LEASE_MS + 1)).toBeUndefined()
  })
})

test('leases of all jobs with one root are renewed by one frame a second', () => {
  const bob = linked()
  for (const job of ['joba', 'jobb']) {
    bob.frame(ALICE, handoff({ job }), 0)
    bob.takeOutput(0)
    const nothing = { fenced: [], pendingFences: [] }
    bob.frame(ALICE, { kind: 'grant', job, engagement: 2, boot: bootOf(1), sentAt: 0, ...nothing }, 1)
  }
  const renewals: number[] = []
  for (let now = 1_000; now < 4_000; now += 250) {
    bob.tick(now, now)
    const frames = framesTo(bob.takeOutput(now).effects, ALICE)
    for (const frame of frames) if (frame.kind === 'renew') renewals.push(frame.items.length)
  }
  expect(renewals).toEqual([2, 2, 2])
})

describe('stopping', () => {
  test('gives queued attempts back, lets running ones end, and takes nothing new', () => {
    const bob = busyBob()
    bob.stop(10)
    const settles = framesTo(bob.takeOutput(10).effects, ALICE).filter(frame => frame.kind === 'settle')
    expect(settles).toMatchObject([{ obligation: '0:2', outcome: 'returned' }])
    expect(bob.host.running).toBe(1)
    bob.frame(ALICE, handoff({ obligation: '0:3' }), 11)
    expect(framesTo(bob.takeOutput(11).effects, ALICE)).toMatchObject([{ obligation: '0:3', outcome: 'returned' }])
    expect(bob.stopping).toBe(true)
    expect(bob.host.idle).toBe(false)
  })

  test('then interrupting gives running attempts back too, once their bodies are gone', () => {
    const bob = busyBob()
    bob.stop(10)
    bob.takeOutput(10)
    expect(bob.host.idle).toBe(false)
    bob.moveAll('stop', 20)
    const { effects } = bob.takeOutput(20)
    expect(effects.filter(({ kind }) => kind === 'kill')).toHaveLength(1)
    expect(kindsTo(effects, ALICE)).toEqual([])
    bob.bodyEnded(JOB, '0:1', { kind: 'killed' }, 30)
    expect(framesTo(bob.takeOutput(30).effects, ALICE)).toMatchObject([{ obligation: '0:1', outcome: 'returned' }])
    bob.frame(ALICE, { kind: 'settled', job: JOB, obligation: '0:1' }, 40)
    bob.frame(ALICE, { kind: 'settled', job: JOB, obligation: '0:2' }, 40)
    expect(bob.host.idle && bob.host.idle).toBe(true)
  })

  test('then leaving kills what still runs, and tells the root when that is gone', () => {
    const bob = busyBob()
    bob.stop(10)
    bob.leave(20)
    expect(bob.takeOutput(20).effects.filter(({ kind }) => kind === 'kill')).toHaveLength(1)
    bob.bodyEnded(JOB, '0:1', { kind: 'killed' }, 30)
    expect(kindsTo(bob.takeOutput(30).effects, ALICE)).toEqual(['leave'])
    bob.frame(ALICE, handoff({ obligation: '0:4' }), 40)
    expect(bob.takeOutput(40).effects, 'a late hand-off does not engage it again').toEqual([])
  })
})

describe('a boot', () => {
  test('that is not the newest one of its peer is told so, when it engages (C2)', () => {
    const alice = node(ALICE)
    alice.adopt(SUBMITTED, [], 0, 0)
    alice.linkUp(BOB, 0)
    alice.frame(BOB, { kind: 'engage', job: JOB, boot: bootOf(5), lost: 0, sentAt: 0 }, 1)
    alice.takeOutput(1)
    const restored = { incarnation: 5, nonce: 'f'.repeat(16) }
    for (const boot of [bootOf(4), restored]) {
      alice.frame(BOB, { kind: 'engage', job: JOB, boot, lost: 0, sentAt: 0 }, 2)
      const [answer] = framesTo(alice.takeOutput(2).effects, BOB)
      expect(answer).toEqual({ kind: 'stale', job: JOB, boot, incarnation: 5 })
    }
    expect(alice.roots.ledger(JOB)?.state.grants.get(BOB)).toMatchObject({ engagement: 1, boot: bootOf(5) })
  })

  test('that is newer ends what the older one held, with its hello', () => {
    const alice = node(ALICE)
    alice.adopt(SUBMITTED, [], 0, 0)
    alice.frame(BOB, { kind: 'engage', job: JOB, boot: bootOf(1), lost: 0, sentAt: 0 }, 1)
    alice.takeOutput(1)
    alice.linkUp(BOB, 2)
    alice.frame(BOB, hello(BOB, 1), 2)
    expect(alice.takeOutput(2).records).toEqual([])
    alice.frame(BOB, hello(BOB, 2), 3)
    expect(alice.takeOutput(3).records.map(({ record }) => record.kind)).toEqual(['fence-opened'])
  })
})

describe('frames for jobs that are unknown here', () => {
  const answers: [frame: Frame, answer: string[]][] = [
    [{ kind: 'engage', job: 'gone', boot: bootOf(1), lost: 0, sentAt: 0 }, ['done']],
    [
      {
        kind: 'settle',
        job: 'gone',
        obligation: '0:1',
        outcome: 'completed',
        result: bytes(1),
        parts: 0,
        records: [],
        endedAgoMs: 0
      },
      ['settled']
    ],
    [
      {
        kind: 'settle',
        job: 'gone',
        obligation: '7:1',
        outcome: 'completed',
        result: bytes(1),
        parts: 0,
        records: [],
        endedAgoMs: 0
      },
      ['settled']
    ],
    [{ kind: 'settlePart', job: 'gone', obligation: '7:1', index: 0, records: [] }, []],
    [{ kind: 'cancel', job: 'gone', obligation: '7:1', toEngagement: 1, ownerEngagement: 1 }, []],
    [{ kind: 'leave', job: 'gone', engagement: 1, boot: bootOf(1) }, []],
    [{ kind: 'fenced', job: 'gone', fence: 1, engagement: 1 }, []],
    [{ kind: 'fence', job: 'gone', fence: 1, peer: CAROL, cause: 'lost', yourEngagement: 1 }, []],
    [{ kind: 'done', job: 'gone' }, []],
    [{ kind: 'settled', job: 'gone', obligation: '7:1' }, []],
    [{ kind: 'release', job: 'gone', request: 1, slots: 1, all: true }, []],
    [{ kind: 'busy', job: 'gone', request: 1 }, []],
    [{ kind: 'reserved', job: 'gone', request: 1, engagement: 1, slots: 1 }, ['release']]
  ]

  test.each(answers.map(([frame, answer]) => ({ kind: frame.kind, frame, answer })))(
    '$kind: $answer',
    ({ frame, answer }) => {
      const bob = linked()
      bob.frame(ALICE, frame, 1)
      expect(kindsTo(bob.takeOutput(1).effects, ALICE)).toEqual(answer)
    }
  )

  test('a renewal names it as done', () => {
    const bob = linked()
    const items = [{ job: 'gone', engagement: 1, running: 0, queued: 0, ended: 0, failed: 0, spawned: 0 }]
    bob.frame(ALICE, { kind: 'renew', boot: bootOf(1), sentAt: 5, items }, 1)
    expect(framesTo(bob.takeOutput(1).effects, ALICE)).toMatchObject([
      { kind: 'renewed', sentAt: 5, done: ['gone'], lost: [] }
    ])
  })
})

describe('explanations', () => {
  function candidates(now: number, on?: string) {
    const bob = linked()
    bob.frame(ALICE, hello(ALICE, 1, 2), 0)
    bob.linkUp(CAROL, 0)
    bob.frame(CAROL, hello(CAROL, 1, 1), 0)
    bob.linkDown(CAROL, 1)
    const found = bob.consider('work', on, now)
    return Object.fromEntries(
      found.map(({ peer, eligible, reason, free, ageMs }) => [peer, { eligible, reason, free, ageMs }])
    )
  }

  test('say of every known daemon whether it could take the task, why, and how old the figure is', () => {
    expect(candidates(500)).toEqual({
      [BOB]: { eligible: false, reason: 'it does not offer the capability', free: null, ageMs: 0 },
      [ALICE]: { eligible: true, reason: '2 free', free: 2, ageMs: 500 },
      [CAROL]: { eligible: false, reason: 'it is suspect', free: 1, ageMs: 500 }
    })
  })

  test('know the capabilities of all members that are not known to be gone', () => {
    const bob = linked()
    bob.offer('paint', 1, 0)
    bob.frame(ALICE, hello(ALICE, 1, 2), 0)
    expect(bob.knownCapabilities()).toEqual(new Set(['paint', 'work']))
    bob.frame(ALICE, { kind: 'goodbye' }, 1)
    expect(bob.knownCapabilities()).toEqual(new Set(['paint']))
  })

  test('name the peer that was asked for as the only one', () => {
    expect(candidates(500, CAROL)[ALICE]).toMatchObject({ eligible: false, reason: 'another peer was asked for' })
  })
})

describe('a submitted record', () => {
  test('is carried on after a restart of its daemon, under the same job', () => {
    const submitted: SubmittedRecord = { ...SUBMITTED, traceparent: '00-1-2-3' }
    const alice = node(ALICE, 2)
    alice.adopt(submitted, [{ kind: 'granted', peer: BOB, engagement: 1, boot: bootOf(1) }], 0, 0)
    alice.takeOutput(0)
    expect(alice.roots.ledger(JOB)?.state.obligation).toMatchObject({ task: { path: '0', traceparent: '00-1-2-3' } })
    expect(alice.waitingFor(JOB)).toBe(1)
  })
})
