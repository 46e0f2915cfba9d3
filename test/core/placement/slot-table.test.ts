import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RESERVATION_TTL_MS, SlotTable, WAITING_REQUESTS_MAX } from '../../../src/core/placement/index.ts'

const CAPABILITY = 'work'
const of = (from: string, request: number, job = 'job1') => ({ from, request, job, root: from, capability: CAPABILITY })

function table(slots: number): SlotTable {
  const made = new SlotTable()
  made.offer(CAPABILITY, slots)
  return made
}

/** Slots granted per owner. */
function granted(slots: SlotTable, now = 0): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const grant of slots.grant(now)) sums[grant.from] = (sums[grant.from] ?? 0) + grant.slots
  return sums
}

describe('fairness', () => {
  test('owners that wait are served in turn, one slot each, whatever they asked for', () => {
    const slots = table(6)
    slots.request(of('greedy', 1), 1_000)
    slots.request(of('modest', 2), 2)
    slots.request(of('third', 3), 2)
    expect(granted(slots)).toEqual({ greedy: 2, modest: 2, third: 2 })
  })

  test('over many turns the shares of owners that always wait differ by one slot at the most', () => {
    const slots = table(1)
    const shares = new Map<string, number>()
    const owners = ['alice', 'bob', 'carol']
    for (const [index, owner] of owners.entries()) slots.request(of(owner, index), 1_000)
    for (let turn = 0; turn < 100; turn += 1) {
      for (const { from, request } of slots.grant(turn)) {
        shares.set(from, (shares.get(from) ?? 0) + 1)
        slots.enqueue('job1', `${turn}`, CAPABILITY, from, request)
      }
      for (const { capability } of slots.startable()) slots.leave(capability)
    }
    const counts = owners.map(owner => shares.get(owner) ?? 0)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(100)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
  })
})

describe('reservations', () => {
  test('a granted slot that nobody uses is free again after RESERVATION_TTL_MS, not before', () => {
    const slots = table(1)
    slots.request(of('alice', 1), 1)
    expect(slots.grant(1_000)).toHaveLength(1)
    slots.expire(1_000 + RESERVATION_TTL_MS - 1)
    expect(slots.free(CAPABILITY)).toBe(0)
    slots.expire(1_000 + RESERVATION_TTL_MS)
    expect(slots.free(CAPABILITY)).toBe(1)
    expect(slots.grant(4_000)).toEqual([])
  })

  test('a hand-off whose reservation has expired is queued all the same and starts when there is a slot', () => {
    const slots = table(1)
    slots.request(of('alice', 1), 1)
    slots.grant(0)
    slots.expire(RESERVATION_TTL_MS)
    slots.request(of('bob', 2), 1)
    expect(slots.grant(RESERVATION_TTL_MS)).toHaveLength(1)
    slots.enqueue('job1', 'late', CAPABILITY, 'alice', 1)
    slots.enqueue('job1', 'reserved', CAPABILITY, 'bob', 2)
    expect(slots.startable().map(({ obligation }) => obligation)).toEqual(['late'])
    slots.leave(CAPABILITY)
    expect(slots.startable().map(({ obligation }) => obligation)).toEqual(['reserved'])
  })

  test('what a peer had reserved or asked for is forgotten with its link', () => {
    const slots = table(2)
    slots.request(of('alice', 1), 5)
    slots.grant(0)
    slots.forget('alice')
    expect(slots.free(CAPABILITY)).toBe(2)
    expect(slots.grant(0)).toEqual([])
  })

  test('requests and queued attempts of a job that ended are void, those of another stay', () => {
    const slots = table(1)
    slots.request(of('alice', 1, 'over'), 3)
    slots.request(of('alice', 2, 'stays'), 3)
    slots.enqueue('over', 'a', CAPABILITY, 'alice', 9)
    slots.enqueue('stays', 'b', CAPABILITY, 'alice', 9)
    slots.drop('over')
    expect(slots.startable().map(({ job }) => job)).toEqual(['stays'])
    slots.leave(CAPABILITY)
    expect(slots.grant(0).map(({ job }) => job)).toEqual(['stays'])
  })

  test('a request that is used up leaves nothing behind: as many more can come, one after the other', () => {
    const slots = table(2)
    for (let request = 0; request <= WAITING_REQUESTS_MAX; request += 1) {
      expect(slots.request(of('alice', request), 2)).toBe(true)
      expect(slots.grant(0)).toHaveLength(1)
      // One slot is used, the other one given back: the order in which an owner does it.
      slots.enqueue('job1', `${request}`, CAPABILITY, 'alice', request)
      slots.release('alice', request, 1, false)
      for (const { capability } of slots.startable()) slots.leave(capability)
    }
    expect(slots.free(CAPABILITY)).toBe(2)
  })

  test(`${WAITING_REQUESTS_MAX} requests may wait, the next one is refused`, () => {
    const slots = table(1)
    for (let request = 0; request < WAITING_REQUESTS_MAX; request += 1) {
      expect(slots.request(of('alice', request), 1)).toBe(true)
    }
    expect(slots.request(of('alice', WAITING_REQUESTS_MAX), 1)).toBe(false)
    expect(slots.request(of('alice', 0), 1), 'one that waits already may ask for more').toBe(true)
  })
})

