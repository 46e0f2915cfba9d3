import { expect, test } from 'vitest'
import { LEASE_EXPIRY_MS } from '../../../src/core/termination/index.ts'
import { type Body, NodeCluster, REDELIVERY_MS } from '../../helpers/node-cluster.ts'
import { heavyTailed, seeded } from '../../helpers/virtual-time.ts'

/*
 * Whole nodes (membership, placement, slots, leases and the codec) under faults. `termination/chaos.test.ts` searches
 * deeper with less; this one is about what the parts do to each other.
 */

const FIRST = Number(process.env.STARLING_CHAOS_SEED ?? 1)
const RUNS = Number(process.env.STARLING_CHAOS_RUNS ?? 120)
const HOSTS = 4
const SLOTS = 3
const FAULTS = 5
const JOB = 'chaosjob'

interface Run {
  readonly seed: number
  readonly faults: readonly string[]
  readonly problems: readonly string[]
  readonly verdict: string
}

function schedule(seed: number): Run {
  const random = seeded(seed)
  const body = (input: unknown): Body => {
    const depth = typeof input === 'number' ? input : 0
    const children = depth === 0 ? 0 : 1 + Math.floor(random() * 3)
    return {
      durationMs: heavyTailed(random, 60, 12_000),
      waits: random() < 0.3,
      fails: random() < 0.03,
      children: Array.from({ length: children }, () => ({ capability: 'work', input: depth - 1 }))
    }
  }
  const redelivery = random() < 0.5 ? 0.1 : 0
  const cluster = new NodeCluster({
    hosts: HOSTS,
    slots: SLOTS,
    random,
    body,
    redelivery,
    latencyMs: () => 0.5 + random() * 10,
    reapMs: () => random() * 800
  })
  cluster.run(() => false, 1_200)
  cluster.submit(0, JOB, 3)
  const over = () => cluster.announcements.length > 0
  const faults: string[] = []
  for (let fault = 0; fault < FAULTS && !over(); fault += 1) {
    cluster.run(over, heavyTailed(random, 150, 3_000))
    if (!over()) faults.push(inject(cluster, random))
  }
  cluster.run(over, 120_000)
  cluster.run(() => false, REDELIVERY_MS + 2_000)
  return { seed, faults, problems: problemsOf(cluster), verdict: cluster.announcements[0]?.verdict ?? 'none' }
}

function inject(cluster: NodeCluster, random: () => number): string {
  const a = Math.floor(random() * HOSTS)
  const b = (a + 1 + Math.floor(random() * (HOSTS - 1))) % HOSTS
  const forMs = random() < 0.5 ? random() * 2_000 : LEASE_EXPIRY_MS * (0.7 + random())
  const dice = random()
  if (dice < 0.4) {
    if (!cluster.host(a).alive) return 'none'
    cluster.kill(a)
    cluster.time.later(forMs, () => cluster.restart(a))
    return a === 0 ? 'kill root' : 'kill'
  }
  if (dice < 0.8) {
    cluster.cut(a, b)
    cluster.time.later(forMs, () => cluster.heal(a, b))
    return 'cut'
  }
  if (dice < 0.9) {
    // One host against all others, the most common partition there is.
    for (let other = 0; other < HOSTS; other += 1) {
      if (other === a) continue
      cluster.cut(a, other)
      cluster.time.later(forMs, () => cluster.heal(a, other))
    }
    return 'isolate'
  }
  cluster.cancel(0, JOB)
  return 'cancel'
}

function problemsOf(cluster: NodeCluster): string[] {
  const problems = [...cluster.violations]
  const [announced] = cluster.announcements
  if (announced === undefined) return [...problems, 'never announced']
  if (cluster.executing.size > 0) problems.push('bodies execute for ever')
  const paths = announced.records.map(({ path }) => path)
  if (new Set(paths).size !== paths.length) problems.push('a task is recorded twice')
  const lost = announced.records.filter(({ outcome }) => outcome === 'lost')
  if (lost.length > 0 && announced.verdict !== 'incomplete' && announced.verdict !== 'cancelled')
    problems.push('hidden loss')
  for (const [index, { node, alive }] of cluster.hosts.entries()) {
    if (!alive) continue
    const { slots } = node.host
    if (slots.free('work') !== SLOTS) problems.push(`host ${index} has ${slots.free('work')} of ${SLOTS} slots free`)
    if (node.host.participants().length > 0) problems.push(`host ${index} still takes part`)
    if (node.waitingFor(JOB) > 0) problems.push(`host ${index} still looks for hosts`)
  }
  return problems
}

test(`whole nodes: announced once, honestly, and every slot is free again afterwards (${RUNS} schedules)`, () => {
  const verdicts: Record<string, number> = {}
  const faults: Record<string, number> = {}
  const bad: Run[] = []
  for (let seed = FIRST; seed < FIRST + RUNS; seed += 1) {
    const run = schedule(seed)
    verdicts[run.verdict] = (verdicts[run.verdict] ?? 0) + 1
    for (const fault of run.faults) faults[fault] = (faults[fault] ?? 0) + 1
    if (run.problems.length > 0) bad.push(run)
  }
  console.log({ schedules: RUNS, bad: bad.length, faults, verdicts })
  expect(bad.slice(0, 5)).toEqual([])
  if (RUNS < 100) return
  for (const fault of ['kill', 'kill root', 'cut', 'isolate', 'cancel'])
    expect(faults[fault] ?? 0, fault).toBeGreaterThan(10)
  expect(verdicts.completed ?? 0).toBeGreaterThan(10)
  expect(verdicts.incomplete ?? 0).toBeLessThan(5)
}, 600_000)
