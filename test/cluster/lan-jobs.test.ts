import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LEASE_EXPIRY_MS } from '../../src/core/index.ts'
import type { Job } from '../../src/sdk/index.ts'
import { Lan, pick } from './lan.ts'
import type { LanHost } from './lan-daemon.ts'
import { report } from './report.ts'
import { SKIP_CLUSTER } from './sandbox.ts'
import { accountFaults, type BodyRun, runningAfter, TREE, type TreeInput } from './tree.ts'

/** 121 tasks of 0.4 s on ten slots: about 5 s when nothing goes wrong. */
const TREE_121: TreeInput = { depth: 4, fanout: 3, workMs: 400 }

/** Tasks that have begun before something befalls the job. */
const UNDER_WAY = 20

/** The end of such a job on a busy machine, whatever befalls it. */
const OVER_MS_MAX = 60_000

/** A body that would go on for longer than the lease under which it was begun. */
const LONGER_THAN_A_LEASE_MS = 12_000

const HEALED_MS_MAX = 20_000

/** From the end of a lost host's lease until the last task that ran there has found another slot. */
const AGAIN_MS_MAX = 5_000

/** A worker writes that a body has ended just after it was told to; a busy machine lets it wait. */
const DIARY_LATE_MS = 500

/** Timers of a busy machine are late. */
const LATE_MS = 1_000

/** A task and its child; the child's first attempt would go on for much longer than the lease under which it was begun. */
const PAIR: TreeInput = { depth: 1, fanout: 1, workMs: 200, firstLeafMs: 60_000 }

let lan: Lan