describe('capabilities that come and go', () => {
  test('a request for what is not offered is refused', () => {
    expect(new SlotTable().request(of('alice', 1), 1)).toBe(false)
    const slots = table(1)
    slots.offer(CAPABILITY, 0)
    expect(slots.request(of('alice', 1), 1)).toBe(false)
  })

  test('taking a capability away voids its requests and strands what is queued', () => {
    const slots = table(1)
    slots.request(of('alice', 1), 1)
    slots.enqueue('job1', 'a', CAPABILITY, 'alice', 7)
    expect(slots.offer(CAPABILITY, 0).map(({ request }) => request)).toEqual([1])
    expect(slots.stranded()).toMatchObject([{ obligation: 'a' }])
    expect(slots.offered()).toEqual([])
    expect(slots.startable()).toEqual([])
  })

  test('fewer slots than bodies: nothing new starts until enough have ended', () => {
    const slots = table(2)
    for (const id of ['a', 'b', 'c']) slots.enqueue('job1', id, CAPABILITY, 'alice', 1)
    expect(slots.startable()).toHaveLength(2)
    slots.offer(CAPABILITY, 1)
    slots.leave(CAPABILITY)
    expect(slots.startable()).toEqual([])
    slots.leave(CAPABILITY)
    expect(slots.startable()).toHaveLength(1)
  })

  test('a body that goes on after its capability was taken away is counted when it is offered again', () => {
    const slots = table(1)
    slots.enqueue('job1', 'parent', CAPABILITY, 'alice', 1)
    slots.startable()
    slots.offer(CAPABILITY, 0)
    slots.leave(CAPABILITY)
    slots.enter(CAPABILITY)
    slots.offer(CAPABILITY, 1)
    slots.enqueue('job1', 'other', CAPABILITY, 'alice', 2)
    expect(slots.startable(), 'the slot is taken by the parent').toEqual([])
    slots.leave(CAPABILITY)
    expect(slots.startable()).toHaveLength(1)
  })
})

/** What is known of the slots without looking into the table. */
class Model {
  slots = 3
  busy = 0
  /** Attempts that took a slot again though none may have been free. */
  blocked = 0
  clock = 0
  queued: string[] = []
  readonly held = new Map<number, number>()
  readonly wanted = new Map<number, number>()
  readonly heldUntil = new Map<number, number>()
  next = 0
}

const operation = fc.oneof(
  fc.record({
    do: fc.constant('request' as const),
    request: fc.integer({ min: 0, max: 4 }),
    count: fc.integer({ min: 1, max: 4 })
  }),
  fc.record({ do: fc.constantFrom('grant' as const, 'start' as const, 'leave' as const, 'expire' as const) }),
  fc.record({ do: fc.constantFrom('block' as const, 'unblock' as const) }),
  fc.record({ do: fc.constant('handoff' as const), request: fc.integer({ min: 0, max: 4 }) }),
  fc.record({
    do: fc.constant('release' as const),
    request: fc.integer({ min: 0, max: 4 }),
    slots: fc.integer({ min: 0, max: 3 }),
    all: fc.boolean()
  }),
  fc.record({ do: fc.constant('offer' as const), slots: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ do: fc.constant('dequeue' as const), index: fc.nat(5) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, RESERVATION_TTL_MS / 2, RESERVATION_TTL_MS) })
)

