import { describe, expect, test } from 'vitest'
import type { Frame } from '../../../src/core/frames.ts'
import { type Candidate, type Demand, Placer, UNPLACEABLE_AFTER_MS } from '../../../src/core/placement/index.ts'
import { seeded } from '../../helpers/virtual-time.ts'

const JOB = 'job1'

const demand = (obligation: string, more: Partial<Demand> = {}): Demand => ({
  job: JOB,
  obligation,
  capability: 'work',
  root: 'root',
  on: undefined,
  avoid: undefined,
  since: 0,
  ...more
})
const host = (peer: string, free = 4, local = false): Candidate => ({ peer, free, local })
const hosts = (count: number, free = 4) => Array.from({ length: count }, (_, index) => host(`host${index}`, free))

function waiting(count: number, more: Partial<Demand> = {}): Placer {
  const placer = new Placer()
  for (let index = 0; index < count; index += 1) placer.add(demand(`1:${index}`, more))
  return placer
}

interface Sent {
  readonly to: string
  readonly frame: Frame
}

function evaluate(placer: Placer, candidates: readonly Candidate[], seed = 1): Sent[] {
  return placer.evaluate(() => candidates, seeded(seed))
}

const reserves = (sent: readonly Sent[]) =>
  sent.flatMap(({ to, frame }) =>
    frame.kind === 'reserve' ? [{ to, request: frame.request, count: frame.count }] : []
  )
const releases = (sent: readonly Sent[]) =>
  sent.flatMap(({ to, frame }) => (frame.kind === 'release' ? [{ to, ...frame }] : []))

describe('whom it asks', () => {
  test('one task: two hosts, one slot each', () => {
    const asked = reserves(evaluate(waiting(1), hosts(10)))
    expect(asked.map(({ count }) => count)).toEqual([1, 1])
    expect(new Set(asked.map(({ to }) => to)).size).toBe(2)
  })

  test('this host alone, when it has enough free slots', () => {
    expect(reserves(evaluate(waiting(1), [host('far', 9), host('here', 1, true)]))).toEqual([
      { to: 'here', request: 1, count: 1 }
    ])
  })

  test('this host first and others too, when it has some free slots', () => {
    const asked = reserves(evaluate(waiting(3), [host('far', 9), host('here', 1, true)]))
    expect(asked.map(({ to }) => to)).toEqual(['here', 'far'])
  })

  test.each([0, 4])('with a large backlog everyone, also when the figures say %i free', free => {
    const asked = reserves(evaluate(waiting(200), hosts(10, free)))
    expect(new Set(asked.map(({ to }) => to)).size).toBe(10)
  })

  test('nobody twice for the same backlog', () => {
    const placer = waiting(200)
    evaluate(placer, hosts(10))
    expect(evaluate(placer, hosts(10, 0))).toEqual([])
  })

  test('only the peer that a task must run on', () => {
    const placer = waiting(3, { on: 'host7' })
    expect(new Set(reserves(evaluate(placer, hosts(10))).map(({ to }) => to))).toEqual(new Set(['host7']))
    expect(reserves(evaluate(waiting(1, { on: 'elsewhere' }), hosts(10)))).toEqual([])
  })

  test('hosts with more free slots more often, busy ones now and then', () => {
    const picks = { busy: 0, free: 0 }
    for (let seed = 0; seed < 400; seed += 1) {
      const [first] = reserves(evaluate(waiting(1), [host('busy', 0), host('free', 3)], seed))
      if (first?.to === 'busy') picks.busy += 1
      else picks.free += 1
    }
    expect(picks.busy).toBeGreaterThan(0)
    expect(picks.free).toBeGreaterThan(10 * picks.busy)
  })

  test('the host that gave the task back only when there is no other', () => {
    const avoid = { avoid: 'host0' }
    let avoided = 0
    for (let seed = 0; seed < 200; seed += 1) {
      const [first] = reserves(evaluate(waiting(1, avoid), [host('host0', 4), host('host1', 4)], seed))
      if (first?.to !== 'host0') avoided += 1
    }
    expect(avoided).toBeGreaterThan(190)
    expect(reserves(evaluate(waiting(1, avoid), [host('host0')]))).toHaveLength(1)
  })

  test('more hosts as more tasks come, and again those whose slots are used up, a few frames for a thousand tasks', () => {
    const placer = new Placer()
    let frames = 0
    for (let index = 0; index < 1_000; index += 1) {
      placer.add(demand(`1:${index}`))
      frames += evaluate(placer, hosts(10, 0)).length
    }
    expect(frames).toBeLessThanOrEqual(10 * 11)
  })
})

