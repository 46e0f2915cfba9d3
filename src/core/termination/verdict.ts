import type { TaskRecord } from '../frames.ts'
import type { TaskPath } from '../ids.ts'

/** How a job ended. `incomplete`: a part of it was lost with its host and is named. */
export type Verdict = 'completed' | 'completed-with-failures' | 'incomplete' | 'cancelled'

export interface Judgement {
  readonly verdict: Verdict
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly lost: number
  readonly cancelled: number
  /** The topmost lost tasks; what they had spawned is unknown. */
  readonly lostPaths: readonly TaskPath[]
}

/** The verdict that the records of a job's tasks add up to. A lost part outweighs a failure, a cancellation all. */
export function judge(records: readonly Pick<TaskRecord, 'path' | 'outcome'>[], cancelRequested: boolean): Judgement {
  const counts = { completed: 0, failed: 0, lost: 0, cancelled: 0 }
  const lostPaths: TaskPath[] = []
  for (const { path, outcome } of records) {
    if (outcome === 'returned' || outcome === 'late') continue
    counts[outcome] += 1
    if (outcome === 'lost') lostPaths.push(path)
  }
  const total = counts.completed + counts.failed + counts.lost + counts.cancelled
  let verdict: Verdict = 'completed'
  if (counts.failed > 0) verdict = 'completed-with-failures'
  if (counts.lost > 0) verdict = 'incomplete'
  if (cancelRequested && counts.cancelled > 0) verdict = 'cancelled'
  return { verdict, total, ...counts, lostPaths }
}
