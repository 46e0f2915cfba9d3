/**
 * Small benchmark on loopback: `npm run bench [-- --out FILE]`. Each row is measured beside its reference in the same
 * run; raw samples go to FILE as JSON. Quiet the machine first: the load average is printed and stored.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { frameCounts, framesBetween } from './frame-counts.ts'
import { commit, machineFacts, machineLine } from './machine.ts'
import { BenchPool } from './pool.ts'
import { type Row, summary } from './statistics.ts'

const ROUND_TRIPS = 300
const IN_FLIGHT = 64
const THROUGHPUT_JOBS = 2_000
const DETECTIONS = 20
const STARTS = 5
const TREE = { depth: 5, fanOut: 3 }

/** Smaller trees on more daemons, often enough for a 99th percentile. */
const MANY_DETECTIONS = 100
const NARROW_TREE = { depth: 5, fanOut: 2 }

const { values } = parseArgs({ options: { out: { type: 'string' } } })
const rows: Row[] = []
const loadBefore = loadavg()

await starts()
await twoDaemons()
await fiveDaemons()
await tenDaemons()
report()

async function starts(): Promise<void> {
  const samples: number[] = []
  const status: number[] = []
  for (let index = 0; index < STARTS; index += 1) {
    const pool = new BenchPool()
    try {
      await pool.start(1)
      const [member] = pool.members
      if (member === undefined) continue
      samples.push(member.startMs)
      status.push(
        timed([join(import.meta.dirname, '../../dist/cli/main.js'), 'status', '--socket', member.ready.socket])
      )
    } finally {
      await pool.stop()
    }
  }
  const bare = Array.from({ length: STARTS }, () => timed(['-e', '0']))
  const reference = { what: 'node -e 0', samples: bare }
  rows.push({ what: 'daemon start to ready', unit: 'ms', samples, reference })
  rows.push({ what: 'starling status, whole process', unit: 'ms', samples: status, reference })
}

function timed(argv: string[]): number {
  const began = performance.now()
  spawnSync(process.execPath, argv, { stdio: 'ignore' })
  return performance.now() - began
}

/** Submitted at one daemon, run by a worker at the other, durable before each answer. */
async function twoDaemons(): Promise<void> {
  const pool = new BenchPool()
  try {
    await pool.start(2)
    await pool.workers(1, IN_FLIGHT)
    const mesh = await pool.mesh(0)
    const once = async () => {
      const began = performance.now()
      const job = await mesh.submit('echo', { hello: 'world' })
      const { verdict } = await job.completion()
      if (verdict !== 'completed') throw new Error(`verdict ${verdict}`)
      return performance.now() - began
    }
    for (let index = 0; index < 100; index += 1) await once()
    const samples: number[] = []
    for (let index = 0; index < ROUND_TRIPS; index += 1) samples.push(await once())
    rows.push({
      what: 'job of one task, other daemon',
      unit: 'ms',
      samples,
      reference: { what: 'durable commit', samples: commits() }
    })
    const began = performance.now()
    let left = THROUGHPUT_JOBS
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (left > 0) {
          left -= 1
          await once()
        }
      })
    )
    rows.push({
      what: `jobs, ${IN_FLIGHT} in flight`,
      unit: '1/s',
      samples: [(1_000 * THROUGHPUT_JOBS) / (performance.now() - began)]
    })
    const tasks = await treeRate(mesh)
    rows.push({ what: 'tasks of one job, spawned as a tree', unit: '1/s', samples: tasks })
  } finally {
    await pool.stop()
  }
}

async function treeRate(mesh: Awaited<ReturnType<BenchPool['mesh']>>): Promise<number[]> {
  const samples: number[] = []
  for (let index = 0; index < 3; index += 1) {
    const began = performance.now()
    const { tasks } = await (await mesh.submit('tree', { depth: 6, fanOut: 4 })).completion()
    samples.push((1_000 * tasks.total) / (performance.now() - began))
  }
  return samples
}

