import { describe, expect, test } from 'vitest'
import { planOf, type ScheduleResult, Simulation } from '../../src/testing/index.ts'
import { KEPT_SCHEDULES } from './kept-schedules.ts'

/** A few are enough here: `npm run sim:ci` runs ten thousand. */
const FRESH_SEEDS = 60
const TWICE_SEEDS = 12

async function run(seed: number, change: object = {}): Promise<ScheduleResult> {
  return new Simulation({ ...planOf(seed), ...change }).run()
}

describe('schedules that have found something once', () => {
  test.each(KEPT_SCHEDULES)(
    '$name',
    async ({ seeds, change }) => {
      for (const seed of seeds) {
        const { violations, verdicts } = await run(seed, change)
        expect({ seed, violations }).toEqual({ seed, violations: [] })
        expect(verdicts).not.toHaveProperty('none')
      }
    },
    60_000
  )
})

test(`${FRESH_SEEDS} random schedules: every job is announced once, honestly, and nothing executes any more`, async () => {
  const faults: Record<string, number> = {}
  for (let seed = 1; seed <= FRESH_SEEDS; seed += 1) {
    const result = await run(seed)
    expect({ seed, violations: result.violations }).toEqual({ seed, violations: [] })
    for (const [kind, times] of Object.entries(result.faults)) faults[kind] = (faults[kind] ?? 0) + times
  }
  for (const kind of ['crash', 'pause', 'partition']) expect(faults[kind] ?? 0, kind).toBeGreaterThan(FRESH_SEEDS)
}, 120_000)

describe('one seed', () => {
  test('goes the same way every time, event by event', async () => {
    for (let seed = 1; seed <= TWICE_SEEDS; seed += 1) {
      const [first, second] = [await run(seed), await run(seed)]
      expect(second).toEqual(first)
    }
  }, 60_000)

  test('goes another way than its neighbour', async () => {
    const digests = new Set<string>()
    for (let seed = 1; seed <= TWICE_SEEDS; seed += 1) digests.add((await run(seed)).digest)
    expect(digests.size).toBe(TWICE_SEEDS)
  }, 60_000)

  test('asks neither the clock nor the dice of this machine', async () => {
    const [now, random] = [Date.now, Math.random]
    const refuse = () => {
      throw new Error('the simulator must not know the real time, or real chance')
    }
    Object.assign(Date, { now: refuse })
    Object.assign(Math, { random: refuse })
    try {
      expect((await run(3)).violations).toEqual([])
    } finally {
      Object.assign(Date, { now })
      Object.assign(Math, { random })
    }
  })
})

test('without any fault everything is completed', async () => {
  const calm = planOf(5)
  const jobs = calm.jobs.map(job => ({ ...job, tree: { ...job.tree, failing: 0, flaky: 0, hasty: 0, poison: false } }))
  const { verdicts, violations } = await run(5, { faults: [], jobs })
  expect({ verdicts, violations }).toEqual({ verdicts: { completed: jobs.length }, violations: [] })
})
