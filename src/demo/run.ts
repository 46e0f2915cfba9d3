import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Job, StarlingError, type TaskItem } from '../sdk/index.ts'
import { Pool } from './pool.ts'
import { type DirectoryReport, differences, sumOf, type TreeTotal, WALK, walkSequentially } from './tree-walk.ts'

/** How often the live view is drawn anew. */
const VIEW_INTERVAL_MS = 200

export interface DemoView {
  /** A step of the preparation. */
  step(text: string): void
  /** The running job, every VIEW_INTERVAL_MS. */
  progress(job: Job, names: readonly string[]): void
}

export interface DemoResult {
  readonly job: Job
  readonly items: readonly TaskItem[]
  readonly pool: TreeTotal
  readonly sequential: TreeTotal
  readonly identical: boolean
  /** Directories on which the two walks disagree. */
  readonly differing: readonly string[]
  readonly poolMs: number
  readonly sequentialMs: number
  /** Frames that the five daemons sent to each other for the job, by kind, heartbeats and gossip not counted. */
  readonly controlFrames: number
  /** How they found each other, as measured by the first daemon. */
  readonly discovery: 'mdns' | 'static peers'
  readonly discoveryDetail: string | undefined
}

/**
 * The main job, end to end: five daemons walk a directory tree that nobody has listed, and say when it is over; then one
 * process walks it again and both sums are compared. @throws StarlingError; nothing is left behind in any case.
 */
export async function runDemo(dir: string, view: DemoView, signal: AbortSignal): Promise<DemoResult> {
  const root = resolve(dir)
  await requireDirectory(root)
  const pool = new Pool()
  try {
    await pool.start(text => view.step(text), signal)
    const [first] = pool.members
    if (first === undefined) throw new StarlingError('INTERNAL', 'no daemon was started')
    const { client } = first
    const { discovery } = await client.status()
    const before = await controlFrames(pool)
    const begun = performance.now()
    const { id } = await client.submit({ capability: WALK, input: { root, dir: '.' } })
    const names = pool.members.map(({ name }) => name)
    for (;;) {
      const job = await client.waitForJob(id, { timeoutMs: VIEW_INTERVAL_MS, signal })
      signal.throwIfAborted()
      if (job.verdict !== 'running') break
      view.progress(job, names)
    }
    const poolMs = performance.now() - begun
    const frames = (await controlFrames(pool)) - before
    const job = await client.job(id, { items: true })
    view.step('walking the same tree in one process, to compare')
    const walkBegun = performance.now()
    const walked = await walkSequentially(root, signal)
    const sequentialMs = performance.now() - walkBegun
    const items = job.items ?? []
    const reports = items.map(reportOf)
    const [total, sequential] = [sumOf(reports), sumOf(walked)]
    const differing = differences(reports, walked)
    const identical = job.verdict === 'completed' && total.digest === sequential.digest && differing.length === 0
    const { mdns } = discovery
    return {
      job,
      items,
      pool: total,
      sequential,
      identical,
      differing,
      poolMs,
      sequentialMs,
      controlFrames: frames,
      discovery: mdns.state === 'ok' ? 'mdns' : 'static peers',
      discoveryDetail: mdns.detail
    }
  } finally {
    await pool.stop()
  }
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
