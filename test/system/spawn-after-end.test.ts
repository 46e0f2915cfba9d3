import { beforeAll, describe, expect, test } from 'vitest'
import type { WorkerContext } from '../../src/sdk/index.ts'
import { type TestDaemon, until, untilOffered, useDaemons } from './daemons.ts'

const daemons = useDaemons('file')
let alice: TestDaemon

beforeAll(async () => {
  const command = ['sh', '-c', 'printf \'{"task":"%s","attempt":"%s"}\' "$STARLING_TASK" "$STARLING_ATTEMPT"']
  alice = await daemons.start('alice', { capabilities: { whoami: { command }, other: { command: ['true'] } } })
}, 60_000)

/** Number of tasks of a job that is over. */
async function tasksOf(id: string): Promise<number> {
  return (await alice.client.job(id, { items: true })).items?.length ?? 0
}

describe('a task whose body has ended', () => {
  test('cannot spawn through the SDK any more', async () => {
    const mesh = await alice.mesh()
    let kept: WorkerContext | undefined
    await mesh.work('keeper', (_, context) => {
      kept = context
    })
    const job = await (await mesh.submit('keeper')).completion()
    expect(job.verdict).toBe('completed')
    await expect(kept?.spawn('other')).rejects.toMatchObject({ code: 'TASK_ENDED', hint: expect.any(String) })
    expect(await tasksOf(job.id)).toBe(1)
  })

  test('cannot spawn through the command line any more: exit 9, in clear words', async () => {
    const run = await alice.cli(['run', 'whoami', '--json'])
    expect(run.code).toBe(0)
    const { id, result } = JSON.parse(run.stdout) as { id: string; result: { task: string; attempt: string } }
    const env = { STARLING_TASK: result.task, STARLING_ATTEMPT: result.attempt }
    const late = await alice.cli(['spawn', 'other', '--json'], { env })
    expect(late.code).toBe(9)
    expect(JSON.parse(late.stdout)).toMatchObject({ kind: 'Problem', code: 'TASK_ENDED', status: 409 })
    const plain = await alice.cli(['spawn', 'other'], { env })
    expect(plain.code).toBe(9)
    expect(plain.stderr).toContain(`task ${result.task} has ended`)
    expect(plain.stderr).toContain('hint: ')
    expect(await tasksOf(id)).toBe(1)
  })

  test('cannot spawn while children of it still run', async () => {
    const mesh = await alice.mesh()
    let release = () => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    await mesh.work('held', () => held)
    await mesh.work('parent', async (_, context) => {
      await context.spawn('held')
    })
    const job = await mesh.submit('parent')
    const root = `${job.id}.0`
    await until('only the child runs', async () => {
      const tasks = (await alice.client.agents()).map(({ taskId }) => taskId)
      return tasks.includes(`${root}.0`) && !tasks.includes(root)
    })
    await expect(alice.client.spawn(root, { capability: 'other' })).rejects.toMatchObject({ code: 'TASK_ENDED' })
    release()
    expect(await job.completion()).toMatchObject({ verdict: 'completed', tasks: { total: 2 } })
  })
})

test('an attempt that was given to another worker cannot spawn under its old number', async () => {
  const first = await alice.mesh()
  const started: number[] = []
  let release = () => {}
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  const handler = async (_: unknown, { attempt }: WorkerContext) => {
    started.push(attempt)
    await held
  }
  await first.work('twice', handler, { slots: 1 })
  const { id } = await alice.client.submit({ capability: 'twice' })
  await until('the first attempt runs', () => started.length === 1)
  const second = await alice.mesh()
  await second.work('twice', handler, { slots: 1 })
  await untilOffered(alice, 'twice', [alice])
  await first.close()
  await until('the second attempt runs', () => started.length === 2)
  expect(started).toEqual([1, 2])

  const env = { STARLING_TASK: `${id}.0`, STARLING_ATTEMPT: '1' }
  const stale = await alice.cli(['spawn', 'other'], { env })
  expect(stale.code).toBe(9)
  expect(stale.stderr).toContain('attempt 1 of task')
  const current = await alice.cli(['spawn', 'other'], { env: { ...env, STARLING_ATTEMPT: '2' } })
  expect(current.code).toBe(0)
  release()
  const job = await alice.client.waitForJob(id, { timeoutMs: 10_000 })
  expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 2 } })
})
