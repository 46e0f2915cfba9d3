import * as z from 'zod'
import type { Advertisement, Frame, FrameKind, Relay, RelayedFrame, TaskRecord } from '../core/frames.ts'
import { DRAIN_STATES, FENCE_CAUSES, OUTCOMES } from '../core/frames.ts'
import {
  ADDRESSES_MAX,
  ATTEMPTS_MAX,
  BACKOFF_MS_MAX,
  CAPABILITIES_MAX,
  CAPABILITY_NAME_CHARS_MAX,
  DEADLINE_MS_MAX,
  DEPTH_MAX,
  ERROR_MESSAGE_CHARS_MAX,
  FRAME_BYTES_MAX,
  INPUT_BYTES_MAX,
  PEERS_MAX,
  RECORD_RESULT_BYTES_MAX,
  RESULT_BYTES_MAX,
  RUNNING_JOBS_MAX,
  SLOTS_MAX,
  TEXT_QUOTES_BYTES
} from '../core/limits.ts'
import * as proto from './generated/frames.ts'

/** Bytes before the body of a frame: 3 for the length of type and body (big-endian), 1 for the type. */
export const FRAME_HEADER_BYTES = 4

/** Records of one settle frame: their bytes are bounded by the frame, their count by this. */
export const RECORDS_PER_FRAME_MAX = 65_536

