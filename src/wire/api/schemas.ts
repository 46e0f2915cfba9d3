import * as z from 'zod'
import { DRAIN_STATES } from '../../core/frames.ts'
import {
  ATTEMPTS_MAX,
  BACKOFF_MS_MAX,
  CAPABILITY_NAME_CHARS_MAX,
  CAPABILITY_NAME_PATTERN,
  DEADLINE_MS_MAX
} from '../../core/limits.ts'

/**
 * Shapes of the control API, shared by server, SDK and command line (design contract). Fields may be added, never
 * renamed or dropped; readers ignore what they do not know. Times are RFC 3339, durations end in `Ms`.
 */
export { API_VERSION, document } from './document.ts'

const role = z.enum(['submitter', 'worker', 'admin'])
const time = z.iso.datetime()

export const capabilityName = z.string().min(1).max(CAPABILITY_NAME_CHARS_MAX).regex(CAPABILITY_NAME_PATTERN)

export const readySchema = z.object({
  peerId: z.string(),
  name: z.string(),
  socket: z.string(),
  listen: z.array(z.string()),
  pid: z.number().int(),
  /** Version of the program. */
  version: z.string()
})
export type Ready = z.infer<typeof readySchema>

export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  hint: z.string().optional(),
  requestId: z.string()
})
export type Problem = z.infer<typeof problemSchema>

export const statusSchema = z.object({
  self: z.object({
    peerId: z.string(),
    name: z.string(),
    version: z.string(),
    pid: z.number().int(),
    startedAt: time,
    listen: z.array(z.string()),
    uptimeMs: z.number()
  }),
  swarm: z.object({ id: z.string(), role }),
  discovery: z.object({
    mdns: z.object({ state: z.enum(['ok', 'silent', 'failed', 'off']), detail: z.string().optional() })
  }),
  peers: z.object({ alive: z.number(), suspect: z.number(), dead: z.number() }),
  jobs: z.object({ running: z.number() }),
  agents: z.object({ running: z.number(), paused: z.number() }),
  warnings: z.array(z.string())
})
export type Status = z.infer<typeof statusSchema>

export const peerSchema = z.object({
  peerId: z.string(),
  name: z.string(),
  self: z.boolean(),
  state: z.enum(['alive', 'suspect', 'dead', 'left']),
  role: role.nullable(),
  capabilities: z.array(z.object({ name: z.string(), slots: z.number(), free: z.number() })),
  load: z.object({ running: z.number(), queued: z.number() }),
  /** Null until measured. */
  rttMs: z.number().nullable(),
  addresses: z.array(z.string()),
  /** Takes no new work: `draining` while it still holds some, then `drained`. */
  drain: z.enum(DRAIN_STATES),
  /** When the newest advertisement of this peer arrived; null when none has. */
  asOf: time.nullable()
})
export type Peer = z.infer<typeof peerSchema>

export const verdictSchema = z.enum(['running', 'completed', 'completed-with-failures', 'incomplete', 'cancelled'])
export type Verdict = z.infer<typeof verdictSchema>

export const errorSchema = z.object({ code: z.string(), message: z.string() })

/** Why a task went where it went: written when it was bound, shown by `job` and `run --dry-run`. */
export const placementSchema = z.object({
  /** Null while it waits for a host, and in a dry run when nobody is free. */
  chosen: z.string().nullable(),
  reason: z.string(),
  candidates: z.array(
    z.object({
      peerId: z.string(),
      name: z.string(),
      eligible: z.boolean(),
      reason: z.string(),
      free: z.number().nullable(),
      ageMs: z.number().nullable()
    })
  ),
  waitedMs: z.number().nullable()
})
export type Placement = z.infer<typeof placementSchema>

export const jobSummarySchema = z.object({
  id: z.string(),
  capability: z.string(),
  topology: z.string(),
  verdict: verdictSchema,
  /** Parsed JSON; null until there is one. Left out of lists. */
  result: z.unknown().optional(),
  error: errorSchema.optional(),
  lost: z.array(z.string()),
  /**
   * Ends that became known after their host was taken for lost and the task was tried again. They changed nothing; the
   * counted attempt of the same task is among the items.
   */
  late: z
    .array(
      z.object({
        taskId: z.string(),
        peerId: z.string(),
        attempt: z.number(),
        outcome: z.enum(['completed', 'failed'])
      })
    )
    .optional(),
  tasks: z.object({
    total: z.number(),
    completed: z.number(),
    failed: z.number(),
    lost: z.number(),
    cancelled: z.number()
  }),
  peers: z.array(z.object({ peerId: z.string(), name: z.string(), tasks: z.number() })),
  timings: z.object({
    submittedAt: time,
    lastTaskEndedAt: time.nullable(),
    announcedAt: time.nullable(),
    /** From the end of the last task body to the announcement, by monotonic clocks and half round trips; null while running. */
    detectionMs: z.number().nullable()
  }),
  placement: placementSchema.optional(),
  /** While it runs: sums of the newest reports of its hosts, a soft figure with its age. */
  progress: z
    .object({
      running: z.number(),
      queued: z.number(),
      ended: z.number(),
      spawned: z.number(),
      waiting: z.number(),
      ageMs: z.number()
    })
    .optional()
})
export type JobSummary = z.infer<typeof jobSummarySchema>