describe.skipIf(SKIP_CLUSTER)('a job on a LAN of five', () => {
  beforeAll(async () => {
    lan = await Lan.meshed({ hosts: 5 })
  })
  afterAll(() => lan?.stop())
  beforeEach(async () => {
    await lan.untilAllSeeAll()
    await lan.until('all slots of all hosts are known and free to all', HEALED_MS_MAX, () => allFree())
  })

  it('is completed with every task done exactly once', async () => {
    const begunAtMs = Date.now()
    const root = lan.host(1)
    const job = await lan.over(root, await lan.submit(root, TREE_121), OVER_MS_MAX)
    report('121 tasks of 0.4 s on ten slots', Date.now() - begunAtMs)
    report('detection', job.timings.detectionMs ?? Number.NaN)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('completed')
    expect(job.peers.length).toBe(5)
    expect(attemptsOf(job).every(count => count === 1)).toBe(true)
    expectQuiet(job)
  })

  it('is completed by others when a worker is killed in the middle', async () => {
    const root = lan.host(1)
    const victim = lan.host(3)
    const id = await lan.submit(root, TREE_121)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await lan.until(
      'the victim works',
      OVER_MS_MAX,
      async () => runningAfter(victim.bodies(id), Date.now()).length > 0 || 'no'
    )
    await victim.worker.signal('SIGKILL')
    const killedAtMs = Date.now()
    const job = await lan.over(root, id, OVER_MS_MAX)
    report('end of the job after a worker was killed', Date.now() - killedAtMs)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('completed')
    const interrupted = victim.bodies(id).filter(({ end }) => end === undefined)
    expect(interrupted.length).toBeGreaterThan(0)
    const items = new Map((job.items ?? []).map(item => [item.id, item]))
    for (const { taskId } of interrupted) expect(items.get(taskId)?.attempt).toBeGreaterThan(1)
    expectQuiet(job, { host: victim, atMs: killedAtMs })
    await victim.work(2)
  })

  it('is completed by others when a host is killed in the middle, and what it was doing soon runs again', async () => {
    const root = lan.host(1)
    const victim = lan.host(2)
    const id = await lan.submit(root, TREE_121)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await lan.until(
      'the victim works',
      OVER_MS_MAX,
      async () => runningAfter(victim.bodies(id), Date.now()).length > 0 || 'no'
    )
    await victim.process.signal('SIGKILL')
    const killedAtMs = Date.now()
    const job = await lan.over(root, id, OVER_MS_MAX)
    report('end of the job after kill -9 of a host', announcedAtMs(job) - killedAtMs)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('completed')
    const interrupted = victim.bodies(id).filter(({ end }) => end !== 'end')
    expect(interrupted.length).toBeGreaterThan(0)
    const again = beginsAgain(id, interrupted)
    for (const [taskId, atMs] of again) {
      expect(atMs - killedAtMs, `${taskId} runs again`).toBeLessThan(LEASE_EXPIRY_MS + AGAIN_MS_MAX)
    }
    report(`${again.size} tasks that ran on it run again`, Math.max(...again.values()) - killedAtMs)
    expectQuiet(job)
    await victim.up()
  })

  it('is completed although a daemon stands still for ten seconds', async () => {
    const root = lan.host(1)
    const victim = lan.host(4)
    const id = await lan.submit(root, TREE_121)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await victim.process.signal('SIGSTOP')
    const stoppedAtMs = Date.now()
    await lan.until('ten seconds are over', OVER_MS_MAX, async () => Date.now() - stoppedAtMs > 10_000 || 'not yet')
    await victim.process.signal('SIGCONT')
    const job = await lan.over(root, id, OVER_MS_MAX)
    report('end of the job after a standstill of 10 s, from its begin', announcedAtMs(job) - stoppedAtMs)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('completed')
    expectQuiet(job)
  })

  it('does not begin again at a host that stands still before the body there has been stopped', async () => {
    const root = lan.host(1)
    const victim = lan.host(4)
    const single: TreeInput = { depth: 0, fanout: 0, workMs: LONGER_THAN_A_LEASE_MS }
    const id = await lan.submit(root, single, victim)
    await lan.untilBegun(id, 1, OVER_MS_MAX)
    await victim.process.signal('SIGSTOP')
    const stoppedAtMs = Date.now()
    await lan.until('the lease is over', OVER_MS_MAX, async () => {
      return Date.now() - stoppedAtMs > LEASE_EXPIRY_MS + LATE_MS || 'not yet'
    })
    expect(runningAfter(victim.bodies(id), Date.now())).toEqual([])
    expect((await root.client.job(id)).verdict).toBe('running')
    await victim.process.signal('SIGCONT')
    const job = await lan.over(root, id, OVER_MS_MAX)
    expect(accountFaults(job, single)).toEqual([])
    expect(job.verdict).toBe('completed')
    const [first, second, ...others] = victim.bodies(id)
    expect(first?.end).toBe('aborted')
    expect(second).toMatchObject({ attempt: 2, end: 'end' })
    expect(others).toEqual([])
    expect(second?.beganAtMs).toBeGreaterThan(first?.endedAtMs ?? Number.POSITIVE_INFINITY)
    expectQuiet(job)
  })

  it('stops on all other hosts when the host that leads it is cut off for longer than a lease, and is completed later', async () => {
    const [root, ...others] = pick(lan, 1)
    const long: TreeInput = { depth: 3, fanout: 4, workMs: 3_000 }
    const id = await lan.submit(root, long)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await lan.cut(root)
    const cutAtMs = Date.now()
    const stopsAtMs = cutAtMs + LEASE_EXPIRY_MS + LATE_MS
    await lan.until('the lease is over', OVER_MS_MAX, async () => Date.now() > stopsAtMs + LATE_MS || 'not yet')
    for (const host of others) expect(runningAfter(host.bodies(id), stopsAtMs)).toEqual([])
    expect(others.flatMap(host => host.bodies(id)).some(({ end }) => end === 'aborted')).toBe(true)
    const ends = others.flatMap(host => host.bodies(id)).flatMap(({ endedAtMs }) => endedAtMs ?? [])
    report('last body elsewhere after the cut', Math.max(...ends) - cutAtMs)
    await lan.join(root)
    const healedAtMs = Date.now()
    const job = await lan.over(root, id, OVER_MS_MAX)
    report('announced after the heal', announcedAtMs(job) - healedAtMs)
    expect(accountFaults(job, long)).toEqual([])
    expect(job.verdict).toBe('completed')
    expectQuiet(job)
  })

  it('is completed with every task done once when one host is cut off for less than a lease', async () => {
    const root = lan.host(1)
    const victim = lan.host(5)
    const id = await lan.submit(root, TREE_121)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await lan.cut(victim)
    const cutAtMs = Date.now()
    await lan.until('three seconds are over', OVER_MS_MAX, async () => Date.now() - cutAtMs > 3_000 || 'not yet')
    await lan.join(victim)
    const job = await lan.over(root, id, OVER_MS_MAX)
    report('end of the job after a cut of 3 s, from its begin', announcedAtMs(job) - cutAtMs)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('completed')
    expect(attemptsOf(job).every(count => count === 1)).toBe(true)
    expectQuiet(job)
  })
})

