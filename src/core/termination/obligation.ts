import type { Handoff, TaskError, TaskSpec } from '../frames.ts'
import type { Engagement, JobId, ObligationId, PeerId } from '../ids.ts'

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
  /** Earlier attempts of this task that were given back. */
  readonly returns: number
  binding: Binding | undefined
}

export interface Binding {
  readonly to: PeerId
  readonly toEngagement: Engagement
  readonly request: number
}

export function attemptOf(obligation: Obligation): number {
  return obligation.attempts.at(-1) ?? 1
}

/** The next attempt of the same task under a new name. */
export function reissued(obligation: Obligation, id: ObligationId): Obligation {
  return {
    id,
    task: obligation.task,
    attempts: [...obligation.attempts.slice(0, -1), attemptOf(obligation) + 1],
    returns: obligation.returns + 1,
    binding: undefined
  }
}

export function handoffOf(
  of: { job: JobId; root: PeerId; ownerEngagement: Engagement },
  obligation: Obligation,
  binding: Binding
): Handoff {
  const { id, task, attempts } = obligation
  const { toEngagement, request } = binding
  return { kind: 'handoff', ...of, obligation: id, toEngagement, request, task, attempts }
}

export const LOST_ERROR: TaskError = { code: 'TASK_LOST', message: 'The host of this task was lost before it settled.' }

export const RETURNED_ERROR: TaskError = {
  code: 'TASK_RETURNED',
  message: 'Hosts gave this task back unfinished too often.'
}

export const CANCELLED_ERROR: TaskError = { code: 'TASK_CANCELLED', message: 'Cancelled before it began.' }

export const DAMAGED_ERROR: TaskError = {
  code: 'TASK_LOST',
  message: 'The journal of this job is damaged: what was handed out is not known any more.'
}
