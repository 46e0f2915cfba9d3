import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Event, Job, Placement } from '../../src/sdk/index.ts'
import { type TestDaemon, until, untilOffered, useDaemons, within } from './daemons.ts'

const daemons = useDaemons('file')
let alice: TestDaemon
let bob: TestDaemon

beforeAll(async () => {
  const slow = ['sh', '-c', 'for n in 1 2 3; do echo "line $n" >&2; until [ -e "$0/$n" ]; do sleep 0.02; done; done']
  const capabilities = { greet: { command: ['sh', '-c', 'echo hello >&2; echo \'"hello"\''] } }
  ;[alice, bob] = await daemons.swarm(['alice', 'bob'], name => ({
    capabilities: name === 'alice' ? { ...capabilities, gated: { command: [...slow, '{input}'] } } : capabilities
  }))
  await untilOffered(alice, 'greet', [alice, bob])
}, 60_000)

/** Events of a `starling events --json` run, or of a stream that was cut in the middle. */
function eventsOf(stdout: string): Event[] {
  const whole = stdout.slice(0, stdout.lastIndexOf('\n') + 1)
  return whole.split('\n').flatMap(line => (line === '' ? [] : [JSON.parse(line) as Event]))
}

describe('logs', () => {
  test('of a running task are followed line by line until it ends; afterwards they are still there', async () => {
    const gate = daemons.directory()
    const { id } = await alice.client.submit({ capability: 'gated', input: gate })
    const task = `${id}.0`
    await until('the task runs', async () => (await alice.client.agents()).some(({ taskId }) => taskId === task))
    const follow = alice.start(['logs', task, '-f'])
    for (const line of [1, 2, 3]) {
      await until(`line ${line} is shown`, () => follow.stdout().includes(`line ${line}\n`))
      expect(follow.stdout()).not.toContain(`line ${line + 1}`)
      writeFileSync(join(gate, String(line)), '')
    }
    const { code, stdout } = await within('the following ends with the task', 10_000, follow.ended)
    expect(code).toBe(0)
    expect(stdout).toBe('line 1\nline 2\nline 3\n')
    const kept = await alice.cli(['logs', task, '--json'])
    expect(
      kept.stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line))
    ).toEqual([1, 2, 3].map(line => expect.objectContaining({ kind: 'LogLine', taskId: task, line: `line ${line}` })))
  })

  test('of a task that never was are refused', async () => {
    const { code, stderr } = await alice.cli(['logs', 'nothing-like-it'])
    expect(code).toBe(2)
    expect(stderr).toContain('hint: ')
  })
})

describe('events', () => {
  test('grow by one, and a reader that comes back gets exactly what it has missed', async () => {
    const { id } = await alice.client.submit({ capability: 'greet', on: 'alice' })
    await alice.client.waitForJob(id)
    const all = eventsOf((await alice.cli(['events', '--json', '--since', '0'])).stdout)
    const ids = all.map(event => Number(event.id))
    expect(ids).toEqual(ids.map((_, index) => index + 1))
    expect(new Set(all.map(({ source }) => source)).size).toBe(1)
    const ofJob = all.filter(({ subject }) => subject?.startsWith(id)).map(({ type }) => type)
    expect(ofJob).toEqual(['starling.job.submitted', 'starling.task.started', 'starling.job.announced'])

    const middle = Math.floor(all.length / 2)
    const rest = eventsOf((await alice.cli(['events', '--json', '--since', String(middle)])).stdout)
    expect(rest.slice(0, all.length - middle)).toEqual(all.slice(middle))
  })

  test('are followed live from where Last-Event-ID says, without a gap and without a double', async () => {
    const before = eventsOf((await alice.cli(['events', '--json', '--since', '0'])).stdout)
    const last = before.at(-1)?.id ?? '0'
    const stop = new AbortController()
    const seen: Event[] = []
    const reader = (async () => {
      for await (const event of alice.client.events({ sinceId: last, signal: stop.signal })) seen.push(event)
    })()
    const ids: (string | undefined)[] = []
    for (let job = 0; job < 3; job += 1) ids.push((await alice.client.submit({ capability: 'greet', input: job })).id)
    const ends = () => seen.filter(({ type }) => type === 'starling.job.announced').map(({ subject }) => subject)
    await until('three ends are seen', () => ids.every(id => ends().includes(id)))
    // Whoever has heard of an end finds the job in the list, at every moment.
    expect((await alice.client.jobs()).map(({ id }) => id)).toEqual(expect.arrayContaining(ids))
    stop.abort()
    await reader
    expect(seen.map(event => Number(event.id))).toEqual(seen.map((_, index) => Number(last) + 1 + index))
  })
})