describe.skipIf(SKIP_CLUSTER)('an orphan on a host that is cut off', () => {
  let four: Lan
  beforeAll(async () => {
    four = await Lan.create({ hosts: 4, slots: 0 })
    await four.upAll()
    // Not where the job is handed in; with one slot each, so that a task and its child are on different hosts.
    await Promise.all(four.hosts.slice(1).map(host => host.work(1)))
  })
  afterAll(() => four?.stop())

  it('has been stopped before the job is over, although all that counts has long been done again', async () => {
    const { job, orphan, bodies } = await orphaned(four, PAIR)
    const counted = bodies.filter(({ end }) => end === 'end')
    const doneAtMs = Math.max(...counted.map(({ endedAtMs = Number.NaN }) => endedAtMs))
    report('from the end of all that counts to the announcement', announcedAtMs(job) - doneAtMs)
    expect(orphan).toMatchObject({ token: '1.1', end: 'aborted' })
    expect(orphan?.endedAtMs).toBeLessThan(announcedAtMs(job))
  })

  it('has been stopped before the same task begins again, when that is exclusive', async () => {
    const { job, orphan, bodies } = await orphaned(four, { ...PAIR, exclusive: true })
    expect(orphan).toMatchObject({ token: '1.1', end: 'aborted' })
    const again = bodies.filter(({ taskId, token }) => taskId === `${job.id}.0.0` && token !== '1.1')
    expect(again.map(({ end }) => end)).toEqual(['end'])
    for (const { beganAtMs } of again) expect(beganAtMs).toBeGreaterThan(orphan?.endedAtMs ?? Number.POSITIVE_INFINITY)
  })
})

describe.skipIf(SKIP_CLUSTER)('a command on a host whose daemon stands still', () => {
  let pair: Lan
  beforeAll(async () => {
    pair = await Lan.create({ hosts: 2, slots: 0 })
    const beat = `while :; do date +%s%3N >> ${pair.host(2).home}/beats; sleep 0.1; done`
    const command = JSON.stringify(['sh', '-c', beat])
    pair.host(2).configure(`capabilities: { ${TREE}: { runtime: command, slots: 1, command: ${command} } }\n`)
    await pair.upAll()
    await pair.until('the capability is known', HEALED_MS_MAX, async () => {
      const peers = await pair.host(1).client.peers()
      return peers.some(({ capabilities }) => capabilities.some(({ name }) => name === TREE)) || 'no'
    })
  })
  afterAll(() => pair?.stop())

  it('is killed before the job is over, which another host completes', async () => {
    const [root, victim] = [pair.host(1), pair.host(2)]
    const quick: TreeInput = { depth: 0, fanout: 0, workMs: 10 }
    const id = await pair.submit(root, quick)
    await pair.until('the command runs', OVER_MS_MAX, async () => beatsOf(victim).length > 0 || 'no beat')
    await victim.process.signal('SIGSTOP')
    const stoppedAtMs = Date.now()
    try {
      await root.work(1)
      const job = await pair.over(root, id, OVER_MS_MAX)
      report('verdict after a standstill', announcedAtMs(job) - stoppedAtMs)
      expect(accountFaults(job, quick)).toEqual([])
      expect(job).toMatchObject({ verdict: 'completed', items: [{ attempt: 2, peerId: root.peerId }] })
      await pair.until('two seconds are over', OVER_MS_MAX, async () => Date.now() - announcedAtMs(job) > 2_000 || 'no')
      expect(Math.max(...beatsOf(victim))).toBeLessThan(announcedAtMs(job))
    } finally {
      await victim.process.signal('SIGCONT')
    }
  })
})

