/**
 * What kill -9 of a daemon costs a running job, on a LAN of virtual hosts (network namespaces) with real mDNS:
 * `node scripts/bench/faults.ts [--runs N] [--hosts N] [--out FILE]` after `npm run build`. Needs Linux with iproute2 and
 * root or user namespaces. Raw samples go to FILE as JSON.
 *
 * Each run is one job whose tasks run on all hosts when one of them, not the submitting one, is killed. It is started
 * again at once (as a service manager does), or only when the job is over; the two take turns.
 */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { Lan } from '../../test/cluster/lan.ts'
import type { LanHost } from '../../test/cluster/lan-daemon.ts'
import { accountFaults, type TreeInput } from '../../test/cluster/tree.ts'
import { frameCounts, framesBetween } from './frame-counts.ts'
import { commit, machineFacts, machineLine } from './machine.ts'
import { type Row, summary } from './statistics.ts'

const SLOTS = 2

/** Long enough that every host works when one is killed. */
const WORK_MS = 3_000

/** Longest wait for anything; a run that takes longer counts as failed and gives no sample. */
const WAIT_MS_MAX = 60_000

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    hosts: { type: 'string', default: '10' },
    out: { type: 'string' }
  }
})
const runs = Number(values.runs)
const hosts = Number(values.hosts)

/** Milliseconds since the kill. */
interface Sample {
  /** The last of the others took the killed daemon for gone. */
  readonly seenMs: number
  /** The killed daemon was ready again; null when it was started only after the job. */
  readonly backMs: number | null
  /** The last of the tasks that ran there had begun again. */
  readonly againMs: number
  readonly announcedMs: number
  /** From the end of the last body that counts to the announcement. */
  readonly detectionMs: number
  /** Tasks that ran there. */
  readonly interrupted: number
  /** Frames of fences, in both directions. */
  readonly fenceFrames: number
  readonly load: number
}

interface Series {
  readonly what: string
  readonly restarted: boolean
  readonly samples: Sample[]
  /** Why runs gave no sample. */
  readonly failures: string[]
}

const series: readonly Series[] = [
  { what: 'daemon started again at once', restarted: true, samples: [], failures: [] },
  { what: 'host gone for good', restarted: false, samples: [], failures: [] }
]
const loadBefore = loadavg()
const lan = await Lan.meshed({ hosts, slots: SLOTS })
try {
  for (let run = 0; run < runs; run += 1) {
    for (const each of series) await measure(each, run)
  }
} finally {
  await lan.stop()
}
report()

async function measure(into: Series, run: number): Promise<void> {
  try {
    await lan.until('all slots are free', WAIT_MS_MAX, allFree)
    const sample = await killOne(into.restarted, run)
    into.samples.push(sample)
    process.stderr.write(`${into.what}, run ${run + 1} of ${runs}: ${JSON.stringify(sample)}\n`)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.stderr.write(`no sample: ${reason}\n`)
    into.failures.push(reason)
  }
}

