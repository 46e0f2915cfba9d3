import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LEASE_EXPIRY_MS } from '../../src/core/index.ts'
import type { Job } from '../../src/sdk/index.ts'
import { Lan, pick } from './lan.ts'
import type { LanHost } from './lan-daemon.ts'
import { report } from './report.ts'
import { SKIP_CLUSTER } from './sandbox.ts'
import { accountFaults, runningAfter, type TreeInput } from './tree.ts'

/** 121 tasks of 0.4 s on ten slots: about 5 s when nothing goes wrong. */
const TREE_121: TreeInput = { depth: 4, fanout: 3, workMs: 400 }

/** Tasks that have begun before something befalls the job. */
const UNDER_WAY = 20

/** The end of such a job on a busy machine, whatever befalls it. */
const OVER_MS_MAX = 60_000

/** From the loss of a host to the verdict: its lease, the fence, and what the others still have to do. */
const VERDICT_AFTER_LOSS_MS_MAX = 15_000

const HEALED_MS_MAX = 20_000

/** A worker writes that a body has ended just after it was told to; a busy machine lets it wait. */
const DIARY_LATE_MS = 500

/** Timers of a busy machine are late. */
const LATE_MS = 1_000

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

  it('is incomplete and names the lost tasks soon after a host was killed in the middle', async () => {
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
    const job = await lan.over(root, id, VERDICT_AFTER_LOSS_MS_MAX)
    report(`verdict after kill -9 of a host, ${job.lost.length} tasks lost`, Date.now() - killedAtMs)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expect(job.verdict).toBe('incomplete')
    expectQuiet(job)
    await victim.up()
  })

  it('ends honestly when a daemon stands still for ten seconds', async () => {
    const root = lan.host(1)
    const victim = lan.host(4)
    const id = await lan.submit(root, TREE_121)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await victim.process.signal('SIGSTOP')
    const stoppedAtMs = Date.now()
    await lan.until('ten seconds are over', OVER_MS_MAX, async () => Date.now() - stoppedAtMs > 10_000 || 'not yet')
    await victim.process.signal('SIGCONT')
    const job = await lan.over(root, id, OVER_MS_MAX)
    report(
      `${job.verdict} with ${job.lost.length} lost after a standstill of 10 s, from its begin`,
      Date.now() - stoppedAtMs
    )
    expect(accountFaults(job, TREE_121)).toEqual([])
    expectQuiet(job)
  })

  it('is not over before the body on a daemon that stands still has been stopped', async () => {
    const root = lan.host(1)
    const victim = lan.host(4)
    const single: TreeInput = { depth: 0, fanout: 0, workMs: 40_000 }
    const id = await lan.submit(root, single, victim)
    await lan.untilBegun(id, 1, OVER_MS_MAX)
    await victim.process.signal('SIGSTOP')
    const stoppedAtMs = Date.now()
    try {
      const job = await lan.over(root, id, VERDICT_AFTER_LOSS_MS_MAX)
      report('verdict after a standstill', Date.now() - stoppedAtMs)
      expect(accountFaults(job, single)).toEqual([])
      expect(job.verdict).toBe('incomplete')
      await lan.until(
        'the body is over',
        OVER_MS_MAX,
        async () => runningAfter(victim.bodies(id), Date.now()).length === 0 || 'no'
      )
      expectQuiet(job)
    } finally {
      await victim.process.signal('SIGCONT')
    }
  })

  it('stops on all other hosts when the host that leads it is cut off for longer than a lease, and then ends', async () => {
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
    report(`${job.verdict} with ${job.lost.length} lost, announced after the heal`, announcedAtMs(job) - healedAtMs)
    expect(accountFaults(job, long)).toEqual([])
    expect(job.verdict).toBe('incomplete')
    expectQuiet(job)
  })

  it('ends honestly when one host is cut off for less than a lease', async () => {
    const root = lan.host(1)
    const victim = lan.host(5)
    const id = await lan.submit(root, TREE_121)
    await lan.untilBegun(id, UNDER_WAY, OVER_MS_MAX)
    await lan.cut(victim)
    const cutAtMs = Date.now()
    await lan.until('three seconds are over', OVER_MS_MAX, async () => Date.now() - cutAtMs > 3_000 || 'not yet')
    await lan.join(victim)
    const job = await lan.over(root, id, OVER_MS_MAX)
    report(`${job.verdict} with ${job.lost.length} lost after a cut of 3 s, from its begin`, Date.now() - cutAtMs)
    expect(accountFaults(job, TREE_121)).toEqual([])
    expectQuiet(job)
  })
})

describe.skipIf(SKIP_CLUSTER)('a command on a host whose daemon stands still', () => {
  let pair: Lan
  beforeAll(async () => {
    pair = await Lan.create({ hosts: 2, slots: 0 })
    const beat = `while :; do date +%s%3N >> ${pair.host(2).home}/beats; sleep 0.1; done`
    const command = JSON.stringify(['sh', '-c', beat])
    pair.host(2).configure(`capabilities: { beat: { runtime: command, slots: 1, command: ${command} } }\n`)
    await pair.upAll()
    await pair.until('the capability is known', HEALED_MS_MAX, async () => {
      const peers = await pair.host(1).client.peers()
      return peers.some(({ capabilities }) => capabilities.some(({ name }) => name === 'beat')) || 'no'
    })
  })
  afterAll(() => pair?.stop())

  it('is killed before the job is over', async () => {
    const [root, victim] = [pair.host(1), pair.host(2)]
    const { id } = await root.client.submit({ capability: 'beat' })
    await pair.until('the command runs', OVER_MS_MAX, async () => beatsOf(victim).length > 0 || 'no beat')
    await victim.process.signal('SIGSTOP')
    const stoppedAtMs = Date.now()
    try {
      const job = await pair.over(root, id, VERDICT_AFTER_LOSS_MS_MAX)
      report('verdict after a standstill', Date.now() - stoppedAtMs)
      expect(job.verdict).toBe('incomplete')
      expect(job.lost).toEqual([`${id}.0`])
      await pair.until('two seconds are over', OVER_MS_MAX, async () => Date.now() - announcedAtMs(job) > 2_000 || 'no')
      expect(Math.max(...beatsOf(victim)) - announcedAtMs(job)).toBeLessThan(DIARY_LATE_MS)
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

  it('ends, and its account is right', async () => {
    const root = slow.host(2)
    const begunAtMs = Date.now()
    const job = await slow.over(root, await slow.submit(root, TREE_121), OVER_MS_MAX)
    report(`${job.verdict} with ${job.lost.length} lost, delay and loss`, Date.now() - begunAtMs)
    report('detection, delay and loss', job.timings.detectionMs ?? Number.NaN)
    expect(accountFaults(job, TREE_121)).toEqual([])
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