export const taskItemSchema = z.object({
  id: z.string(),
  parent: z.string().nullable(),
  capability: z.string(),
  peerId: z.string().nullable(),
  state: z.enum(['submitted', 'working', 'completed', 'failed', 'canceled']),
  outcome: z.enum(['completed', 'failed', 'cancelled', 'lost']).nullable(),
  attempt: z.number(),
  resultDigest: z.string().nullable(),
  /** Results of at most 2 KiB; bigger ones only by their digest. */
  result: z.unknown().optional(),
  /** Tokens of model calls; "unknown" until agents are metered. */
  usage: z.object({ source: z.enum(['gateway', 'agent', 'unknown']) }),
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  error: errorSchema.optional()
})
export type TaskItem = z.infer<typeof taskItemSchema>

export const jobSchema = jobSummarySchema.extend({ items: z.array(taskItemSchema).optional() })
export type Job = z.infer<typeof jobSchema>

/** What the owner of a task does when it fails, is lost or takes too long; the same for jobs and for children. */
const policy = {
  /** Never begun while an earlier attempt might still run anywhere: a lost host then delays it until that is certain. */
  exclusive: z.boolean().optional(),
  /** Attempts that may fail in all, and the wait before the second one (doubled for each later one). 1 by default. */
  retry: z
    .strictObject({
      attempts: z.number().int().min(1).max(ATTEMPTS_MAX),
      backoffMs: z.number().int().min(0).max(BACKOFF_MS_MAX).optional()
    })
    .optional(),
  /** It fails with DEADLINE_EXCEEDED when it has not settled after so long, all attempts included. */
  deadlineMs: z.number().int().min(1).max(DEADLINE_MS_MAX).optional()
}
export type PolicyRequest = z.infer<z.ZodObject<typeof policy>>

export const submitRequestSchema = z.strictObject({
  ...policy,
  capability: capabilityName,
  /** Any JSON value; null when left out. */
  input: z.unknown().optional(),
  /** Id or unique prefix, or name, of the only peer that may run the root task. */
  on: z.string().min(1).max(128).optional(),
  /** Idempotency key: the same key and the same submission give the same job. */
  id: z.string().min(1).max(200).optional(),
  traceparent: z.string().max(64).optional()
})
export type SubmitRequest = z.infer<typeof submitRequestSchema>

export const spawnRequestSchema = z.strictObject({
  ...policy,
  capability: capabilityName,
  input: z.unknown().optional(),
  /** Attempt of the spawning task, from STARLING_ATTEMPT; refused when it is not the current one. */
  attempt: z.number().int().min(1).optional()
})
export type SpawnRequest = z.infer<typeof spawnRequestSchema>

export const childOutcomeSchema = z.object({
  taskId: z.string(),
  outcome: z.enum(['completed', 'failed', 'cancelled', 'lost']),
  result: z.unknown().optional(),
  error: errorSchema.optional()
})

/** CloudEvents 1.0; `id` grows by one within `source`, a gap means loss. */
export const eventSchema = z.object({
  specversion: z.literal('1.0'),
  id: z.string(),
  source: z.string(),
  type: z.string(),
  time: time,
  subject: z.string().optional(),
  data: z.unknown().optional()
})
export type Event = z.infer<typeof eventSchema>

export const tokenRequestSchema = z.strictObject({
  /** How long it may be redeemed, in milliseconds. */
  ttlMs: z
    .number()
    .int()
    .min(1_000)
    .max(30 * 24 * 3_600_000)
    .optional(),
  uses: z.number().int().min(1).max(1_000).optional()
})
export type TokenRequest = z.infer<typeof tokenRequestSchema>

export const tokenSchema = z.object({ token: z.string(), role, uses: z.number(), expiresAt: time })
export type Token = z.infer<typeof tokenSchema>

/** Of the peer in the path: its id, a unique prefix of it, or its name. */
export const drainRequestSchema = z.strictObject({
  /** What still runs after so long is moved to other hosts; left out: everything may end in its own time. */
  deadlineMs: z.number().int().min(1).max(DEADLINE_MS_MAX).optional(),
  /** Take work again. */
  end: z.boolean().optional()
})
export type DrainRequest = z.infer<typeof drainRequestSchema>

export const joinRequestSchema = z.strictObject({ token: z.string().min(1).max(4_096) })

export const agentSchema = z.object({
  id: z.string(),
  peerId: z.string(),
  runtime: z.string(),
  capability: z.string(),
  taskId: z.string().optional(),
  state: z.string(),
  usage: z.object({ source: z.enum(['gateway', 'agent', 'unknown']) })
})
export type Agent = z.infer<typeof agentSchema>

export const logLineSchema = z.object({ time, taskId: z.string(), line: z.string() })
export type LogLine = z.infer<typeof logLineSchema>

export const findingSchema = z.object({
  check: z.string(),
  state: z.enum(['ok', 'warning', 'failed', 'unknown']),
  detail: z.string(),
  hint: z.string().optional()
})
export type Finding = z.infer<typeof findingSchema>
