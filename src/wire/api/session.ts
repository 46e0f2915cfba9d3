import * as z from 'zod'
import { LOG_LINE_CHARS_MAX, PROGRESS_NOTE_CHARS_MAX, SLOTS_MAX } from './limits.ts'
import { capabilityName, childOutcomeSchema, errorSchema, spawnRequestSchema } from './schemas.ts'

/**
 * Messages of the WebSocket `/v1/session` between a daemon and an SDK worker: one JSON object per text message, both
 * ways in order. Requests carry `ref`, chosen by the worker; exactly one `reply` answers each. When the session closes,
 * the daemon takes all attempts of the worker back.
 */

export const workerMessageSchema = z.discriminatedUnion('kind', [
  /** Serve `capability` with `slots` attempts at a time. */
  z.object({
    kind: z.literal('work'),
    ref: z.number().int(),
    capability: capabilityName,
    slots: z.number().int().min(1).max(SLOTS_MAX)
  }),
  /** Take no new attempts of `capability`; the running ones go on. */
  z.object({ kind: z.literal('unwork'), ref: z.number().int(), capability: capabilityName }),
  z.object({
    kind: z.literal('spawn'),
    ref: z.number().int(),
    attemptId: z.string(),
    capability: capabilityName,
    input: z.unknown().optional(),
    exclusive: spawnRequestSchema.shape.exclusive,
    retry: spawnRequestSchema.shape.retry,
    deadlineMs: spawnRequestSchema.shape.deadlineMs,
    /** Send `child` when it has settled. */
    watch: z.boolean()
  }),
  /** The attempt waits for a watched child: its slot is free meanwhile. */
  z.object({ kind: z.literal('blocked'), attemptId: z.string(), blocked: z.boolean() }),
  z.object({ kind: z.literal('log'), attemptId: z.string(), line: z.string().max(LOG_LINE_CHARS_MAX) }),
  z.object({
    kind: z.literal('progress'),
    attemptId: z.string(),
    fraction: z.number().min(0).max(1),
    note: z.string().max(PROGRESS_NOTE_CHARS_MAX).optional()
  }),
  z.object({
    kind: z.literal('ended'),
    attemptId: z.string(),
    outcome: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('completed'), result: z.unknown().optional() }),
      z.object({ kind: z.literal('failed'), error: errorSchema })
    ])
  })
])
export type WorkerMessage = z.infer<typeof workerMessageSchema>

export const daemonMessageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('welcome'), peerId: z.string(), name: z.string(), version: z.string() }),
  z.object({
    kind: z.literal('start'),
    task: z.object({
      attemptId: z.string(),
      taskId: z.string(),
      jobId: z.string(),
      capability: z.string(),
      input: z.unknown(),
      attempt: z.number().int(),
      fencingToken: z.string(),
      /** Nothing may be done for it after so long, unless `lease` has told of more. */
      leaseLeftMs: z.number(),
      traceparent: z.string()
    })
  }),
  /** What is left of the leases of the jobs that the worker works for; about once a second. */
  z.object({ kind: z.literal('lease'), leases: z.array(z.object({ jobId: z.string(), leftMs: z.number() })) }),
  /** Stop working on it: cancelled, timed out, or its lease is over. Nothing sent for it afterwards counts. */
  z.object({ kind: z.literal('abort'), attemptId: z.string(), reason: z.string() }),
  z.object({ kind: z.literal('child'), attemptId: z.string(), child: childOutcomeSchema }),
  /** Answer to a request; `problem` is there exactly when it was refused. */
  z.object({
    kind: z.literal('reply'),
    ref: z.number().int(),
    value: z.unknown().optional(),
    problem: z.object({ code: z.string(), detail: z.string(), hint: z.string().optional() }).optional()
  })
])
export type DaemonMessage = z.infer<typeof daemonMessageSchema>
