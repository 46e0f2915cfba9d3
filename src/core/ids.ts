/**
 * Names of the protocol, and how they are written.
 *
 * Every name is a plain string or number so that frames, journal records and map keys need no conversion; the aliases
 * say which name is meant.
 */

/** libp2p peer id of a daemon, base58btc ("12D3Koo..."), Ed25519 only. */
export type PeerId = string

/** Id of a job: 26 lower-case base32 characters (128 random bits). It is also the id of its diffusing computation. */
export type JobId = string

/**
 * Place of a task in its job: indices of spawning from the root task down, joined by dots ("0.3.1").
 * The same in every re-run of the same parent, whoever runs it (termination-amendments C5).
 */
export type TaskPath = string

/** `${JobId}.${TaskPath}`: the id of a task that users see. */
export type TaskId = string

/** Engagement: number granted by the root to one boot of one daemon for one job; grows within the job, never reused. */
export type Engagement = number

/** Owner number of the virtual root of a job, which is no engagement. */
export const ROOT_ENGAGEMENT: Engagement = 0

/** Obligation id `engagement:sequence` of its owner: one attempt of one task, bound to at most one peer in its life (I8). */
export type ObligationId = string

/** Id of a fence, unique within its job: the engagement that it fences. */
export type FenceId = number

/** Milliseconds of the local monotonic clock; never compared between hosts. */
export type Monotonic = number

/**
 * One life of a daemon (C2). `incarnation` is on disk and grows by one with each start; `nonce` is random, so a
 * restored disk cannot pass for the boot that it copies.
 */
export interface Boot {
  readonly incarnation: number
  /** 16 lower-case hex digits. */
  readonly nonce: string
}

export function obligationId(owner: Engagement, sequence: number): ObligationId {
  return `${owner}:${sequence}`
}

export function taskId(job: JobId, path: TaskPath): TaskId {
  return `${job}.${path}`
}

export function childPath(parent: TaskPath, index: number): TaskPath {
  return `${parent}.${index}`
}

/** Undefined for a root task. */
export function parentPath(path: TaskPath): TaskPath | undefined {
  const dot = path.lastIndexOf('.')
  return dot < 0 ? undefined : path.slice(0, dot)
}

/** Number of tasks above this one in its job; 0 for a root task. */
export function depthOf(path: TaskPath): number {
  let depth = 0
  for (const character of path) if (character === '.') depth += 1
  return depth
}

/** Splits a task id; undefined when it is none. */
export function parseTaskId(id: TaskId): { job: JobId; path: TaskPath } | undefined {
  const dot = id.indexOf('.')
  if (dot <= 0 || dot === id.length - 1) return undefined
  return { job: id.slice(0, dot), path: id.slice(dot + 1) }
}

export function sameBoot(a: Boot, b: Boot): boolean {
  return a.incarnation === b.incarnation && a.nonce === b.nonce
}
