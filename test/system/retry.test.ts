import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Job } from '../../src/sdk/index.ts'
import { processesWith, sleepers, uniqueSeconds, until, untilOffered, useDaemons } from './daemons.ts'

/** Processes of a cancelled task are gone after the kill ladder of the runtimes. */
const KILLED_WAIT_MS = 8_000

const daemons = useDaemons('test')

/** A command that fails until its third run; each run leaves its time and its fencing token in `trace`. */
function flaky(): { command: string[]; runs: () => { atMs: number; token: string }[] } {
  const directory = daemons.directory()
  const trace = join(directory, 'trace')
  const script = `echo "$(date +%s%3N) $STARLING_FENCING_TOKEN" >> ${trace}
    if [ "$(wc -l < ${trace})" -ge 3 ]; then echo '"third time"'; else echo "not yet" >&2; exit 7; fi`
  const runs = () => {
    if (!existsSync(trace)) return []
    const lines = readFileSync(trace, 'utf8').trimEnd().split('\n')
    return lines.map(line => ({ atMs: Number(line.split(' ')[0]), token: line.split(' ')[1] ?? '' }))
  }
  return { command: ['sh', '-c', script], runs }
}

describe('a task that fails', () => {
  test('is tried again after a wait that doubles, and its third attempt is the one that counts', async () => {
    const { command, runs } = flaky()
    const [alice, bob] = await daemons.swarm(['alice', 'bob'], name =>
      name === 'bob' ? { capabilities: { flaky: { command, slots: 1 } } } : {}
    )
    await untilOffered(alice, 'flaky', [bob])
    const run = await alice.cli(['run', 'flaky', '--retry', '3', '--backoff', '400ms', '--json'])
    expect(run).toMatchObject({ code: 0 })
    const job = JSON.parse(run.stdout) as Job
    expect(job).toMatchObject({
      verdict: 'completed',
      result: 'third time',
      tasks: { total: 1, completed: 1, failed: 0, lost: 0 }
    })
    const [first, second, third] = runs()
    expect(runs()).toHaveLength(3)
    expect(runs().map(({ token }) => token)).toEqual(['1', '2', '3'])
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(400)
    expect((third?.atMs ?? 0) - (second?.atMs ?? 0)).toBeGreaterThanOrEqual(800)
    const { items } = await alice.client.job(job.id, { items: true })
    expect(items).toMatchObject([{ id: `${job.id}.0`, attempt: 3, outcome: 'completed' }])
    expect((await alice.cli(['job', job.id])).stdout).toMatch(/^again +1 task took more than one attempt$/m)
  }, 60_000)

  test('has failed when its attempts are used up: exit 4, with the error of the last one', async () => {
    const { command, runs } = flaky()
    const alice = await daemons.start('alice', { capabilities: { flaky: { command, slots: 1 } } })
    const run = await alice.cli(['run', 'flaky', '--retry', '2', '--backoff', '10ms', '--json'])
    expect(run.code).toBe(4)
    expect(JSON.parse(run.stdout)).toMatchObject({
      verdict: 'completed-with-failures',
      error: { code: 'TASK_FAILED', message: expect.stringContaining('not yet') },
      tasks: { total: 1, failed: 1 }
    })
    expect(runs()).toHaveLength(2)
  }, 60_000)

  test('as a child is tried again by the task that has spawned it, which gets the result of the last attempt', async () => {
    const alice = await daemons.start('alice')
    const mesh = await alice.mesh()
    const tokens: string[] = []
    await mesh.work('child', (_, context) => {
      tokens.push(context.fencingToken)
      if (context.attempt < 3) throw new Error('not yet')
      return context.attempt
    })
    await mesh.work('parent', async (_, context) => {
      const child = await context.spawn('child', null, { retry: { attempts: 3, backoffMs: 10 } })
      return child.result()
    })
    const job = await (await mesh.submit('parent')).completion()
    expect(job).toMatchObject({ verdict: 'completed', result: 3, tasks: { total: 2, completed: 2, failed: 0 } })
    expect(tokens).toEqual(['1.1', '1.2', '1.3'])
  }, 60_000)

  test('with children that have ended has them once more: each task counts once', async () => {
    const alice = await daemons.start('alice')
    const mesh = await alice.mesh()
    let children = 0
    await mesh.work('child', () => {
      children += 1
    })
    await mesh.work('parent', async (_, context) => {
      await (await context.spawn('child')).result()
      await context.spawn('child')
      if (context.attempt < 2) throw new Error('not yet')
    })
    const job = await mesh.submit('parent', null, { retry: { attempts: 2, backoffMs: 10 } })
    const over = await job.completion()
    expect(over).toMatchObject({ verdict: 'completed', tasks: { total: 3, completed: 3, failed: 0 } })
    expect(children).toBe(4)
    const { items = [] } = await alice.client.job(job.id, { items: true })
    expect(items.map(({ id }) => id)).toEqual([`${job.id}.0`, `${job.id}.0.0`, `${job.id}.0.1`])
  }, 60_000)
})