/** Thrown when bytes are no valid frame: the sender is broken or hostile, its stream is to be closed. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const small = z.number().int().min(0).max(0xffffffff)
const millis = z.number().min(0).max(Number.MAX_SAFE_INTEGER)
const peer = z.string().regex(/^[1-9A-HJ-NP-Za-km-z]{8,64}$/)
const job = z.string().regex(/^[a-z0-9]{4,40}$/)
const path = z.string().regex(/^\d{1,6}(?:\.\d{1,6}){0,31}$/)
const obligation = z.string().regex(/^\d{1,16}:\d{1,16}$/)
const capability = z.string().min(1).max(CAPABILITY_NAME_CHARS_MAX)
const boot = z.object({ incarnation: small, nonce: z.string().regex(/^[0-9a-f]{16}$/) })
const bytes = (max: number) =>
  z.instanceof(Uint8Array).refine(b => b.length <= max, { message: `longer than ${max} bytes` })
const addresses = z.array(z.string().min(1).max(256)).max(ADDRESSES_MAX)
const outcome = z.enum(OUTCOMES)
const error = z.object({ code: z.string().max(64), message: z.string().max(ERROR_MESSAGE_CHARS_MAX) }).optional()
const records = z.array(bytes(RECORD_RESULT_BYTES_MAX + 16 * 1024)).max(RECORDS_PER_FRAME_MAX)
const cause = z.enum(FENCE_CAUSES)
const pendingFences = z.array(z.object({ fence: counter, peer, cause })).max(PEERS_MAX)
const jobs = z.array(job).max(RUNNING_JOBS_MAX)

const advertisement = z.object({
  peer,
  incarnation: small,
  sequence: counter,
  name: z.string().max(255),
  version: z.string().max(64),
  capabilities: z
    .array(
      z.object({
        name: capability,
        slots: z.number().int().min(0).max(SLOTS_MAX),
        free: z.number().int().min(0).max(SLOTS_MAX)
      })
    )
    .max(CAPABILITIES_MAX),
  running: small,
  queued: small,
  addresses,
  // Absent from daemons that cannot drain.
  drain: z.preprocess(value => value || 'no', z.enum(DRAIN_STATES))
})

const policy = z.object({
  exclusive: z.boolean(),
  attemptsMax: z.number().int().min(1).max(ATTEMPTS_MAX),
  backoffMs: z.number().int().min(0).max(BACKOFF_MS_MAX),
  deadlineMs: z.number().int().min(0).max(DEADLINE_MS_MAX)
})

const schemas: { [K in FrameKind]: z.ZodType } = {
  hello: z.object({ boot, advertisement }),
  heartbeat: z.object({ sequence: counter }),
  heartbeatAck: z.object({ sequence: counter }),
  peers: z.object({ peers: z.array(z.object({ peer, addresses })).max(PEERS_MAX) }),
  goodbye: z.object({}),
  drain: z.object({ deadlineMs: z.number().int().min(0).max(DEADLINE_MS_MAX), end: z.boolean() }),
  engage: z.object({ job, boot, lost: counter, sentAt: millis }),
  grant: z.object({
    job,
    engagement: counter.min(1),
    boot,
    sentAt: millis,
    fenced: z.array(z.object({ peer, upTo: counter })).max(PEERS_MAX),
    pendingFences
  }),
  stale: z.object({ job, boot, incarnation: small }),
  renew: z.object({
    boot,
    sentAt: millis,
    items: z
      .array(
        z.object({
          job,
          engagement: counter,
          running: small,
          queued: small,
          ended: small,
          failed: small,
          spawned: small
        })
      )
      .max(RUNNING_JOBS_MAX)
  }),
  renewed: z.object({
    boot,
    sentAt: millis,
    items: z.array(z.object({ job, engagement: counter, pendingFences })).max(RUNNING_JOBS_MAX),
    lost: jobs,
    done: jobs
  }),
  leave: z.object({ job, engagement: counter, boot }),
  done: z.object({ job }),
  fence: z.object({ job, fence: counter, peer, cause, yourEngagement: counter }),
  fenced: z.object({ job, fence: counter, engagement: counter }),
  exclusive: z.object({ job, obligation }),
  permit: z.object({ job, obligation }),
  reserve: z.object({ request: counter, job, root: peer, capability, count: z.number().int().min(1).max(SLOTS_MAX) }),
  reserved: z.object({
    request: counter,
    job,
    engagement: counter.min(1),
    slots: z.number().int().min(1).max(SLOTS_MAX)
  }),
  busy: z.object({ request: counter, job }),
  release: z.object({ request: counter, job, slots: z.number().int().min(0).max(SLOTS_MAX), all: z.boolean() }),
  handoff: z.object({
    job,
    obligation,
    toEngagement: counter,
    ownerEngagement: counter,
    root: peer,
    request: counter,
    task: z.object({
      path,
      capability,
      input: bytes(INPUT_BYTES_MAX + TEXT_QUOTES_BYTES),
      traceparent: z.string().max(64),
      policy: policy.optional()
    }),
    attempts: z
      .array(small)
      .min(1)
      .max(DEPTH_MAX + 1)
  }),
  settle: z.object({
    job,
    obligation,
    outcome,
    result: bytes(RESULT_BYTES_MAX),
    error,
    parts: small,
    records,
    endedAgoMs: millis
  }),
  settlePart: z.object({ job, obligation, index: small, records }),
  settled: z.object({ job, obligation }),
  cancel: z.object({ job, obligation, toEngagement: counter, ownerEngagement: counter }),
  relay: z.object({ job, from: peer, to: peer, frame: bytes(FRAME_BYTES_MAX) })
}

const record = z.object({
  path,
  capability,
  peer,
  outcome,
  attempt: small,
  resultDigest: z.string().regex(/^(?:[0-9a-f]{64})?$/),
  result: bytes(RECORD_RESULT_BYTES_MAX),
  startedAt: millis,
  endedAt: millis,
  error
})

interface BodyCodec {
  encode(value: never): Uint8Array
  decode(bytes: Uint8Array): object
}

/** Type byte of each kind. Numbers are never used again for something else. */
const TYPES: { readonly [K in FrameKind]: readonly [type: number, codec: BodyCodec] } = {
  hello: [1, proto.Hello],
  heartbeat: [2, proto.Heartbeat],
  heartbeatAck: [3, proto.HeartbeatAck],
  peers: [4, proto.Peers],
  goodbye: [5, proto.Goodbye],
  drain: [6, proto.Drain],
  engage: [10, proto.Engage],
  grant: [11, proto.Grant],
  stale: [12, proto.Stale],
  renew: [13, proto.Renew],
  renewed: [14, proto.Renewed],
  leave: [15, proto.Leave],
  done: [16, proto.Done],
  fence: [17, proto.Fence],
  fenced: [18, proto.Fenced],
  exclusive: [19, proto.Exclusive],
  permit: [24, proto.Permit],
  reserve: [20, proto.Reserve],
  reserved: [21, proto.Reserved],
  busy: [22, proto.Busy],
  release: [23, proto.Release],
  handoff: [30, proto.Handoff],
  settle: [31, proto.Settle],
  settlePart: [32, proto.SettlePart],
  settled: [33, proto.Settled],
  cancel: [34, proto.Cancel],
  relay: [35, proto.Relay]
}

