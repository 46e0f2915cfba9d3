import { expect, test } from 'vitest'
import { NodeCluster, seeded } from '../../helpers/node-cluster.ts'

const JOB = 'burst1'
const TASKS = 200
const HOSTS = 10
const SLOTS = 4

/** Log-normal with mean 1 (sigma 1): the spread of build and test times. */
function logNormal(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.exp(normal - 0.5)
}

/** One queue in front of all slots: the best that can be done without knowing how long anything will take. */
function centralFifo(durations: readonly number[], slots: number): number {
  const free = new Array<number>(slots).fill(0)
  for (const duration of durations) {
    const earliest = free.indexOf(Math.min(...free))
    free[earliest] = (free[earliest] ?? 0) + duration
  }
  return Math.max(...free)
}

function jain(shares: readonly number[]): number {
  const sum = shares.reduce((a, b) => a + b, 0)
  return sum ** 2 / (shares.length * shares.reduce((a, b) => a + b * b, 0))
}

/** A burst of TASKS children spawned at once by a root that does nothing else. Makespan in ms, busy time per host. */
function burst(durations: readonly number[], seed: number): { makespan: number; busy: number[]; frames: number } {
  const random = seeded(seed)
  const cluster = new NodeCluster({
    // The submitting host has a slot for the root task only.
    hosts: HOSTS + 1,
    slots: host => (host === 0 ? 0 : SLOTS),
    random,
    latencyMs: () => 0.5 + random(),
    body: input => {
      if (typeof input === 'number') return { durationMs: input, children: [] }
      return { durationMs: 1, waits: true, children: durations.map(ms => ({ capability: 'work', input: ms })) }
    }
  })
  cluster.run(() => false, 2_000)
  const before = [...cluster.frames.values()].reduce((a, b) => a + b, 0)
  const begun = cluster.now
  cluster.submit(0, JOB, 'root')
  cluster.run(() => cluster.announcements.length > 0, 3_600_000)
  expect(cluster.violations).toEqual([])
  expect(cluster.announcements[0]?.verdict).toBe('completed')
  const busy = new Map(cluster.hosts.slice(1).map(({ peer }) => [peer, 0]))
  for (const { path, peer } of cluster.executions) {
    const index = path === '0' ? undefined : Number(path.split('.')[1])
    busy.set(peer, (busy.get(peer) ?? 0) + (index === undefined ? 0 : (durations[index] ?? 0)))
  }
  const frames = [...cluster.frames.values()].reduce((a, b) => a + b, 0) - before
  return { makespan: cluster.now - begun, busy: [...busy.values()], frames }
}

test('200 tasks of 10 s on 10 hosts of 4 slots take as long as from one central queue, and all hosts share', () => {
  const { makespan, busy } = burst(new Array<number>(TASKS).fill(10_000), 1)
  expect(makespan).toBeLessThanOrEqual(1.05 * centralFifo(new Array<number>(TASKS).fill(10_000), HOSTS * SLOTS))
  expect(jain(busy)).toBeGreaterThanOrEqual(0.97)
  expect(Math.max(...busy) / (busy.reduce((a, b) => a + b, 0) / HOSTS)).toBeLessThanOrEqual(1.35)
})

test.each([1, 2, 3])('uneven durations of seed %i cost a twentieth more than one central queue at the most', seed => {
  const random = seeded(seed)
  const durations = Array.from({ length: TASKS }, () => 10_000 * logNormal(random))
  const { makespan, busy } = burst(durations, seed)
  expect(makespan).toBeLessThanOrEqual(1.05 * centralFifo(durations, HOSTS * SLOTS))
  expect(jain(busy)).toBeGreaterThanOrEqual(0.95)
})
