/**
 * How long daemons on a LAN take to find each other, each on a virtual host of its own (network namespace), with real
 * mDNS: `node scripts/bench/discovery.ts [--runs N] [--sizes 5,10] [--out FILE]` after `npm run build`. Needs Linux with
 * iproute2 and root or user namespaces. Raw samples go to FILE as JSON.
 *
 * Each run is one new LAN. First start: the first daemon makes the swarm and a token, then all others are started at
 * once with it. Restart: all daemons are stopped and started at once; they are members then, but all have other ports.
 */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { Lan } from '../../test/cluster/lan.ts'
import type { LanHost } from '../../test/cluster/lan-daemon.ts'
import { commit, machineFacts, machineLine } from './machine.ts'
import { type Row, summary } from './statistics.ts'

/** Longest wait for one mesh; a run that takes longer counts as failed and gives no sample. */
const MESH_MS_MAX = 60_000

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    sizes: { type: 'string', default: '5,10' },
    out: { type: 'string' }
  }
})
const runs = Number(values.runs)
const sizes = values.sizes.split(',').map(Number)

/** Milliseconds. */
interface Sample {
  /** From the last daemon's Ready line to the moment when the last daemon saw the last other one alive. */
  readonly afterReadyMs: number
  /** To the same moment, from the start of the first process. */
  readonly afterStartMs: number
  readonly load: number
}

interface Series {
  readonly what: string
  readonly daemons: number
  readonly samples: Sample[]
  /** Why runs gave no sample. */
  readonly failures: string[]
}

const series: Series[] = []
const loadBefore = loadavg()
for (const daemons of sizes) {
  const first: Series = { what: 'first start, joining by a token', daemons, samples: [], failures: [] }
  const again: Series = { what: 'restart of all at once', daemons, samples: [], failures: [] }
  series.push(first, again)
  for (let run = 1; run <= runs; run += 1) {
    const lan = await Lan.create({ hosts: daemons, slots: 0 })
    try {
      const cold = await measure(first, lan, () => lan.upAll())
      const warm = cold === undefined ? undefined : await measure(again, lan, () => restartAll(lan))
      const shown = (one: Sample | undefined) => (one === undefined ? 'no sample' : `${one.afterReadyMs} ms`)
      process.stderr.write(`${daemons} daemons, run ${run} of ${runs}: ${shown(cold)}, restart ${shown(warm)}\n`)
    } finally {
      await lan.stop()
    }
  }
}
report()

async function restartAll(lan: Lan): Promise<void> {
  await Promise.all(lan.hosts.map(host => host.client.stop()))
  await Promise.all(lan.hosts.map(host => host.process.exited))
  await Promise.all(lan.hosts.map(host => host.up()))
}

/** Undefined when there is none: the reason is in `into.failures` then. */
async function measure(into: Series, lan: Lan, start: () => Promise<void>): Promise<Sample | undefined> {
  try {
    await start()
    const one = await sample(lan)
    into.samples.push(one)
    return one
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.stderr.write(`no sample: ${reason}\n`)
    into.failures.push(reason)
    return undefined
  }
}

/** Waits until all see all; the times are those that the daemons themselves have noted in their events. */
async function sample(lan: Lan): Promise<Sample> {
  const load = loadavg()[0] ?? Number.NaN
  await lan.untilAllSeeAll(lan.hosts, MESH_MS_MAX)
  const complete = () => lan.hosts.every(host => seenAtMs(host, lan.hosts) !== undefined)
  await lan.until('the events of all have arrived', MESH_MS_MAX, async () => complete() || 'some are missing')
  const meshedAtMs = Math.max(...lan.hosts.map(host => seenAtMs(host, lan.hosts) ?? Number.NaN))
  const readyAtMs = Math.max(...lan.hosts.map(host => host.readyAtMs))
  const startedAtMs = Math.min(...lan.hosts.map(host => host.process.startedAtMs))
  return { afterReadyMs: Math.max(0, meshedAtMs - readyAtMs), afterStartMs: meshedAtMs - startedAtMs, load }
}

/** When `host` saw the last of the others become alive for the first time; undefined while one is missing. */
function seenAtMs(host: LanHost, all: readonly LanHost[]): number | undefined {
  const first = new Map<string, number>()
  for (const { peer, state, atMs } of host.events.memberChanges()) {
    if (state === 'alive' && !first.has(peer)) first.set(peer, atMs)
  }
  const times = all.filter(other => other !== host).map(other => first.get(other.peerId))
  return times.includes(undefined) ? undefined : Math.max(...times.map(time => time ?? Number.NaN))
}

function report(): void {
  const rows = series.flatMap(({ what, daemons, samples }): Row[] => [
    {
      what: `${daemons} daemons, ${what}: all see all after the last is ready`,
      unit: 'ms',
      samples: samples.map(({ afterReadyMs }) => afterReadyMs)
    },
    {
      what: `${daemons} daemons, ${what}: all see all after the first process start`,
      unit: 'ms',
      samples: samples.map(({ afterStartMs }) => afterStartMs)
    }
  ])
  console.table(rows.map(summary))
  for (const { what, daemons, failures } of series) {
    if (failures.length > 0) console.log(`${daemons} daemons, ${what}: ${failures.length} runs failed`)
  }
  const machine = machineFacts(loadBefore)
  console.log(machineLine(machine))
  if (values.out === undefined) return
  const document = { at: new Date().toISOString(), commit: commit(), versions: process.versions, machine, runs, series }
  writeFileSync(values.out, `${JSON.stringify(document, null, 2)}\n`)
}
