import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Job, StarlingError, type TaskItem } from '../sdk/index.ts'
import { BodyTally } from './body-tally.ts'
import { type Interruption, interrupt } from './interruption.ts'
import { Pool } from './pool.ts'
import { type DirectoryReport, differences, sumOf, type TreeTotal, WALK, walkSequentially } from './tree-walk.ts'

/** How often the live view is drawn anew. */
const VIEW_INTERVAL_MS = 200

export interface DemoView {
  /** A step of the preparation. */
  step(text: string): void
  /** The running job, every VIEW_INTERVAL_MS. */
  progress(job: Job, names: readonly string[]): void
  /** The first job is over and compared; the second one follows. */
  compared(first: FirstAct): void
  /** Something that happens while the second job runs, `sinceMs` after it was submitted. */
  event(sinceMs: number, text: string): void
}

/** One walk by the pool, compared with the sequential one. */
export interface PoolWalk {
  readonly job: Job
  readonly pool: TreeTotal
  readonly identical: boolean
  /** Directories on which the two walks disagree. */
  readonly differing: readonly string[]
  readonly poolMs: number
}

/** The walk that nobody disturbs. */
export interface FirstAct extends PoolWalk {
  readonly sequential: TreeTotal
  readonly sequentialMs: number
  /** Frames that the five daemons sent to each other for the job, by kind, heartbeats and gossip not counted. */
  readonly controlFrames: number
  /** How they found each other, as measured by the first daemon. */
  readonly discovery: 'mdns' | 'static peers'
  readonly discoveryDetail: string | undefined
}

export interface DemoResult extends FirstAct {
  /** The same job once more, while one of the daemons is killed. */
  readonly interrupted: PoolWalk & Interruption
}

/** A job of the pool that is over, with the reports of its tasks. */
interface Walked {
  readonly job: Job
  readonly reports: readonly DirectoryReport[]
  readonly ms: number
}

/**
 * The main job, end to end: five daemons walk a directory tree that nobody has listed, and say when it is over; one process
 * walks it again; then the pool does it once more while one of its daemons is killed. All sums are compared.
 * @throws StarlingError; nothing is left behind in any case.
 */
export async function runDemo(dir: string, view: DemoView, signal: AbortSignal): Promise<DemoResult> {
  const root = resolve(dir)
  await requireDirectory(root)
  let tally = new BodyTally()
  const pool = new Pool((name, note) => tally.note(name, note))
  try {
    await pool.start(text => view.step(text), signal)
    const first = await undisturbed(pool, root, view, signal)
    view.compared(first.act)
    view.step('the same job once more: one daemon is killed in the middle')
    tally = new BodyTally()
    const begun = performance.now()
    const event = (text: string) => view.event(performance.now() - begun, text)
    const walking = walk(pool, root, view, signal)
    const [second, interruption] = await Promise.all([
      walking,
      interrupt(pool, tally, first.act.job.tasks.total, walking, { event })
    ])
    event(`over: ${second.job.verdict}`)
    return { ...first.act, interrupted: { ...compared(second, first.sequential), ...interruption } }
  } finally {
    await pool.stop()
  }
}

/** Walks by the pool, then by this process, and compares. */
async function undisturbed(
  pool: Pool,
  root: string,
  view: DemoView,
  signal: AbortSignal
): Promise<{ act: FirstAct; sequential: readonly DirectoryReport[] }> {
  const { mdns } = (await founder(pool).client.status()).discovery
  const framesBefore = await controlFrames(pool)
  const walked = await walk(pool, root, view, signal)
  const frames = (await controlFrames(pool)) - framesBefore
  view.step('walking the same tree in one process, to compare')
  const begun = performance.now()
  const sequential = await walkSequentially(root, signal)
  const sequentialMs = performance.now() - begun
  const act: FirstAct = {
    ...compared(walked, sequential),
    sequential: sumOf(sequential),
    sequentialMs,
    controlFrames: frames,
    discovery: mdns.state === 'ok' ? 'mdns' : 'static peers',
    discoveryDetail: mdns.detail
  }
  return { act, sequential }
}

/** Hands the job in at the first daemon and waits for its end, which is shown as it comes. */
async function walk(pool: Pool, root: string, view: DemoView, signal: AbortSignal): Promise<Walked> {
  const { client } = founder(pool)
  const names = pool.members.map(({ name }) => name)
  const begun = performance.now()
  const { id } = await client.submit({ capability: WALK, input: { root, dir: '.' } })
  for (;;) {
    const job = await client.waitForJob(id, { timeoutMs: VIEW_INTERVAL_MS, signal })
    signal.throwIfAborted()
    if (job.verdict !== 'running') break
    view.progress(job, names)
  }
  const ms = performance.now() - begun
  const job = await client.job(id, { items: true })
  return { job, reports: (job.items ?? []).map(reportOf), ms }
}

function compared({ job, reports, ms }: Walked, sequential: readonly DirectoryReport[]): PoolWalk {
  const pool = sumOf(reports)
  const differing = differences(reports, sequential)
  const same = pool.digest === sumOf(sequential).digest && differing.length === 0
  return { job, pool, identical: job.verdict === 'completed' && same, differing, poolMs: ms }
}

function founder({ members: [first] }: Pool) {
  if (first === undefined) throw new StarlingError('INTERNAL', 'no daemon was started')
  return first
}

/** @throws StarlingError INVALID_INPUT */
async function requireDirectory(path: string): Promise<void> {
  const stats = await stat(path).catch((cause: Error) => {
    throw new StarlingError('INVALID_INPUT', `${path} cannot be walked: ${cause.message}`, { hint: WHICH_TREE, cause })
  })
  if (stats.isDirectory()) return
  throw new StarlingError('INVALID_INPUT', `${path} is no directory`, { hint: WHICH_TREE })
}

const WHICH_TREE = 'give a directory: starling demo src; without one it is the current directory'

function reportOf(item: TaskItem): DirectoryReport {
  if (item.result === undefined) {
    throw new StarlingError('INTERNAL', `task ${item.id} has no report (${item.outcome ?? 'no outcome'})`)
  }
  return item.result as DirectoryReport
}

/** Frames sent for jobs by all daemons so far. */
async function controlFrames(pool: Pool): Promise<number> {
  const texts = await Promise.all(pool.members.map(({ client }) => client.metrics()))
  let frames = 0
  for (const line of texts.join('\n').split('\n')) {
    const match = /^starling_job_frames_sent_total\{[^}]*\} (\d+)/.exec(line)
    frames += Number(match?.[1] ?? 0)
  }
  return frames
}