describe('what it does with an offer', () => {
  test('the oldest tasks get the slots; what is left over is reported', () => {
    const placer = waiting(3)
    const [first] = reserves(evaluate(placer, [host('host0')]))
    const { matches, unused } = placer.reserved('host0', {
      request: first?.request ?? 0,
      job: JOB,
      engagement: 7,
      slots: 4
    })
    expect(matches.map(match => match.demand.obligation)).toEqual(['1:0', '1:1', '1:2'])
    expect(matches[0]).toMatchObject({ to: 'host0', toEngagement: 7, asked: ['host0'] })
    expect(unused).toBe(1)
    expect(placer.waiting).toBe(0)
  })

  test('an offer for a request that it does not know is given back whole', () => {
    const placer = waiting(1)
    evaluate(placer, [host('host0')])
    expect(placer.reserved('host0', { request: 99, job: JOB, engagement: 7, slots: 2 })).toEqual({
      matches: [],
      unused: 2
    })
    const other = { request: 1, job: 'job2', engagement: 7, slots: 2 }
    expect(placer.reserved('host0', other), 'of the same number, but of another job').toEqual({
      matches: [],
      unused: 2
    })
    expect(placer.reserved('stranger', { request: 1, job: JOB, engagement: 7, slots: 2 })).toEqual({
      matches: [],
      unused: 2
    })
    expect(placer.waiting).toBe(1)
  })

  test('when nobody waits any more the other hosts are told, once', () => {
    const placer = waiting(1)
    const asked = reserves(evaluate(placer, hosts(2)))
    placer.reserved(asked[0]?.to ?? '', { request: asked[0]?.request ?? 0, job: JOB, engagement: 7, slots: 1 })
    const told = releases(evaluate(placer, hosts(2)))
    expect(told).toMatchObject([{ to: asked[1]?.to, request: asked[1]?.request, all: true }])
    expect(evaluate(placer, hosts(2))).toEqual([])
  })

  test('a withdrawn task gets no slot, and its request is ended', () => {
    const placer = waiting(1)
    const [first] = reserves(evaluate(placer, [host('host0')]))
    placer.withdraw('job1', '1:0')
    expect(placer.reserved('host0', { request: first?.request ?? 0, job: JOB, engagement: 7, slots: 1 })).toEqual({
      matches: [],
      unused: 1
    })
    expect(evaluate(placer, [host('host0')])).toEqual([])
  })

  test('the same obligation id in two jobs is two tasks', () => {
    const placer = new Placer()
    placer.add(demand('1:1', { job: 'job1' }))
    placer.add(demand('1:1', { job: 'job2' }))
    placer.withdraw('job1', '1:1')
    expect(placer.waitingFor('job1')).toBe(0)
    expect(placer.waitingFor('job2')).toBe(1)
  })

  test('reserving and giving back comes to an end: without news it has nothing to say', () => {
    const placer = waiting(5)
    const candidates = hosts(3, 0)
    let rounds = 0
    for (let sent = evaluate(placer, candidates); sent.length > 0; sent = evaluate(placer, candidates)) rounds += 1
    expect(rounds).toBe(1)
  })
})

describe('hosts that say no or vanish', () => {
  test('a refused request is asked elsewhere', () => {
    const placer = waiting(1)
    const [first] = reserves(evaluate(placer, [host('host0')]))
    placer.refused('host0', first?.request ?? 0)
    expect(reserves(evaluate(placer, [host('host1')]))).toMatchObject([{ to: 'host1' }])
  })

  test('a host whose link is gone is asked anew when it is back, under a new request', () => {
    const placer = waiting(1)
    const [first] = reserves(evaluate(placer, [host('host0')]))
    placer.forget('host0')
    const [second] = reserves(evaluate(placer, [host('host0')]))
    expect(second?.request).not.toBe(first?.request)
    expect(
      placer.reserved('host0', { request: first?.request ?? 0, job: JOB, engagement: 7, slots: 1 }).matches
    ).toEqual([])
  })
})

describe('what nobody offers', () => {
  const unplaceable = (placer: Placer, candidates: readonly Candidate[], now: number) =>
    placer.unplaceable(() => candidates.map(({ peer }) => peer), now).map(({ obligation }) => obligation)

  test('waits for UNPLACEABLE_AFTER_MS, then is given up', () => {
    const placer = waiting(1, { since: 1_000 })
    expect(unplaceable(placer, [], 1_000 + UNPLACEABLE_AFTER_MS - 1)).toEqual([])
    expect(unplaceable(placer, [], 1_000 + UNPLACEABLE_AFTER_MS)).toEqual(['1:0'])
  })

  test('is not given up because it has long waited for busy hosts when their links break for a moment', () => {
    const placer = waiting(1)
    const later = 10 * UNPLACEABLE_AFTER_MS
    expect(unplaceable(placer, hosts(1, 0), later)).toEqual([])
    expect(unplaceable(placer, [], later + 250)).toEqual([])
    expect(unplaceable(placer, [], later + UNPLACEABLE_AFTER_MS)).toEqual(['1:0'])
  })

  test('a task that comes later waits its own time', () => {
    const placer = waiting(1)
    placer.add(demand('1:9', { since: UNPLACEABLE_AFTER_MS - 1 }))
    expect(unplaceable(placer, [], UNPLACEABLE_AFTER_MS)).toEqual(['1:0'])
  })

  test('a task for one peer is given up though others offer the capability', () => {
    const placer = waiting(1, { on: 'gone' })
    expect(unplaceable(placer, hosts(3), UNPLACEABLE_AFTER_MS)).toEqual(['1:0'])
  })
})