async function killOne(restarted: boolean, run: number): Promise<Sample> {
  const load = loadavg()[0] ?? Number.NaN
  const [root, ...others] = lan.hosts
  if (root === undefined) throw new Error('there is no host')
  // One slot stays free on each host on average, as far as there are tasks to be done again.
  const input: TreeInput = { depth: 1, fanout: hosts + Math.floor(hosts / 2), workMs: WORK_MS }
  const before = new Map(
    await Promise.all(lan.hosts.map(async host => [host, await frameCounts([host.client])] as const))
  )
  const id = await lan.submit(root, input)
  await lan.untilBegun(id, input.fanout + 1, WAIT_MS_MAX)
  const working = others.filter(host => host.bodies(id).some(({ end }) => end === undefined))
  const victim = working[run % working.length]
  if (victim === undefined) throw new Error('no other host works')
  const survivors = lan.hosts.filter(host => host !== victim)
  const peer = victim.peerId
  await victim.kill()
  const killedAtMs = victim.kills.at(-1) ?? Number.NaN
  if (restarted) await victim.up()
  const backAtMs = victim.readyAtMs
  const job = await lan.over(root, id, WAIT_MS_MAX)
  const frames = await Promise.all(
    survivors.map(async host => {
      const after = await frameCounts([host.client])
      return framesBetween(before.get(host) ?? after, after, ['fence', 'fenced'])
    })
  )
  const seenAtMs = await noticedAtMs(survivors, peer, killedAtMs)
  if (!restarted) await victim.up()
  const faults = accountFaults(job, input)
  if (job.verdict !== 'completed' || faults.length > 0) throw new Error(`${job.verdict}: ${faults.join('; ')}`)

  const bodies = lan.hosts.flatMap(host => host.bodies(id))
  const interrupted = victim.bodies(id).filter(({ end, beganAtMs }) => end !== 'end' && beganAtMs <= killedAtMs)
  const again = interrupted.map(({ taskId, beganAtMs }) => {
    const later = bodies.filter(body => body.taskId === taskId && body.beganAtMs > beganAtMs)
    return Math.min(...later.map(body => body.beganAtMs))
  })
  if (again.length === 0) throw new Error('nothing ran on the killed host')
  const announcedAtMs = Date.parse(job.timings.announcedAt ?? '')
  const ends = bodies.filter(({ end }) => end === 'end').map(({ endedAtMs = Number.NaN }) => endedAtMs)
  return {
    seenMs: seenAtMs - killedAtMs,
    backMs: restarted ? backAtMs - killedAtMs : null,
    againMs: Math.max(...again) - killedAtMs,
    announcedMs: announcedAtMs - killedAtMs,
    detectionMs: announcedAtMs - Math.max(...ends),
    interrupted: interrupted.length,
    fenceFrames: frames.reduce((sum, count) => sum + count, 0),
    load
  }
}

/** When the last of `survivors` took the peer for gone, by the time in its own event. */
async function noticedAtMs(survivors: readonly LanHost[], peer: string, killedAtMs: number): Promise<number> {
  const noticed = () =>
    survivors.map(host => {
      const changes = host.events.memberChanges()
      return changes.find(change => change.peer === peer && change.state !== 'alive' && change.atMs >= killedAtMs)?.atMs
    })
  await lan.until(
    'the events of all have arrived',
    WAIT_MS_MAX,
    async () => !noticed().includes(undefined) || 'not all'
  )
  return Math.max(...noticed().map(atMs => atMs ?? Number.NaN))
}

async function allFree(): Promise<true | string> {
  const views = await Promise.all(lan.hosts.map(host => host.client.peers()))
  const free = views.map(peers =>
    peers.reduce((sum, { state, capabilities }) => sum + (state === 'alive' ? (capabilities[0]?.free ?? 0) : 0), 0)
  )
  return free.every(slots => slots === hosts * SLOTS) || `free: ${free}`
}

function report(): void {
  const all = series.flatMap(({ samples }) => samples)
  const rows: Row[] = [
    { what: `kill -9 of a daemon, seen by all of ${hosts}`, unit: 'ms', samples: all.map(({ seenMs }) => seenMs) },
    { what: 'killed daemon ready again', unit: 'ms', samples: all.flatMap(({ backMs }) => backMs ?? []) },
    ...series.flatMap(({ what, samples }): Row[] => [
      { what: `lost work runs again, ${what}`, unit: 'ms', samples: samples.map(({ againMs }) => againMs) },
      { what: `job announced, ${what}`, unit: 'ms', samples: samples.map(({ announcedMs }) => announcedMs) }
    ]),
    {
      what: 'last body ends -> announced, after a kill',
      unit: 'ms',
      samples: all.map(({ detectionMs }) => detectionMs)
    },
    {
      what: `frames of fences per crash, bound ${2 * (hosts - 1)}`,
      unit: 'frames',
      samples: all.map(({ fenceFrames }) => fenceFrames)
    }
  ]
  console.table(rows.map(summary))
  for (const { what, failures } of series) {
    if (failures.length > 0) console.log(`${what}: ${failures.length} runs failed`)
  }
  const machine = machineFacts(loadBefore)
  console.log(machineLine(machine))
  if (values.out === undefined) return
  const document = {
    at: new Date().toISOString(),
    commit: commit(),
    versions: process.versions,
    machine,
    hosts,
    series
  }
  writeFileSync(values.out, `${JSON.stringify(document, null, 2)}\n`)
}
