/**
 * Small benchmark on loopback: `npm run bench [-- --out FILE]`. Each row is measured beside its reference in the same
 * run; raw samples go to FILE as JSON. Quiet the machine first: the load average is printed and stored.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { BenchPool } from './pool.ts'
import { type Row, summary } from './statistics.ts'

const ROUND_TRIPS = 300
const IN_FLIGHT = 64
const THROUGHPUT_JOBS = 2_000
const DETECTIONS = 20
const STARTS = 5
const TREE = { depth: 5, fanOut: 3 }

const { values } = parseArgs({ options: { out: { type: 'string' } } })
const rows: Row[] = []
const loadBefore = loadavg()

await starts()
await twoDaemons()
await fiveDaemons()
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
    const [member] = pool.members
    const mesh = await pool.mesh(0)
    const detections: number[] = []
    const framesPerTask: number[] = []
    for (let index = 0; index < DETECTIONS + 3; index += 1) {
      const before = await frames(pool)
      const job = await mesh.submit('tree', TREE)
      await job.completion()
      const told = performance.timeOrigin + performance.now()
      const items = (await member?.client.job(job.id, { items: true }))?.items ?? []
      const last = Math.max(...items.map(({ result }) => (result as { endedAt: number }).endedAt))
      if (index < 3) continue
      detections.push(told - last)
      framesPerTask.push(((await frames(pool)) - before) / items.length)
    }
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

async function frames(pool: BenchPool): Promise<number> {
  const texts = await Promise.all(pool.members.map(({ client }) => client.metrics()))
  return texts
    .join('\n')
    .split('\n')
    .reduce((sum, line) => {
      return sum + Number(/^starling_job_frames_sent_total\{[^}]*\} (\d+)/.exec(line)?.[1] ?? 0)
    }, 0)
}

function report(): void {
  console.table(rows.map(summary))
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, memoryBytes: totalmem(), node: process.version }
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim()
  console.log(
    `load average before ${loadBefore[0]?.toFixed(2)}, after ${loadavg()[0]?.toFixed(2)}; ${machine.cpus} cores, node ${machine.node}`
  )
  if (values.out === undefined) return
  writeFileSync(
    values.out,
    `${JSON.stringify({ at: new Date().toISOString(), commit, machine, loadBefore, rows }, null, 1)}\n`
  )
}
