import type { Job, JobSummary, Placement, TaskItem, Verdict } from '../../wire/api/schemas.ts'
import { printFields } from './fields.ts'
import { printTable } from './table.ts'
import type { Terminal } from './terminal.ts'
import { age, count, duration, oneLine, shortJobId, shortPeerId } from './text.ts'

/** Tasks listed by `job` without `--all`: what fits on a screen. */
export const TASKS_SHOWN_MAX = 20

/** Characters of a result or an error that are shown in an overview. */
const OVERVIEW_CHARS = 200

/** Exit code for the verdict of a job that is over; a running one has timed out for whoever waited. */
export const VERDICT_EXIT = {
  running: 8,
  completed: 0,
  'completed-with-failures': 4,
  cancelled: 4,
  incomplete: 5
} as const satisfies Record<Verdict, number>

const VERDICT_COLOUR = {
  running: 'blue',
  completed: 'green',
  'completed-with-failures': 'yellow',
  cancelled: 'yellow',
  incomplete: 'red'
} as const satisfies Record<Verdict, string>

/** Prints what a task or job has produced: text as it is, anything else as JSON, nothing for null. */
export function printResult(terminal: Terminal, result: unknown): void {
  if (result === undefined || result === null) return
  if (typeof result === 'string') terminal.raw(result)
  else terminal.out(JSON.stringify(result, null, terminal.stdout.isTTY ? 2 : undefined))
}

/** Prints how a job went to stderr, in one line, and its error in another. */
export function noteVerdict(terminal: Terminal, job: JobSummary): void {
  const { detectionMs } = job.timings
  const detected = detectionMs === null ? '' : `, known ${duration(detectionMs)} after the last task`
  const verdict = terminal.noteStyle(VERDICT_COLOUR[job.verdict], job.verdict)
  const took = tookMs(job)
  const time = took === undefined ? '' : ` in ${duration(took)}`
  terminal.note(`${verdict}: ${tally(job)} on ${count(job.peers.length, 'peer')}${time}${detected}`)
  if (job.error !== undefined) {
    terminal.note(`${terminal.noteStyle('red', 'error:')} ${job.error.code}: ${job.error.message}`)
  }
  if (job.verdict !== 'completed')
    terminal.note(`${terminal.noteStyle('cyan', 'hint:')} details: starling job ${job.id}`)
}

export function styledVerdict(terminal: Terminal, verdict: Verdict): string {
  return terminal.style(VERDICT_COLOUR[verdict], verdict)
}

