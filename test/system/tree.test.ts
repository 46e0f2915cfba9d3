import { describe, expect, test } from 'vitest'
import { until, untilOffered, useDaemons } from './daemons.ts'
import { pathsOf, serveTree } from './tree.ts'

const daemons = useDaemons('test')

describe('a tree of tasks that nobody could list in advance', () => {
  test('5,000 tasks on ten levels over five daemons: completed, all there, none twice, announced once', async () => {
    const all = await daemons.swarm(['alice', 'bob', 'carol', 'dave', 'erin'])
    const [alice] = all
    for (const daemon of all) await serveTree(await daemon.mesh(), 'grow', 4)
    await untilOffered(alice, 'grow', all)
    const tree = { size: 5_000, levels: 10 }
    const expected = pathsOf(tree)
    expect(expected).toHaveLength(5_000)
    expect(Math.max(...expected.map(path => path.split('.').length - 1))).toBe(10)

    const { id } = await alice.client.submit({ capability: 'grow', input: tree })
    const job = await alice.client.waitForJob(id, { timeoutMs: 60_000 })
    expect(job.verdict).toBe('completed')
    expect(job.tasks).toEqual({ total: 5_000, completed: 5_000, failed: 0, lost: 0, cancelled: 0 })

    const shown = await alice.cli(['job', id, '--json'])
    const items = (JSON.parse(shown.stdout) as { items: { id: string; outcome: string; peerId: string }[] }).items
    const paths = items.map(item => item.id.slice(id.length + 1))
    expect(new Set(paths).size).toBe(paths.length)
    expect(new Set(paths)).toEqual(new Set(expected))
    expect(items.every(({ outcome }) => outcome === 'completed')).toBe(true)
    expect(new Set(items.map(({ peerId }) => peerId)).size).toBeGreaterThanOrEqual(3)

    // Whoever reads all events of all daemons finds one announcement, at the daemon where the job was handed in.
    for (const daemon of all) {
      const kept = await daemon.cli(['events', '--json', '--since', '0'])
      const announced = kept.stdout.split('\n').filter(line => line.includes('starling.job.announced'))
      expect(announced, daemon.name).toHaveLength(daemon === alice ? 1 : 0)
      await until(`nothing runs at ${daemon.name}`, async () => (await daemon.client.agents()).length === 0)
    }
  }, 120_000)
})