describe.skipIf(SKIP_CLUSTER)('a job on a LAN with 25 ms one-way delay and 2 % loss', () => {
  let slow: Lan
  beforeAll(async () => {
    slow = await Lan.meshed({ hosts: 5 })
    await slow.delay(25, 2)
    await slow.until('the delay shows', OVER_MS_MAX, async () => {
      const times = (await slow.host(2).client.peers()).filter(({ self }) => !self).map(({ rttMs }) => rttMs ?? 0)
      return Math.min(...times) > 25 || `round trips of ${times} ms`
    })
  })
  afterAll(() => slow?.stop())

  it('is completed, and its account is right', async () => {
    const root = slow.host(2)
    const begunAtMs = Date.now()
    const job = await slow.over(root, await slow.submit(root, TREE_121), OVER_MS_MAX)
    report('end of the job, delay and loss', Date.now() - begunAtMs)
    report('detection, delay and loss', job.timings.detectionMs ?? Number.NaN)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('completed')
    for (const host of slow.hosts)
      expect(runningAfter(host.bodies(job.id), announcedAtMs(job) + DIARY_LATE_MS)).toEqual([])
  })
})

/** No body of the job runs anywhere after its announcement. */
function expectQuiet(job: Job, killed?: { host: LanHost; atMs: number }): void {
  for (const host of lan.hosts) {
    const bodies = host.bodies(job.id)
    const late = runningAfter(
      bodies,
      announcedAtMs(job) + DIARY_LATE_MS,
      killed?.host === host ? killed.atMs : undefined
    )
    expect(late, `bodies on ${host.name} after the end of the job`).toEqual([])
  }
}

async function allFree(): Promise<true | string> {
  const views = await Promise.all(lan.hosts.map(host => host.client.peers()))
  const free = views.map(peers =>
    peers.reduce((sum, { state, capabilities }) => sum + (state === 'alive' ? (capabilities[0]?.free ?? 0) : 0), 0)
  )
  return free.every(slots => slots === 10) || `free: ${free}`
}

/**
 * Has a task on host 2 spawn one on another host, then cuts that one off and kills the first, which comes back at once:
 * the task is done again, while the earlier child still runs where nobody can reach it.
 */
async function orphaned(four: Lan, pair: TreeInput): Promise<{ job: Job; orphan?: BodyRun; bodies: BodyRun[] }> {
  const [root, owner] = [four.host(1), four.host(2)]
  await four.until('all three slots are free', HEALED_MS_MAX, async () => {
    const views = await Promise.all(four.hosts.map(host => host.client.peers()))
    const free = views.map(peers =>
      peers.filter(({ state, capabilities }) => state === 'alive' && capabilities[0]?.free)
    )
    return free.every(({ length }) => length === 3) || JSON.stringify(free.map(({ length }) => length))
  })
  const id = await four.submit(root, pair, owner)
  await four.untilBegun(id, 2, OVER_MS_MAX)
  const orphanage = four.hosts.find(host => host !== owner && host.bodies(id).length > 0)
  if (orphanage === undefined) throw new Error('the child was begun on no other host')
  await four.cut(orphanage)
  await owner.kill()
  await owner.up()
  const job = await four.over(root, id, OVER_MS_MAX)
  await four.join(orphanage)
  expect(accountFaults(job, pair)).toEqual([])
  expect(job.verdict).toBe('completed')
  const [orphan] = orphanage.bodies(id)
  return { job, bodies: four.hosts.flatMap(host => host.bodies(id)), ...(orphan === undefined ? {} : { orphan }) }
}

/** When each of the tasks whose bodies were interrupted began again first, wherever that was. */
function beginsAgain(jobId: string, interrupted: readonly BodyRun[]): Map<string, number> {
  const bodies = lan.hosts.flatMap(host => host.bodies(jobId))
  const begins = new Map<string, number>()
  for (const { taskId, beganAtMs } of interrupted) {
    const later = bodies.filter(body => body.taskId === taskId && body.beganAtMs > beganAtMs)
    begins.set(taskId, Math.min(...later.map(body => body.beganAtMs)))
  }
  return begins
}

function attemptsOf(job: Job): number[] {
  return (job.items ?? []).map(({ attempt }) => attempt)
}

function announcedAtMs(job: Job): number {
  return Date.parse(job.timings.announcedAt ?? '')
}

/** Times at which the command of a host was seen alive. */
function beatsOf(host: LanHost): number[] {
  const path = `${host.home}/beats`
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter(line => line !== '').map(Number)
}
