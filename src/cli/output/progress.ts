import type { JobSummary } from '../../wire/api/schemas.ts'
import { progressText } from './job.ts'
import type { Terminal } from './terminal.ts'
import { duration, shortJobId } from './text.ts'

/** How progress is shown: an animated line on a terminal, a line now and then in a log, or not at all. */
export type ProgressStyle = 'live' | 'lines' | 'none'

/** Milliseconds between two looks at a running job. A person sees four changes a second; a log wants few lines. */
export const PROGRESS_INTERVAL_MS = { live: 250, lines: 5_000, none: 60_000 } as const satisfies Record<
  ProgressStyle,
  number
>

export function progressStyle(
  terminal: Terminal,
  options: { json?: true | undefined; quiet?: true | undefined; verbose?: true | undefined }
): ProgressStyle {
  if (options.quiet) return 'none'
  const { isTTY, columns } = terminal.stderr
  if (isTTY && columns && !terminal.dumb) return 'live'
  return isTTY || options.verbose ? 'lines' : 'none'
}

/** A line on stderr about how something goes. */
export interface ProgressView {
  update(line: string): void
  /** Removes the animated line, so that what follows begins on a clean one. Idempotent. */
  clear(): void
}

export async function progressView(terminal: Terminal, style: ProgressStyle): Promise<ProgressView> {
  if (style === 'none') return { update() {}, clear() {} }
  if (style === 'lines') return { update: line => terminal.note(line), clear() {} }
  // Loaded here because it takes longer to load than the rest of a command takes to run.
  const { createLogUpdate } = await import('log-update')
  const live = createLogUpdate(terminal.stderr)
  const clear = (): void => {
    live.clear()
    // Shows the cursor again.
    live.done()
  }
  return { update: line => live(line), clear }
}

/** How a running job goes. */
export function progressLine(job: JobSummary): string {
  const peers = job.peers.length === 0 ? '' : `  on ${job.peers.map(peer => peer.name).join(', ')}`
  const elapsedMs = Math.max(0, Date.now() - Date.parse(job.timings.submittedAt))
  return `${shortJobId(job.id)}  ${progressText(job)}${peers}  ${duration(elapsedMs)}`
}