/** "12 tasks, 1 failed, 2 lost". */
export function tally(job: JobSummary): string {
  const { total, failed, lost, cancelled } = job.tasks
  const bad = [
    [failed, 'failed'],
    [lost, 'lost'],
    [cancelled, 'cancelled']
  ] as const
  return [
    count(total, 'task'),
    ...bad.filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`)
  ].join(', ')
}

/** Prints everything about one job for people. */
export function printJob(terminal: Terminal, job: Job, options: { all: boolean; nowMs: number }): void {
  const { timings } = job
  const took = tookMs(job)
  const fields: [string, string][] = [
    ['job', `${job.id}  ${job.capability}`],
    ['verdict', styledVerdict(terminal, job.verdict)],
    ['tasks', `${tally(job)}, ${job.tasks.completed} completed`],
    ['peers', job.peers.map(peer => `${peer.name} ${peer.tasks}`).join(', ') || 'none yet'],
    ['submitted', `${age(timings.submittedAt, options.nowMs)} (${timings.submittedAt})`],
    ['took', took === undefined ? 'unknown' : duration(took)],
    ['detected', timings.detectionMs === null ? 'unknown' : `${duration(timings.detectionMs)} after the last task`]
  ]
  if (job.progress !== undefined) fields.push(['progress', progressText(job)])
  if (job.error !== undefined)
    fields.push(['error', oneLine(`${job.error.code}: ${job.error.message}`, OVERVIEW_CHARS)])
  if (job.result !== undefined && job.result !== null) {
    fields.push([
      'result',
      oneLine(typeof job.result === 'string' ? job.result : JSON.stringify(job.result), OVERVIEW_CHARS)
    ])
  }
  const again = (job.items ?? []).filter(({ attempt }) => attempt > 1).length
  if (again > 0) fields.push(['again', `${count(again, 'task')} took more than one attempt`])
  if (job.lost.length > 0) fields.push(['lost', cut(job.lost, options.all).join(', ')])
  printFields(terminal, fields)
  if (job.placement !== undefined) {
    terminal.out('')
    printPlacement(terminal, job.placement)
  }
  printItems(terminal, job, options)
  printLate(terminal, job, options)
}

/** Prints where the root task went or would go, and what spoke for and against each peer. */
export function printPlacement(terminal: Terminal, placement: Placement): void {
  const chosen = placement.candidates.find(candidate => candidate.peerId === placement.chosen)
  const where = placement.chosen === null ? 'no peer yet' : (chosen?.name ?? shortPeerId(placement.chosen))
  const waited = placement.waitedMs === null ? '' : `, after ${duration(placement.waitedMs)}`
  terminal.out(`placed on ${terminal.style('bold', where)}: ${placement.reason}${waited}`)
  if (placement.candidates.length === 0) return
  printTable(
    terminal,
    ['PEER', 'ELIGIBLE', 'FREE', 'AGE', 'REASON'],
    placement.candidates.map(candidate => [
      candidate.name,
      candidate.eligible ? 'yes' : 'no',
      candidate.free?.toString() ?? 'unknown',
      candidate.ageMs === null ? 'unknown' : duration(candidate.ageMs),
      candidate.reason
    ])
  )
}

/** "12 ended, 4 running, 3 waiting": soft figures of a running job. */
export function progressText(job: JobSummary): string {
  const { progress } = job
  if (progress === undefined) return 'progress unknown'
  return `${progress.ended} ended, ${progress.running} running, ${progress.queued + progress.waiting} waiting`
}

function printItems(terminal: Terminal, job: Job, options: { all: boolean }): void {
  const items = job.items ?? []
  if (items.length === 0) return
  const names = namesOf(job)
  terminal.out('')
  printTable(
    terminal,
    ['TASK', 'CAPABILITY', 'PEER', 'STATE', 'TRY', 'TOOK', 'ERROR'],
    cut(items, options.all).map(item => itemRow(item, names))
  )
  noteHidden(terminal, job, items.length - cut(items, options.all).length)
}

/** Ends that came after the task had been tried again: somebody may look for their traces. */
function printLate(terminal: Terminal, job: Job, options: { all: boolean }): void {
  const late = job.late ?? []
  if (late.length === 0) return
  const names = namesOf(job)
  terminal.out('')
  for (const { taskId, peerId, attempt, outcome } of cut(late, options.all)) {
    const what = `attempt ${attempt} of task ${taskId} on ${names.get(peerId) ?? shortPeerId(peerId)}`
    terminal.out(
      `${terminal.style('yellow', 'late:')} ${what} ended (${outcome}) after it was tried again; not counted`
    )
  }
  noteHidden(terminal, job, late.length - cut(late, options.all).length)
}

function namesOf(job: Job): ReadonlyMap<string, string> {
  return new Map(job.peers.map(peer => [peer.peerId, peer.name]))
}

function noteHidden(terminal: Terminal, job: Job, hidden: number): void {
  if (hidden > 0) terminal.out(`${hidden} more: starling job ${shortJobId(job.id)} --all`)
}

function itemRow(item: TaskItem, names: ReadonlyMap<string, string>): string[] {
  const took =
    item.startedAt === null || item.endedAt === null
      ? ''
      : duration(Math.max(0, Date.parse(item.endedAt) - Date.parse(item.startedAt)))
  return [
    item.id,
    item.capability,
    item.peerId === null ? '' : (names.get(item.peerId) ?? shortPeerId(item.peerId)),
    item.outcome ?? item.state,
    item.attempt.toString(),
    took,
    item.error === undefined ? '' : oneLine(`${item.error.code}: ${item.error.message}`, 80)
  ]
}

function cut<T>(items: readonly T[], all: boolean): readonly T[] {
  return all ? items : items.slice(0, TASKS_SHOWN_MAX)
}

function tookMs(job: JobSummary): number | undefined {
  const { submittedAt, announcedAt } = job.timings
  return announcedAt === null ? undefined : Math.max(0, Date.parse(announcedAt) - Date.parse(submittedAt))
}