describe('placement', () => {
  test('is explained before: who would get it, and what spoke for and against each', async () => {
    const before = (await alice.client.jobs()).length
    const plan = await alice.cli(['run', 'greet', '--dry-run', '--json'])
    expect(plan.code).toBe(0)
    const placement = JSON.parse(plan.stdout) as Placement
    expect(placement.chosen).toBe(alice.ready.peerId)
    expect(placement.candidates.map(({ name, eligible }) => ({ name, eligible }))).toEqual([
      { name: 'alice', eligible: true },
      { name: 'bob', eligible: true }
    ])
    const shown = await alice.cli(['run', 'gated', 'x', '--dry-run'])
    expect(shown.stdout).toMatch(/bob\s+no\s+unknown\s.*it does not offer the capability/)
    expect(await alice.client.jobs()).toHaveLength(before)
  })

  test('is recorded with the job and shown as it was', async () => {
    const run = await alice.cli(['run', 'greet', '--on', 'bob', '--json'])
    expect(run.code).toBe(0)
    const { id } = JSON.parse(run.stdout) as Job
    const job = JSON.parse((await alice.cli(['job', id, '--json'])).stdout) as Job
    expect(job.items?.map(({ peerId }) => peerId)).toEqual([bob.ready.peerId])
    expect(job.placement).toMatchObject({ chosen: bob.ready.peerId, waitedMs: expect.any(Number) })
    expect(job.placement?.candidates.find(({ name }) => name === 'alice')).toMatchObject({
      eligible: false,
      reason: 'another peer was asked for'
    })
    const shown = await alice.cli(['job', id])
    expect(shown.stdout).toContain('placed on bob')
  })

  test('on a peer that does not offer the capability is refused', async () => {
    const { code, stderr } = await alice.cli(['run', 'gated', 'x', '--on', 'bob'])
    expect(code).toBe(6)
    expect(stderr).toContain('bob does not offer "gated"')
  })
})

test('a wait that is over before the job says so with exit 8, and the job goes on', async () => {
  const mesh = await alice.mesh()
  const released = Promise.withResolvers<string>()
  await mesh.work('later', () => released.promise)
  const { id } = await alice.client.submit({ capability: 'later' })
  const late = await alice.cli(['wait', id, '--timeout', '200ms'])
  expect(late.code).toBe(8)
  expect(late.stdout).toBe('')
  expect(late.stderr).toContain(`starling wait ${id}`)
  const asJson = await alice.cli(['wait', id, '--timeout', '1ms', '--json'])
  expect(asJson.code).toBe(8)
  expect(JSON.parse(asJson.stdout)).toMatchObject({ kind: 'Job', id, verdict: 'running' })
  released.resolve('at last')
  const end = await alice.cli(['wait', id])
  expect(end).toMatchObject({ code: 0, stdout: 'at last\n' })
})

test('Ctrl-C ends the waiting of `run` with 130, not the job', async () => {
  const mesh = await bob.mesh()
  const released = Promise.withResolvers<string>()
  await mesh.work('patient', () => released.promise)
  await untilOffered(alice, 'patient', [bob])
  const run = alice.start(['run', 'patient'])
  await until('it runs', async () => (await bob.client.agents()).length === 1)
  run.child.kill('SIGINT')
  const { code, stderr } = await within('run ends', 10_000, run.ended)
  expect(code).toBe(130)
  const id = /job (\S+) goes on/.exec(stderr)?.[1] ?? ''
  released.resolve('done')
  expect(await alice.client.waitForJob(id)).toMatchObject({ verdict: 'completed', result: 'done' })
})
