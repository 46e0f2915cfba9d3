import { DEFAULT_POLICY, type Handoff, type TaskError, type TaskPolicy, type TaskSpec } from '../frames.ts'
import type { Engagement, JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { BACKOFF_MS_MAX, LOSSES_MAX, RETURNS_MAX } from '../limits.ts'

/**
 * One attempt of one child task, as its owner sees it: one unit of the owner's deficit (Dijkstra-Scholten), with a name
 * instead of a count. It is `placing` until it is bound to a host, then `sent` to that host alone for the rest of its
 * life (I8); the next attempt gets a new id.
 */
export interface Obligation {
  readonly id: ObligationId
  readonly task: TaskSpec
  /** Fencing token: attempt numbers from the root task down to this task (C6). */
  readonly attempts: readonly number[]
  /** How many earlier attempts ended in which way. */
  readonly past: Past
  /** When the task must have settled, by its owner's clock; undefined: whenever. */
  readonly deadlineAt: Monotonic | undefined
  binding: Binding | undefined
  /** Its deadline has passed: it is being cancelled, and will settle as failed. */
  expired: boolean
}

/** `left`: its host has left, or has given it back of its own accord. `returned`: what executed it has vanished. */
export type Reissue = 'returned' | 'lost' | 'left' | 'failed'

type Past = Readonly<Record<Reissue, number>>

export interface Binding {
  readonly to: PeerId
  readonly toEngagement: Engagement
  readonly request: number
}

const NEVER: Past = { returned: 0, lost: 0, left: 0, failed: 0 }

export function firstAttempt(
  id: ObligationId,
  task: TaskSpec,
  ownerAttempts: readonly number[],
  now: Monotonic
): Obligation {
  const { deadlineMs } = policyOf(task)
  const deadlineAt = deadlineMs === 0 ? undefined : now + deadlineMs
  return { id, task, attempts: [...ownerAttempts, 1], past: NEVER, deadlineAt, binding: undefined, expired: false }
}

export function policyOf(task: TaskSpec): TaskPolicy {
  return task.policy ?? DEFAULT_POLICY
}

export function attemptOf(obligation: Obligation): number {
  return obligation.attempts.at(-1) ?? 1
}

/** The next attempt of the same task under a new name. */
export function reissued(obligation: Obligation, id: ObligationId, why: Reissue): Obligation {
  const { attempts, past } = obligation
  return {
    ...obligation,
    id,
    attempts: [...attempts.slice(0, -1), attemptOf(obligation) + 1],
    past: { ...past, [why]: past[why] + 1 },
    binding: undefined
  }
}

/** Whether its owner may issue it once more after an attempt that ended like this (C11, retry policy). */
export function mayReissue(obligation: Obligation, why: Reissue): boolean {
  const { past, task, expired } = obligation
  if (expired) return false
  switch (why) {
    case 'returned':
      return past.returned < RETURNS_MAX
    case 'lost':
      return past.lost < LOSSES_MAX
    case 'left':
      return true
    case 'failed':
      return past.failed + 1 < policyOf(task).attemptsMax
  }
}

/** How long the next attempt is to wait: after failures twice as long each time; a task that is passed on for ever, too. */
export function backoffMs(obligation: Obligation): number {
  const { failed, left } = obligation.past
  const restless = left > RESTLESS_AFTER ? RESTLESS_WAIT_MS : 0
  if (failed === 0) return restless
  return Math.min(Math.max(restless, policyOf(obligation.task).backoffMs * 2 ** (failed - 1)), BACKOFF_MS_MAX)
}

/** Giving back costs a task nothing, so that hosts may come and go; beyond this it is slowed down, lest two hosts play with it. */
const RESTLESS_AFTER = 5
const RESTLESS_WAIT_MS = 1_000

export function handoffOf(
  of: { job: JobId; root: PeerId; ownerEngagement: Engagement },
  obligation: Obligation,
  binding: Binding
): Handoff {
  const { id, task, attempts } = obligation
  const { toEngagement, request } = binding
  return { kind: 'handoff', ...of, obligation: id, toEngagement, request, task, attempts }
}

/** What a task that no host can be found for ends as: a loss that could not be made good stays a loss. */
export function unplaceableOutcome(obligation: Obligation): 'failed' | 'lost' {
  return obligation.past.lost > 0 ? 'lost' : 'failed'
}

export const LOST_ERROR: TaskError = {
  code: 'TASK_LOST',
  message: `The host of this task was lost before it settled, and so were those of ${LOSSES_MAX} earlier attempts.`
}

/** Instead of LOST_ERROR when the job as a whole has lost too much. */
export const JOB_LOSSES_ERROR: TaskError = {
  code: 'TASK_LOST',
  message: 'The host of this task was lost, and the job has lost too many hosts to try again.'
}

/** Says of a settle `returned` that the host did not give the task back of its own accord: RETURNS_MAX counts those. */
export const VANISHED_ERROR: TaskError = { code: 'TASK_RETURNED', message: 'What executed this task has vanished.' }

export const RETURNED_ERROR: TaskError = {
  code: 'TASK_RETURNED',
  message: 'Hosts gave this task back unfinished too often.'
}

export const CANCELLED_ERROR: TaskError = { code: 'TASK_CANCELLED', message: 'Cancelled before it began.' }

export const DEADLINE_ERROR: TaskError = {
  code: 'DEADLINE_EXCEEDED',
  message: 'The task had not settled by its deadline.'
}

export const DAMAGED_ERROR: TaskError = {
  code: 'TASK_LOST',
  message: 'The journal of this job is damaged: what was handed out is not known any more.'
}