type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never

function apply(slots: SlotTable, model: Model, op: Operation): void {
  const owner = 'owner'
  switch (op.do) {
    case 'request':
      slots.request(of(owner, op.request), op.count)
      model.wanted.set(op.request, (model.wanted.get(op.request) ?? 0) + op.count)
      return
    case 'grant':
      for (const { request, slots: count } of slots.grant(model.clock)) {
        expect(model.wanted.get(request) ?? 0, 'granted more than was wanted').toBeGreaterThanOrEqual(count)
        model.wanted.set(request, (model.wanted.get(request) ?? 0) - count)
        model.held.set(request, (model.held.get(request) ?? 0) + count)
        model.heldUntil.set(request, model.clock + RESERVATION_TTL_MS)
      }
      return
    case 'start':
      for (const { obligation } of slots.startable()) {
        expect(model.queued.shift(), 'in order of arrival').toBe(obligation)
        model.busy += 1
        expect(model.busy, 'more bodies than slots').toBeLessThanOrEqual(Math.max(model.slots, 0))
      }
      return
    case 'leave':
      if (model.busy === 0) return
      model.busy -= 1
      return slots.leave(CAPABILITY)
    case 'block':
      if (model.busy === 0) return
      model.busy -= 1
      model.blocked += 1
      return slots.leave(CAPABILITY)
    case 'unblock':
      // Only while there is room, so that the sum below holds; the next test is about the other case.
      if (model.blocked === 0 || slots.free(CAPABILITY) === 0) return
      model.blocked -= 1
      model.busy += 1
      return slots.enter(CAPABILITY)
    case 'handoff':
      model.next += 1
      model.queued.push(`${model.next}`)
      model.held.set(op.request, Math.max(0, (model.held.get(op.request) ?? 0) - 1))
      return slots.enqueue('job1', `${model.next}`, CAPABILITY, owner, op.request)
    case 'release':
      if (op.all) {
        model.held.delete(op.request)
        model.wanted.delete(op.request)
      } else {
        model.held.set(op.request, Math.max(0, (model.held.get(op.request) ?? 0) - op.slots))
      }
      return slots.release(owner, op.request, op.slots, op.all)
    case 'offer':
      model.slots = op.slots
      slots.offer(CAPABILITY, op.slots)
      return
    case 'dequeue': {
      const [gone] = model.queued.splice(op.index, 1)
      if (gone !== undefined) slots.dequeue('job1', gone)
      return
    }
    case 'wait':
      model.clock += op.ms
      return
    case 'expire':
      for (const [request, until] of model.heldUntil) if (model.clock >= until) model.held.set(request, 0)
      return slots.expire(model.clock)
  }
}

test('no slot is leaked or given twice, whatever happens in whatever order', () => {
  let full = 0
  fc.assert(
    fc.property(fc.array(operation, { minLength: 20, maxLength: 80 }), operations => {
      const slots = table(3)
      const model = new Model()
      for (const op of operations) {
        apply(slots, model, op)
        const held = [...model.held.values()].reduce((sum, count) => sum + count, 0)
        const taken = model.busy + model.queued.length + held
        expect(slots.free(CAPABILITY)).toBe(Math.max(0, model.slots - taken))
        expect(slots.queued()).toBe(model.queued.length)
        if (taken >= model.slots) full += 1
      }
    }),
    { numRuns: 500 }
  )
  expect(full).toBeGreaterThan(1_000)
})

test('a parent whose wait is over goes on at once, and the slots recover when it ends', () => {
  const slots = table(1)
  slots.enqueue('job1', 'parent', CAPABILITY, 'alice', 1)
  slots.startable()
  slots.leave(CAPABILITY)
  slots.enqueue('job1', 'child', CAPABILITY, 'alice', 1)
  expect(slots.startable()).toHaveLength(1)
  slots.enter(CAPABILITY)
  expect(slots.free(CAPABILITY)).toBe(0)
  slots.leave(CAPABILITY)
  expect(slots.free(CAPABILITY), 'the child still runs').toBe(0)
  slots.leave(CAPABILITY)
  expect(slots.free(CAPABILITY)).toBe(1)
})
