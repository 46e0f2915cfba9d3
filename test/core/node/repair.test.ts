import { describe, expect, test } from 'vitest'
import type { Frame } from '../../../src/core/frames.ts'
import {
  ABANDONED_AFTER_MS,
  LEASE_EXPIRY_MS,
  LEASE_MS,
  RESEND_INTERVAL_MS,
  UNPLACEABLE_AFTER_MS
} from '../../../src/core/index.ts'
import { type Body, NodeCluster, seeded } from '../../helpers/node-cluster.ts'

/*
 * What whole daemons do to bring a job to its end when hosts cannot see each other, leave, sleep or are gone for ever.
 */

const JOB = 'repairjob'

interface Scene {
  readonly hosts?: number
  readonly slots?: (host: number) => number
  readonly children?: number
  readonly rootMs?: number
  readonly childMs?: number
}

/** Host 0 submits and has no slots unless said otherwise. */
function scene({ hosts = 3, slots = host => (host === 0 ? 0 : 2), children = 2, rootMs = 10, childMs = 1_000 }: Scene) {
  const body = (_input: unknown, path: string): Body => ({
    durationMs: path === '0' ? rootMs : childMs,
    children: path === '0' ? Array.from({ length: children }, (_, input) => ({ capability: 'work', input })) : []
  })
  const cluster = new NodeCluster({ hosts, slots, random: seeded(5), body })
  cluster.run(() => false, 3_000)
  return cluster
}

function finish(cluster: NodeCluster, forMs = 60_000) {
  expect(
    cluster.run(() => cluster.announcements.length > 0, forMs),
    'announced'
  ).toBe(true)
  expect(cluster.violations).toEqual([])
  return cluster.announcements[0]
}

const hostOf = (cluster: NodeCluster, path: string) =>
  cluster.hosts.findIndex(({ peer }) => peer === cluster.executions.findLast(each => each.path === path)?.peer)

function sentOf(cluster: NodeCluster): Frame[] {
  const frames: Frame[] = []
  cluster.watcher = { frame: (_from, _to, frame) => void frames.push(frame) }
  return frames
}

