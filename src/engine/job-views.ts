import {
  type HostProgress,
  judge,
  type LedgerState,
  type PeerId,
  type PlacementDecision,
  type TaskRecord,
  taskId
} from '../core/index.ts'
import type { JobSummary, Placement, TaskItem } from '../wire/api/index.ts'
import { fromBytes } from './json-bytes.ts'

const NOTHING = new Uint8Array(0)

/** Only topology of this version: anybody may hand work to anybody. */
const TOPOLOGY = 'mesh'

export interface Naming {
  nameOf(peer: PeerId): string
}

/** A recorded decision as the API shows it. */
export function placementView(decision: PlacementDecision): Placement {
  return {
    chosen: decision.chosen,
    reason: decision.reason,
    candidates: decision.candidates.map(({ peer, ...rest }) => ({ peerId: peer, ...rest })),
    waitedMs: decision.waitedMs
  }
}

/** A job that is over. `announcedAt`: wall clock. */
export function finishedJob(
  state: LedgerState,
  records: readonly TaskRecord[],
  times: { announcedAt: number; detectionMs: number | undefined },
  names: Naming
): JobSummary {
  const { verdict, lostPaths, ...tasks } = judge(records, state.cancelRequested)
  const late = records.filter(({ outcome }) => outcome === 'late').map(record => lateEnd(state.job, record))
  const { announcedAt, detectionMs } = times
  const result = fromBytes(state.result ?? NOTHING)
  const error = 'error' in result ? result.error : state.error
  return {
    ...headOf(state),
    verdict,
    result: result.value ?? null,
    ...(error === undefined ? {} : { error }),
    lost: lostPaths.map(path => taskId(state.job, path)),
    ...(late.length === 0 ? {} : { late }),
    tasks,
    peers: sharesOf(records, names),
    timings: {
      submittedAt: iso(state.submitted.submittedAt),
      lastTaskEndedAt: detectionMs === undefined ? null : iso(announcedAt - detectionMs),
      announcedAt: iso(announcedAt),
      detectionMs: detectionMs ?? null
    }
  }
}

/** A job that runs: its counts are sums of what its hosts said last. */
export function runningJob(
  state: LedgerState,
  progress: readonly HostProgress[],
  waiting: number,
  now: number,
  names: Naming
): JobSummary {
  const sum = { running: 0, queued: 0, ended: 0, failed: 0, spawned: 0 }
  let oldest = now
  for (const host of progress) {
    sum.running += host.running
    sum.queued += host.queued
    sum.ended += host.ended
    sum.failed += host.failed
    sum.spawned += host.spawned
    oldest = Math.min(oldest, host.at)
  }
  const { failed, ...counts } = sum
  const none = { lastTaskEndedAt: null, announcedAt: null, detectionMs: null }
  return {
    ...headOf(state),
    verdict: 'running',
    result: null,
    lost: [],
    tasks: { total: 1 + sum.spawned, completed: sum.ended - failed, failed, lost: 0, cancelled: 0 },
    peers: progress.map(({ peer, ended }) => ({ peerId: peer, name: names.nameOf(peer), tasks: ended })),
    timings: { submittedAt: iso(state.submitted.submittedAt), ...none },
    progress: { ...counts, waiting, ageMs: now - oldest }
  }
}

/** Tasks of a finished job, by path. */
export function taskItems(state: LedgerState, records: readonly TaskRecord[]): TaskItem[] {
  const counted = records.filter(({ outcome }) => outcome !== 'late')
  return counted.sort((a, b) => comparePaths(a.path, b.path)).map(record => taskItem(state.job, record))
}

function lateEnd(job: string, { path, peer, attempt, error }: TaskRecord): NonNullable<JobSummary['late']>[number] {
  return { taskId: taskId(job, path), peerId: peer, attempt, outcome: error === undefined ? 'completed' : 'failed' }
}

function taskItem(job: string, record: TaskRecord): TaskItem {
  const { path, capability, outcome, attempt, resultDigest, result, startedAt, endedAt, error } = record
  const dot = path.lastIndexOf('.')
  const value = fromBytes(result)
  const problem = 'error' in value ? value.error : error
  const state = outcome === 'completed' ? 'completed' : outcome === 'cancelled' ? 'canceled' : 'failed'
  return {
    id: taskId(job, path),
    parent: dot < 0 ? null : taskId(job, path.slice(0, dot)),
    capability,
    peerId: record.peer,
    state,
    outcome: outcome === 'returned' || outcome === 'late' ? null : outcome,
    attempt,
    resultDigest: resultDigest === '' ? null : resultDigest,
    ...(value.value === undefined ? {} : { result: value.value }),
    usage: { source: 'unknown' },
    startedAt: startedAt === 0 ? null : iso(startedAt),
    endedAt: endedAt === 0 ? null : iso(endedAt),
    ...(problem === undefined ? {} : { error: problem })
  }
}

function headOf(state: LedgerState): Pick<JobSummary, 'id' | 'capability' | 'topology' | 'placement'> {
  const placement =
    state.placement === undefined ? {} : { placement: placementView(state.placement as PlacementDecision) }
  return { id: state.job, capability: state.submitted.capability, topology: TOPOLOGY, ...placement }
}

function sharesOf(records: readonly TaskRecord[], names: Naming): JobSummary['peers'] {
  const shares = new Map<PeerId, number>()
  for (const { peer, outcome } of records) {
    if (outcome === 'completed' || outcome === 'failed') shares.set(peer, (shares.get(peer) ?? 0) + 1)
  }
  const peers = [...shares].map(([peerId, tasks]) => ({ peerId, name: names.nameOf(peerId), tasks }))
  return peers.sort((a, b) => b.tasks - a.tasks)
}

/** Parents before children, siblings in the order of spawning. */
function comparePaths(a: string, b: string): number {
  const [left, right] = [a.split('.'), b.split('.')]
  for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
    const difference = Number(left[index]) - Number(right[index])
    if (difference !== 0) return difference
  }
  return left.length - right.length
}

function iso(wall: number): string {
  return new Date(wall).toISOString()
}
