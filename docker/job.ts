import { rmSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { noteVerdict, VERDICT_EXIT } from '../dist/cli/output/job.js'
import { printTable } from '../dist/cli/output/table.js'
import { Terminal } from '../dist/cli/output/terminal.js'
import { type DirectoryReport, differences, sumOf, WALK, walkSequentially } from '../dist/demo/tree-walk.js'
import { DaemonClient, type Job, type Peer, StarlingError } from '../dist/sdk/index.js'

/**
 * The `job` service of the compose demo: waits until the members see each other, has them walk /data, and compares with
 * one process. Prints the verdict and who did how much; the exit code is that of the verdict.
 */
const ROOT = process.env.WALK_ROOT || '/data'

/** Members that the job waits for. */
const MEMBERS = 5

/** Longest wait for them: a build machine that starts them all at once is slow. */
const MEMBERS_WAIT_MS = 180_000

/** Longest time for the job: a tree that needs more is no demo. */
const JOB_WAIT_MS = 600_000

/** Tasks that have ended when the job counts as being in its middle. */
const MIDDLE_TASKS = 50

/** Tells the services that break something that now is the time. */
const MIDDLE_FILE = '/swarm/job-in-the-middle'

const POLL_MS = 100

/** Lost tasks that are named; `starling job` lists all. */
const LOST_SHOWN_MAX = 5

const client = new DaemonClient()
const terminal = new Terminal(process.stdout, process.stderr, process.env)

process.exitCode = await run().catch((error: unknown) => {
  if (!(error instanceof StarlingError)) throw error
  terminal.note(`error: ${error.code}: ${error.message}`)
  return 1
})
client.close()

async function run(): Promise<number> {
  rmSync(MIDDLE_FILE, { force: true })
  const members = await untilAllServe()
  terminal.out(`walking ${ROOT} with ${members.map(({ name }) => name).join(', ')}`)
  const { id } = await client.submit({ capability: WALK, input: { root: ROOT, dir: '.' } })
  await untilOver(id)
  rmSync(MIDDLE_FILE, { force: true })
  const job = await client.job(id, { items: true })
  printShares(job)
  await compare(job)
  if (job.lost.length > 0) {
    const more = job.lost.length > LOST_SHOWN_MAX ? ', ...' : ''
    terminal.out(`lost: ${job.lost.slice(0, LOST_SHOWN_MAX).join(', ')}${more}`)
  }
  noteVerdict(terminal, job)
  terminal.out(`verdict: ${job.verdict}`)
  return VERDICT_EXIT[job.verdict]
}

/** Resolves with the members that serve, as soon as there are MEMBERS. @throws StarlingError TIMED_OUT */
async function untilAllServe(): Promise<Peer[]> {
  const end = performance.now() + MEMBERS_WAIT_MS
  for (;;) {
    const peers = await client.peers().catch((error: unknown) => {
      if (error instanceof StarlingError && error.code === 'DAEMON_NOT_RUNNING') return []
      throw error
    })
    const serving = peers.filter(
      ({ state, capabilities }) => state === 'alive' && capabilities.some(({ name }) => name === WALK)
    )
    if (serving.length >= MEMBERS) return serving
    if (performance.now() > end) {
      const seen = peers.map(({ name, state }) => `${name} ${state}`).join(', ') || 'nobody'
      throw new StarlingError('TIMED_OUT', `${serving.length} of ${MEMBERS} members serve ${WALK}; seen: ${seen}`)
    }
    await setTimeout(POLL_MS)
  }
}

async function untilOver(id: string): Promise<void> {
  const end = performance.now() + JOB_WAIT_MS
  let told = false
  for (;;) {
    const { verdict, progress } = await client.waitForJob(id, { timeoutMs: POLL_MS })
    if (verdict !== 'running') return
    if (!told && (progress?.ended ?? 0) >= MIDDLE_TASKS) {
      told = true
      writeFileSync(MIDDLE_FILE, `${id}\n`, { mode: 0o644 })
    }
    if (performance.now() > end) throw new StarlingError('TIMED_OUT', `job ${id} is not over`)
  }
}

function printShares(job: Job): void {
  const { total } = job.tasks
  const rows = job.peers.map(({ name, tasks }) => [name, String(tasks), `${((100 * tasks) / total).toFixed(0)} %`])
  printTable(terminal, ['PEER', 'TASKS', 'SHARE'], rows)
}

/** What the pool has reported beside what one process sees: a part when tasks were lost, and never anything else. */
async function compare(job: Job): Promise<void> {
  const reports = (job.items ?? []).flatMap(({ result }) => (result === undefined ? [] : [result as DirectoryReport]))
  const alone = await walkSequentially(ROOT)
  const [pool, sequential] = [sumOf(reports), sumOf(alone)]
  terminal.out(`by the pool:    ${pool.directories} directories, ${pool.files} files, ${pool.lines} lines`)
  terminal.out(
    `by one process: ${sequential.directories} directories, ${sequential.files} files, ${sequential.lines} lines`
  )
  const seen = new Set(reports.map(({ dir }) => dir))
  const different = differences(reports, alone).filter(dir => seen.has(dir)).length
  const missing = alone.filter(({ dir }) => !seen.has(dir)).length
  if (different > 0) terminal.out(`DIFFERENT in ${different} directories: was something written there meanwhile?`)
  else if (missing > 0) terminal.out(`missing: ${missing} directories; the others are the same by both`)
  else terminal.out(`identical: digest ${pool.digest.slice(0, 16)} by both`)
}
