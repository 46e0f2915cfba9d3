import type { DaemonClient } from '../sdk/daemon-client.ts'
import type { Job } from '../wire/api/schemas.ts'
import { StarlingError } from '../wire/errors.ts'
import { type Cli, EXIT_INTERRUPTED, EXIT_TIMED_OUT } from './cli.ts'
import { noteVerdict, printResult, VERDICT_EXIT } from './output/job.ts'
import { asStarlingError } from './output/problem.ts'
import {
  PROGRESS_INTERVAL_MS,
  type ProgressStyle,
  progressLine,
  progressStyle,
  progressView
} from './output/progress.ts'

export interface FollowOptions {
  readonly json?: true
  readonly quiet?: true
  readonly verbose?: true
  readonly timeoutMs?: number | undefined
  /** Ctrl-C before the following has begun: the job is there already, and its id must not be lost. */
  readonly interrupted?: AbortSignal
}

/**
 * Waits for a job and prints its result; progress and verdict go to stderr. The job does not depend on it: Ctrl-C, a
 * timeout or a lost daemon only end the waiting, and the way to take it up again is printed.
 *
 * @returns the exit code: of the verdict, of a timeout, or of the interruption
 */
export async function followJob(cli: Cli, client: DaemonClient, id: string, options: FollowOptions): Promise<number> {
  const { terminal } = cli
  const style = progressStyle(terminal, options)
  const end = await cli.interruptible(signal => {
    const either = options.interrupted === undefined ? signal : AbortSignal.any([signal, options.interrupted])
    return waitVisibly(cli, client, id, style, options.timeoutMs, either)
  })
  if (end === 'interrupted') {
    terminal.note(`interrupted: job ${id} goes on`)
    terminal.note(
      `${terminal.noteStyle('cyan', 'hint:')} wait for it: starling wait ${id}; stop it: starling cancel ${id}`
    )
    return EXIT_INTERRUPTED
  }
  if (options.json) terminal.json('Job', end)
  if (end.verdict === 'running') {
    terminal.note(`timed out: job ${end.id} is still running`)
    terminal.note(
      `${terminal.noteStyle('cyan', 'hint:')} wait on: starling wait ${end.id}; stop it: starling cancel ${end.id}`
    )
    return EXIT_TIMED_OUT
  }
  if (!options.json) printResult(terminal, end.result)
  if (!options.quiet) noteVerdict(terminal, end)
  return VERDICT_EXIT[end.verdict]
}

/** The job when it is over or, still running, when the time is over. */
async function waitVisibly(
  cli: Cli,
  client: DaemonClient,
  id: string,
  style: ProgressStyle,
  timeoutMs: number | undefined,
  signal: AbortSignal
): Promise<Job | 'interrupted'> {
  const view = await progressView(cli.terminal, style)
  const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs
  try {
    for (;;) {
      const leftMs = Math.max(0, Math.ceil(deadline - performance.now()))
      const job = await client.waitForJob(id, { timeoutMs: Math.min(leftMs, PROGRESS_INTERVAL_MS[style]), signal })
      if (job.verdict !== 'running') return job
      if (signal.aborted) return 'interrupted'
      if (performance.now() >= deadline) return job
      view.update(progressLine(job))
    }
  } catch (thrown) {
    if (signal.aborted) return 'interrupted'
    const error = asStarlingError(thrown)
    if (error.code !== 'DAEMON_NOT_RUNNING') throw error
    throw new StarlingError(error.code, error.message, {
      hint: `the job is kept; start the daemon with: starling up, then: starling wait ${id}`,
      cause: thrown
    })
  } finally {
    view.clear()
  }
}
