import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { startProgram, until, untilOffered, useDaemons, within } from './daemons.ts'

const WORKER = fileURLToPath(new URL('./worker-main.ts', import.meta.url))

const daemons = useDaemons('test')

test('tasks of a worker process that is killed are given back and done by another worker', async () => {
  const [alice, bob] = await daemons.swarm(['alice', 'bob'])
  const worker = startProgram([WORKER, alice.ready.socket, 'piece', '3'], {})
  try {
    await untilOffered(alice, 'piece', [alice])
    const mesh = await alice.mesh()
    await mesh.work('whole', async (_, context) => {
      for (let piece = 0; piece < 6; piece += 1) await context.spawn('piece', piece)
    })
    const { id } = await alice.client.submit({ capability: 'whole' })
    await until('three pieces run', () => worker.stdout().split('\n').filter(Boolean).length === 3)
    const started = worker.stdout().trim().split('\n')

    const other = await bob.mesh()
    const done: string[] = []
    await other.work<number>('piece', (task, { attempt }) => {
      done.push(task.taskId)
      return { input: task.input, attempt }
    })
    await until('the free pieces are done at bob', () => done.length === 3)
    expect((await alice.client.job(id)).verdict).toBe('running')
    worker.child.kill('SIGKILL')
    const job = await alice.client.waitForJob(id, { timeoutMs: 20_000 })
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 7, completed: 7, failed: 0, lost: 0 } })
    const { items = [] } = await alice.client.job(id, { items: true })
    for (const item of items.filter(({ capability }) => capability === 'piece')) {
      expect(item.peerId).toBe(bob.ready.peerId)
      expect(item.attempt).toBe(started.includes(item.id) ? 2 : 1)
    }
    expect(new Set(done).size).toBe(6)
  } finally {
    worker.child.kill('SIGKILL')
    await within('the worker is gone', 5_000, worker.ended)
  }
}, 60_000)