/** The reference of all that is durable: one row, one fsync. */
function commits(): number[] {
  const dir = mkdtempSync(join(tmpdir(), 'starling-bench-db-'))
  const database = new DatabaseSync(join(dir, 'reference.db'))
  database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (v BLOB)')
  const insert = database.prepare('INSERT INTO t VALUES (?)')
  const row = Buffer.alloc(300)
  const samples = Array.from({ length: ROUND_TRIPS }, () => {
    const began = performance.now()
    insert.run(row)
    return performance.now() - began
  })
  database.close()
  rmSync(dir, { recursive: true })
  return samples
}

async function fiveDaemons(): Promise<void> {
  const pool = new BenchPool()
  try {
    await pool.start(5)
    await pool.workers(0, 4)
    const { detections, framesPerTask } = await trees(pool, TREE, DETECTIONS)
    rows.push({ what: 'last body ends -> waiter told, depth 5, 5 daemons', unit: 'ms', samples: detections })
    rows.push({ what: 'control frames per task, same jobs', unit: 'frames', samples: framesPerTask })
    const rss = pool.members.map((_, index) => pool.memory(index).rssBytes / 1024 / 1024)
    rows.push({ what: 'resident memory of a daemon in a mesh of 5', unit: 'MiB', samples: rss })
    const cpuBefore = pool.members.map((_, index) => pool.cpuMs(index))
    await new Promise(resolve => setTimeout(resolve, 10_000))
    const idle = pool.members.map((_, index) => ((pool.cpuMs(index) - (cpuBefore[index] ?? 0)) / 10_000) * 100)
    rows.push({ what: 'idle CPU of a daemon in a mesh of 5', unit: '% of a core', samples: idle })
  } finally {
    await pool.stop()
  }
}

async function tenDaemons(): Promise<void> {
  const pool = new BenchPool()
  try {
    await pool.start(10)
    await pool.workers(0, 2)
    const { detections, settlesPerHandoff, framesPerHandoff } = await trees(pool, NARROW_TREE, MANY_DETECTIONS)
    rows.push({ what: 'last body ends -> waiter told, depth 5, 10 daemons', unit: 'ms', samples: detections })
    rows.push({ what: 'settles per hand-off, same jobs', unit: 'frames', samples: settlesPerHandoff })
    rows.push({ what: 'control frames per hand-off, same jobs', unit: 'frames', samples: framesPerHandoff })
  } finally {
    await pool.stop()
  }
}

interface TreeSamples {
  readonly detections: number[]
  readonly framesPerTask: number[]
  /** Of tasks that went to another daemon than their parent's; frames of those that stayed are none. */
  readonly settlesPerHandoff: number[]
  readonly framesPerHandoff: number[]
}

/** Jobs one after another, submitted at the first daemon; the first three are not counted. */
async function trees(pool: BenchPool, tree: typeof TREE, count: number): Promise<TreeSamples> {
  const [member] = pool.members
  const mesh = await pool.mesh(0)
  const clients = pool.members.map(({ client }) => client)
  const samples: TreeSamples = { detections: [], framesPerTask: [], settlesPerHandoff: [], framesPerHandoff: [] }
  for (let index = 0; index < count + 3; index += 1) {
    const before = await frameCounts(clients)
    const job = await mesh.submit('tree', tree)
    await job.completion()
    const told = performance.timeOrigin + performance.now()
    const items = (await member?.client.job(job.id, { items: true }))?.items ?? []
    const last = Math.max(...items.map(({ result }) => (result as { endedAt: number }).endedAt))
    const after = await frameCounts(clients)
    if (index < 3) continue
    const handoffs = framesBetween(before, after, ['handoff'])
    samples.detections.push(told - last)
    samples.framesPerTask.push(framesBetween(before, after) / items.length)
    samples.settlesPerHandoff.push(framesBetween(before, after, ['settle']) / handoffs)
    samples.framesPerHandoff.push(framesBetween(before, after) / handoffs)
  }
  return samples
}

function report(): void {
  console.table(rows.map(summary))
  const machine = machineFacts(loadBefore)
  console.log(machineLine(machine))
  if (values.out === undefined) return
  const document = { at: new Date().toISOString(), commit: commit(), machine, rows }
  writeFileSync(values.out, `${JSON.stringify(document, null, 1)}\n`)
}