export const FRAME_KINDS = Object.keys(TYPES) as readonly FrameKind[]

const KINDS = new Map<number, FrameKind>(FRAME_KINDS.map(kind => [TYPES[kind][0], kind]))

/** Encodes a frame, header included. @throws FrameError when it is longer than FRAME_BYTES_MAX: a defect of the caller. */
export function encodeFrame(frame: Frame): Uint8Array {
  const [type, codec] = TYPES[frame.kind]
  const body = codec.encode((frame.kind === 'relay' ? packRelay(frame) : frame) as never)
  const length = body.length + 1
  if (length > FRAME_BYTES_MAX)
    throw new FrameError(`${frame.kind} frame of ${length} bytes is over ${FRAME_BYTES_MAX}`)
  const encoded = new Uint8Array(FRAME_HEADER_BYTES + body.length)
  encoded[0] = length >>> 16
  encoded[1] = (length >>> 8) & 0xff
  encoded[2] = length & 0xff
  encoded[3] = type
  encoded.set(body, FRAME_HEADER_BYTES)
  return encoded
}

/**
 * Decodes the type byte and body of one frame (without the length). Byte fields of the result may share memory with
 * `body`. Undefined when the type is unknown: count and go on. @throws FrameError when the body is malformed.
 */
export function decodeFrame(type: number, body: Uint8Array): Frame | undefined {
  const kind = KINDS.get(type)
  if (kind === undefined) return undefined
  const frame = { kind, ...decodeBody(kind, TYPES[kind][1], schemas[kind], body) }
  return kind === 'relay' ? unpackRelay(frame as PackedRelay) : (frame as Frame)
}

/** Kinds that may travel inside a relay. */
const RELAYED: readonly string[] = ['handoff', 'settle', 'settlePart', 'settled', 'cancel']

type PackedRelay = Omit<Relay, 'frame'> & { readonly frame: Uint8Array }

function packRelay(relay: Relay): PackedRelay {
  return { ...relay, frame: encodeFrame(relay.frame).subarray(FRAME_HEADER_BYTES - 1) }
}

function unpackRelay(packed: PackedRelay): Relay {
  const { frame: bytes, ...relay } = packed
  const frame = RELAYED.includes(KINDS.get(bytes[0] ?? 0) ?? '')
    ? decodeFrame(bytes[0] ?? 0, bytes.subarray(1))
    : undefined
  if (frame === undefined || !('job' in frame) || frame.job !== relay.job) {
    throw new FrameError('relay: what it carries is no frame of its job that may be relayed')
  }
  return { ...relay, frame: frame as RelayedFrame }
}

export function encodeRecord(value: TaskRecord): Uint8Array {
  return proto.TaskRecord.encode(value as proto.TaskRecord)
}

/** @throws FrameError when the bytes are no task record. */
export function decodeRecord(encoded: Uint8Array): TaskRecord {
  return decodeBody('task record', proto.TaskRecord, record, encoded) as TaskRecord
}

/** Gossip payload of the state topic. */
export function encodeAdvertisement(value: Advertisement): Uint8Array {
  return proto.Advertisement.encode(value as proto.Advertisement)
}

/** @throws FrameError when the bytes are no advertisement. */
export function decodeAdvertisement(encoded: Uint8Array): Advertisement {
  return decodeBody('advertisement', proto.Advertisement, advertisement, encoded) as Advertisement
}

function decodeBody(what: string, codec: BodyCodec, schema: z.ZodType, encoded: Uint8Array): object {
  let value: object
  try {
    value = codec.decode(encoded)
  } catch (error) {
    throw new FrameError(`${what}: ${error instanceof Error ? error.message : String(error)}`)
  }
  const checked = schema.safeParse(value)
  if (!checked.success) {
    const issue = checked.error.issues[0]
    throw new FrameError(`${what}: ${issue?.path.join('.')}: ${issue?.message}`)
  }
  return checked.data as object
}