describe('a deadline', () => {
  test('ends a job with all its processes, on every host: exit 4, DEADLINE_EXCEEDED', async () => {
    const seconds = uniqueSeconds()
    const script = `trap '' TERM; sleep ${seconds} & setsid sleep ${seconds} & wait; sleep ${seconds}`
    const [alice, bob] = await daemons.swarm(['alice', 'bob'], name =>
      name === 'bob' ? { capabilities: { family: { command: ['sh', '-c', script], slots: 2 } } } : {}
    )
    await untilOffered(alice, 'family', [bob])
    const mesh = await alice.mesh()
    let aborted = false
    await mesh.work('both', async (_, context) => {
      context.signal.addEventListener('abort', () => {
        aborted = true
      })
      await context.spawn('family')
      await (await context.spawn('family')).result()
    })
    const run = alice.start(['run', 'both', '--deadline', '4s', '--retry', '5', '--json'])
    await until('two families live', () => sleepers(seconds) === 4)
    const { code, stdout } = await run.ended
    expect(processesWith(seconds)).toEqual([])
    expect(code).toBe(4)
    const job = JSON.parse(stdout) as Job
    expect(job).toMatchObject({
      verdict: 'completed-with-failures',
      error: { code: 'DEADLINE_EXCEEDED' },
      tasks: { total: 3, completed: 0, lost: 0 }
    })
    expect(job.timings.announcedAt).not.toBeNull()
    const tookMs = Date.parse(job.timings.announcedAt ?? '') - Date.parse(job.timings.submittedAt)
    expect(tookMs).toBeGreaterThanOrEqual(4_000)
    expect(tookMs).toBeLessThan(4_000 + KILLED_WAIT_MS)
    expect(aborted).toBe(true)
  }, 60_000)

  test('of a child fails only the child', async () => {
    const alice = await daemons.start('alice')
    const mesh = await alice.mesh()
    await mesh.work('endless', (_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', reject)))
    await mesh.work('parent', async (_, context) => {
      const child = await context.spawn('endless', null, { deadlineMs: 300 })
      return child.result().then(
        () => 'no',
        (error: { code: string }) => error.code
      )
    })
    const job = await (await mesh.submit('parent')).completion()
    expect(job).toMatchObject({ verdict: 'completed-with-failures', result: 'DEADLINE_EXCEEDED', tasks: { failed: 1 } })
  }, 60_000)

  test('that is not reached changes nothing', async () => {
    const alice = await daemons.start('alice')
    const mesh = await alice.mesh()
    await mesh.work('quick', () => 'done')
    const job = await (await mesh.submit('quick', null, { deadlineMs: 60_000 })).completion()
    expect(job).toMatchObject({ verdict: 'completed', result: 'done' })
  }, 60_000)
})