describe('two hosts without a link between them', () => {
  test('settle by way of the root, and no work is done twice', () => {
    const cluster = scene({ slots: host => (host === 0 ? 0 : 1), children: 1 })
    const frames = sentOf(cluster)
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 2, 1_000)
    const [owner, host] = [hostOf(cluster, '0'), hostOf(cluster, '0.0')]
    cluster.cut(owner, host)
    expect(finish(cluster, 3_000)).toMatchObject({ verdict: 'completed' })
    expect(cluster.executions).toHaveLength(2)
    const relayed = frames.filter(frame => frame.kind === 'relay').map(({ frame }) => frame.kind)
    expect(new Set(relayed)).toEqual(new Set(['settle', 'settled']))
  })

  test('cancel by way of the root', () => {
    const cluster = scene({ slots: host => (host === 0 ? 0 : 1), children: 1, childMs: 3_600_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 2, 1_000)
    cluster.cut(hostOf(cluster, '0'), hostOf(cluster, '0.0'))
    cluster.cancel(0, JOB)
    expect(finish(cluster, 1_000)).toMatchObject({ verdict: 'cancelled' })
  })

  test('hand over by way of the root what was on its way when their link broke', () => {
    const cluster = scene({ slots: host => (host === 0 ? 0 : 1), children: 1 })
    cluster.submit(0, JOB, null)
    cluster.watcher = {
      frame: (from, to, frame) => {
        if (frame.kind !== 'handoff' || frame.task.path !== '0.0') return
        cluster.watcher = {}
        const index = (peer: string) => cluster.hosts.findIndex(host => host.peer === peer)
        cluster.cut(index(from), index(to))
      }
    }
    expect(finish(cluster, 2 * RESEND_INTERVAL_MS)).toMatchObject({ verdict: 'completed' })
    expect(cluster.executions.map(({ path }) => path)).toEqual(['0', '0.0'])
  })

  test('are not believed when anybody else but the root speaks for them', () => {
    const cluster = scene({ children: 0, rootMs: 3_600_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 1, 1_000)
    const host = hostOf(cluster, '0')
    const stranger = cluster.host(host === 1 ? 2 : 1).peer
    const [root, runs] = [cluster.host(0), cluster.host(host)]
    const tree = runs.node.host.participant(JOB)?.peek()
    const cancel = {
      kind: 'cancel',
      job: JOB,
      obligation: tree?.vertices()[0]?.id ?? '',
      toEngagement: tree?.engagement ?? 0,
      ownerEngagement: 0
    } as const
    const relay = { kind: 'relay', job: JOB, from: root.peer, to: runs.peer, frame: cancel } as const
    cluster.input(host, node => node.frame(stranger, relay, cluster.now))
    expect(tree?.vertices()[0]?.state).toBe('running')
    cluster.input(host, node => node.frame(root.peer, relay, cluster.now))
    expect(tree?.vertices()[0]?.state).toBe('cancelling')
    const pretend = { ...relay, to: runs.peer, from: root.peer }
    const frames = sentOf(cluster)
    cluster.input(0, node => node.frame(stranger, pretend, cluster.now))
    cluster.run(() => false, 5)
    expect(frames.filter(({ kind }) => kind === 'relay')).toMatchObject([{ from: stranger }])
  })
})

describe('a host that drains', () => {
  test('takes nothing new, lets its tasks end, and says when it is empty', () => {
    const cluster = scene({ children: 6, childMs: 2_000, slots: () => 2 })
    cluster.submit(0, JOB, null)
    cluster.run(() => false, 200)
    const bob = () => cluster.host(1).node
    const running = bob().host.running
    expect(running).toBeGreaterThan(0)
    cluster.input(1, node => node.drain(Number.POSITIVE_INFINITY, cluster.now))
    expect(bob().advertisement()).toMatchObject({
      drain: 'draining',
      capabilities: [{ name: 'work', slots: 2, free: 0 }],
      running
    })
    finish(cluster)
    cluster.run(() => false, 50)
    expect(bob().advertisement()).toMatchObject({ drain: 'drained', running: 0 })
    cluster.submit(0, 'nextjob', null)
    cluster.run(() => cluster.announcements.length === 2, 20_000)
    expect(cluster.executions.filter(({ job, peer }) => job === 'nextjob' && peer === bob().view.self)).toEqual([])
  })

  test('moves what has not ended by its deadline, once, and every task counts once', () => {
    const cluster = scene({ children: 4, childMs: 30_000, slots: () => 3 })
    cluster.submit(0, JOB, null)
    cluster.run(() => false, 500)
    const moved = cluster.host(1).node.host.running
    expect(moved).toBeGreaterThan(0)
    cluster.input(1, node => node.drain(2_000, cluster.now))
    cluster.run(() => cluster.host(1).node.advertisement().drain === 'drained', 5_000)
    expect(cluster.host(1).node.advertisement().drain).toBe('drained')
    const end = finish(cluster, 120_000)
    expect(end).toMatchObject({ verdict: 'completed' })
    expect(new Set(end?.records.map(({ path }) => path)).size).toBe(5)
    expect(end?.records.some(({ peer }) => peer === cluster.host(1).peer && peer !== cluster.host(0).peer)).toBe(false)
  })

  test('takes work again when it is told so, with the slots that were wanted meanwhile', () => {
    const cluster = scene({})
    cluster.input(1, node => node.drain(1_000, cluster.now))
    cluster.input(1, node => node.offer('work', 5, cluster.now))
    expect(cluster.host(1).node.advertisement().capabilities).toMatchObject([{ slots: 5, free: 0 }])
    cluster.input(1, node => node.endDrain(cluster.now))
    expect(cluster.host(1).node.advertisement()).toMatchObject({
      drain: 'no',
      capabilities: [{ name: 'work', slots: 5, free: 5 }]
    })
  })

  test('and is stopped is not opened again by an order to end the draining', () => {
    const cluster = scene({})
    cluster.input(1, node => node.drain(1_000, cluster.now))
    cluster.input(1, node => node.stop(cluster.now))
    cluster.input(1, node => node.endDrain(cluster.now))
    expect(cluster.host(1).node.advertisement()).toMatchObject({ drain: 'drained', capabilities: [{ free: 0 }] })
  })

  test('as the only one that can do a task keeps it waiting, and does it when it takes work again', () => {
    const cluster = scene({ slots: host => (host === 1 ? 1 : 0), children: 2, childMs: 100, rootMs: 3_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 1, 1_000)
    cluster.input(1, node => node.drain(Number.POSITIVE_INFINITY, cluster.now))
    expect(cluster.host(0).node.knownCapabilities()).toEqual(new Set(['work']))
    cluster.run(() => false, 3 * UNPLACEABLE_AFTER_MS)
    expect(cluster.announcements).toEqual([])
    cluster.input(1, node => node.endDrain(cluster.now))
    expect(finish(cluster)).toMatchObject({ verdict: 'completed' })
  })
})

describe('a host that stops', () => {
  test('gives back what waits for children elsewhere too: the tree is done again, and nothing is lost', () => {
    const cluster = scene({ slots: host => (host === 0 ? 0 : 1), children: 1, childMs: 5_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 2, 1_000)
    cluster.run(() => false, 100)
    const owner = hostOf(cluster, '0')
    expect(cluster.host(owner).node.host.idle).toBe(false)
    cluster.input(owner, node => node.stop(cluster.now))
    cluster.input(owner, node => node.moveAll('stop', cluster.now))
    cluster.run(() => cluster.host(owner).node.host.idle, 500)
    expect(cluster.host(owner).node.host.idle).toBe(true)
    const end = finish(cluster)
    expect(end).toMatchObject({ verdict: 'completed' })
    expect(end?.records).toHaveLength(2)
  })
})

describe('a machine that slept', () => {
  test('begins nothing and ends everything under the leases from before, whatever its clock says', () => {
    const cluster = scene({ children: 0, rootMs: 60_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 1, 1_000)
    const host = hostOf(cluster, '0')
    const kills: unknown[] = []
    cluster.watcher = { effect: (_peer, effect) => effect.kind === 'kill' && kills.push(effect) }
    cluster.input(host, node => node.slept(cluster.now))
    expect(kills).toMatchObject([{ kind: 'kill', hard: true }])
    cluster.watcher = {}
    expect(finish(cluster, 120_000)).toMatchObject({ verdict: 'completed' })
    expect(cluster.executions.map(({ attempt }) => attempt)).toEqual([1, 2])
  })
})

describe('a root that is gone for ever', () => {
  test('ends all work for its job within a lease, and is given up after a while, which is said once', () => {
    const cluster = scene({ children: 4, childMs: 3_600_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 5, 1_000)
    const abandoned: string[] = []
    cluster.watcher = { effect: (peer, { kind }) => kind === 'abandoned' && abandoned.push(peer) }
    cluster.kill(0)
    cluster.run(() => cluster.executing.size === 0, LEASE_EXPIRY_MS)
    expect(cluster.executing.size, 'still executing').toBe(0)
    cluster.run(() => false, 2 * ABANDONED_AFTER_MS)
    expect(abandoned.sort()).toEqual([cluster.host(1).peer, cluster.host(2).peer])
    const frames = sentOf(cluster)
    cluster.run(() => false, 30_000)
    expect(frames.filter(({ kind }) => kind === 'engage')).toEqual([])
  })

  test('that comes back after all finds its hosts willing, and the job is done', () => {
    const cluster = scene({ children: 2, childMs: 2_000 })
    cluster.submit(0, JOB, null)
    cluster.run(() => cluster.executions.length === 3, 1_000)
    cluster.kill(0)
    cluster.run(() => false, LEASE_MS + 2 * ABANDONED_AFTER_MS)
    cluster.restart(0)
    expect(finish(cluster)).toMatchObject({ verdict: 'completed' })
  })
})
