import { describe, expect, test } from 'vitest'
import { UNPLACEABLE_AFTER_MS } from '../../../src/core/placement/index.ts'
import { type ClusterOptions, NodeCluster } from '../../helpers/node-cluster.ts'
import { JOB } from '../../helpers/termination-fixtures.ts'
import { seeded } from '../../helpers/virtual-time.ts'

function clusterOf(options: Omit<ClusterOptions, 'random'>): NodeCluster {
  const cluster = new NodeCluster({ random: seeded(1), ...options })
  cluster.run(() => false, 1_100)
  return cluster
}

describe('a job', () => {
  test('records why its root task went where it went', () => {
    const cluster = clusterOf({
      hosts: 3,
      slots: host => (host === 0 ? 0 : 1),
      body: () => ({ durationMs: 5, children: [] })
    })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.announcements.length > 0, 10_000)
    const placement = cluster.announcements[0]?.state.placement
    const chosen = cluster.executions[0]?.peer
    expect(placement).toMatchObject({
      chosen,
      candidates: [{ eligible: false }, { eligible: true }, { eligible: true }]
    })
    expect(placement).toHaveProperty(
      'reason',
      expect.stringContaining('was the first with a free slot; asked beside it')
    )
  })

  const family = (depth: number) => (_input: unknown, path: string) => ({
    durationMs: 5,
    waits: true,
    children: path.split('.').length <= depth ? [1, 2, 3].map(input => ({ capability: 'work', input })) : []
  })

  test('a tree in which every parent waits for its children finishes on one slot', () => {
    const cluster = clusterOf({ hosts: 1, slots: 1, body: family(3) })
    cluster.submit(0, JOB, null)
    expect(cluster.run(() => cluster.announcements.length > 0, 60_000)).toBe(true)
    expect(cluster.announcements[0]).toMatchObject({ verdict: 'completed' })
    expect(cluster.executions).toHaveLength(1 + 3 + 9 + 27)
    expect(cluster.host(0).node.host.slots.free('work')).toBe(1)
  })

  test('one that is restricted to a peer runs there, though others are free and nearer', () => {
    const cluster = clusterOf({ hosts: 3, slots: 2, body: () => ({ durationMs: 5, children: [] }) })
    const there = cluster.host(2).peer
    cluster.submit(0, JOB, null, there)
    cluster.run(() => cluster.announcements.length > 0, 10_000)
    expect(cluster.executions.map(({ peer }) => peer)).toEqual([there])
  })

  test('one that nobody can do fails after UNPLACEABLE_AFTER_MS, and says why', () => {
    const cluster = clusterOf({ hosts: 2, slots: 0, body: () => ({ durationMs: 5, children: [] }) })
    cluster.submit(0, JOB, null)
    cluster.run(() => false, UNPLACEABLE_AFTER_MS - 1_000)
    expect(cluster.announcements).toEqual([])
    cluster.run(() => cluster.announcements.length > 0, 2_000)
    expect(cluster.announcements[0]).toMatchObject({ verdict: 'completed-with-failures' })
    expect(cluster.announcements[0]?.state.error?.code).toBe('NO_CAPABLE_PEER')
  })

  test('one that is submitted while nobody can do it begins when somebody can', () => {
    const cluster = clusterOf({ hosts: 2, slots: 0, body: () => ({ durationMs: 5, children: [] }) })
    cluster.submit(0, JOB, null)
    cluster.run(() => false, 30_000)
    cluster.input(1, bob => bob.offer('work', 1, cluster.now))
    cluster.run(() => cluster.announcements.length > 0, 5_000)
    expect(cluster.announcements[0]).toMatchObject({ verdict: 'completed' })
  })

  test('the end is detected within the time that the settles need', () => {
    const cluster = clusterOf({ hosts: 3, slots: 4, latencyMs: () => 5, body: family(2) })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.announcements.length > 0, 60_000)
    const detectionMs = cluster.announcements[0]?.detectionMs ?? Number.NaN
    // Three levels, five milliseconds each way; nothing is waited for.
    expect(detectionMs).toBeLessThanOrEqual(3 * 5)
    expect(detectionMs).toBeGreaterThanOrEqual(0)
  })

  test('work queued at a host that stops is done by others, without loss', () => {
    const cluster = clusterOf({
      hosts: 3,
      slots: 2,
      body: (_input, path) => ({
        durationMs: 400,
        children: path === '0' ? Array.from({ length: 20 }, (_, input) => ({ capability: 'work', input })) : []
      })
    })
    cluster.submit(0, JOB, null)
    cluster.run(() => false, 600)
    cluster.input(1, bob => bob.stop(cluster.now))
    cluster.run(() => cluster.announcements.length > 0, 60_000)
    expect(cluster.announcements[0]).toMatchObject({ verdict: 'completed' })
    expect(cluster.violations).toEqual([])
  })

  test('a host that is interrupted and leaves costs no task: what ran there is done elsewhere', () => {
    const cluster = clusterOf({
      hosts: 3,
      slots: 2,
      body: (_input, path) => ({
        durationMs: path === '0' ? 1 : 2_000,
        children: path === '0' ? Array.from({ length: 6 }, (_, input) => ({ capability: 'work', input })) : []
      })
    })
    cluster.submit(0, JOB, null)
    cluster.run(() => false, 1_000)
    expect(cluster.host(1).node.host.running).toBe(2)
    cluster.input(1, bob => bob.stop(cluster.now))
    cluster.input(1, bob => bob.moveAll('stop', cluster.now))
    cluster.run(() => cluster.host(1).node.host.idle, 1_000)
    cluster.input(1, bob => bob.leave(cluster.now))
    cluster.run(() => cluster.announcements.length > 0, 60_000)
    expect(cluster.announcements[0]).toMatchObject({ verdict: 'completed' })
    expect(cluster.violations).toEqual([])
  })

  test('two jobs of two daemons share the hosts evenly', () => {
    const jobs = ['joba', 'jobb'] as const
    const cluster = clusterOf({
      hosts: 4,
      slots: host => (host < 2 ? 0 : 2),
      body: (_input, path) => ({
        durationMs: path === '0' ? 1 : 500,
        children: path === '0' ? Array.from({ length: 20 }, (_, input) => ({ capability: 'work', input })) : []
      })
    })
    for (const [index, job] of jobs.entries()) cluster.submit(index, job, null)
    cluster.run(() => cluster.announcements.length === 2, 60_000)
    const [first, last] = cluster.announcements.map(({ at }) => at)
    // 40 tasks of 0.5 s on 4 slots take 5 s: served in turn, both end near the end.
    expect((last ?? 0) - (first ?? 0)).toBeLessThanOrEqual(1_000)
  })
})
