import { expect, test } from 'vitest'
import { processesWith, sleepers, type TestDaemon, uniqueSeconds, until, untilOffered, useDaemons } from './daemons.ts'

const daemons = useDaemons('test')

/** Agents of all daemons, asked at the same time. */
async function agentsOf(all: readonly TestDaemon[]) {
  return (await Promise.all(all.map(({ client }) => client.agents()))).flat()
}

test('a tree that is cancelled counts as cancelled only when nothing of it runs anywhere', async () => {
  const seconds = uniqueSeconds()
  // It takes its time to die, so that an early verdict would be seen.
  const script = `trap 'sleep 0.3; exit 1' TERM; sleep ${seconds} & wait`
  const settings = { capabilities: { leaf: { command: ['sh', '-c', script], slots: 3 } } }
  const all = await daemons.swarm(['alice', 'bob', 'carol'], () => settings)
  const [alice] = all
  for (const daemon of all) {
    const mesh = await daemon.mesh()
    const branch = async (
      task: { input: number },
      context: { spawn(name: string, input?: unknown): Promise<unknown> }
    ) => {
      for (let child = 0; child < 3; child += 1) {
        await context.spawn(task.input > 1 ? 'branch' : 'leaf', task.input - 1)
      }
    }
    await mesh.work<number>('branch', branch, { slots: 4 })
  }
  await untilOffered(alice, 'branch', all)
  await untilOffered(alice, 'leaf', all)
  const { id } = await alice.client.submit({ capability: 'branch', input: 3 })
  await until('nine leaves run, on all three', () => sleepers(seconds) === 9)

  const cancel = await alice.cli(['cancel', id])
  expect(cancel.code).toBe(0)
  const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
  // Looked at before anything else happens.
  const survivors = processesWith(seconds)
  const agents = await agentsOf(all)
  expect(job.verdict).toBe('cancelled')
  expect(survivors).toEqual([])
  expect(agents).toEqual([])
  expect(job.tasks.total).toBe(1 + 3 + 9 + 27)
  expect(job.tasks.completed + job.tasks.cancelled).toBe(job.tasks.total)

  const wait = await alice.cli(['wait', id])
  expect(wait.code).toBe(4)
  expect((await alice.cli(['cancel', id])).code).toBe(0)
  const { stdout } = await alice.cli(['events', '--json', '--since', '0'])
  expect(stdout.split('\n').filter(line => line.includes('starling.job.announced'))).toHaveLength(1)
}, 90_000)
