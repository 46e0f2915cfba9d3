import fc from 'fast-check'
import type { Frame, FrameKind, RelayedFrame, TaskRecord } from '../../src/core/frames.ts'
import { DRAIN_STATES, FENCE_CAUSES, OUTCOMES } from '../../src/core/frames.ts'
import {
  ATTEMPTS_MAX,
  BACKOFF_MS_MAX,
  CAPABILITIES_MAX,
  DEADLINE_MS_MAX,
  DEPTH_MAX,
  ERROR_MESSAGE_CHARS_MAX,
  SLOTS_MAX
} from '../../src/core/limits.ts'

const letters = (alphabet: string, minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...alphabet), minLength, maxLength })

const counter = fc.oneof(fc.nat(9), fc.maxSafeNat())
const small = fc.oneof(fc.nat(9), fc.integer({ min: 0, max: 0xffffffff }))
const millis = fc.oneof(
  fc.maxSafeNat(),
  fc.double({ min: 0, max: 1e9, noNaN: true, noDefaultInfinity: true }).map(Math.abs)
)
const engagement = counter.map(value => Math.max(1, value))
const peer = letters('123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz', 8, 64)
const job = letters('abcdefghijklmnopqrstuvwxyz0123456789', 4, 40)
const index = fc.integer({ min: 0, max: 999_999 })
const path = fc.array(index, { minLength: 1, maxLength: DEPTH_MAX }).map(indices => indices.join('.'))
const obligation = fc.tuple(counter, counter).map(([owner, sequence]) => `${owner}:${sequence}`)
const capability = letters('abcxyz0189-_./', 1, 64)
const boot = fc.record({ incarnation: small, nonce: letters('0123456789abcdef', 16, 16) })
const bytes = (maxLength: number) => fc.uint8Array({ maxLength })
const addresses = fc.array(letters('abc/0123456789.', 1, 60), { maxLength: 16 })
const count = fc.integer({ min: 1, max: SLOTS_MAX })
const error = fc.record({ code: letters('ABC_', 0, 64), message: fc.string({ maxLength: ERROR_MESSAGE_CHARS_MAX }) })
const outcome = fc.constantFrom(...OUTCOMES)
const records = fc.array(bytes(60), { maxLength: 8 })
const cause = fc.constantFrom(...FENCE_CAUSES)
const pendingFences = fc.array(fc.record({ fence: counter, peer, cause }), { maxLength: 4 })
const jobs = fc.array(job, { maxLength: 4 })

export const advertisement = fc.record({
  peer,
  incarnation: small,
  sequence: counter,
  name: fc.string({ maxLength: 100 }),
  version: letters('0123456789.-abc', 0, 64),
  capabilities: fc.array(
    fc.record({
      name: capability,
      slots: fc.integer({ min: 0, max: SLOTS_MAX }),
      free: fc.integer({ min: 0, max: SLOTS_MAX })
    }),
    { maxLength: CAPABILITIES_MAX, size: 'small' }
  ),
  running: small,
  queued: small,
  addresses,
  drain: fc.constantFrom(...DRAIN_STATES)
})

const policy = fc.record({
  exclusive: fc.boolean(),
  attemptsMax: fc.integer({ min: 1, max: ATTEMPTS_MAX }),
  backoffMs: fc.integer({ min: 0, max: BACKOFF_MS_MAX }),
  deadlineMs: fc.integer({ min: 0, max: DEADLINE_MS_MAX })
})

const task = fc.record({
  path,
  capability,
  input: bytes(300),
  traceparent: letters('0123456789abcdef-', 0, 64),
  policy: fc.option(policy, { nil: undefined })
})

const bodies: { readonly [K in Exclude<FrameKind, 'relay'>]: fc.Arbitrary<Omit<Frame & { kind: K }, 'kind'>> } = {
  hello: fc.record({ boot, advertisement }),
  heartbeat: fc.record({ sequence: counter }),
  heartbeatAck: fc.record({ sequence: counter }),
  peers: fc.record({ peers: fc.array(fc.record({ peer, addresses }), { maxLength: 5 }) }),
  goodbye: fc.record({}),
  drain: fc.record({ deadlineMs: fc.integer({ min: 0, max: DEADLINE_MS_MAX }), end: fc.boolean() }),
  engage: fc.record({ job, boot, lost: counter, sentAt: millis }),
  grant: fc.record({
    job,
    engagement,
    boot,
    sentAt: millis,
    fenced: fc.array(fc.record({ peer, upTo: counter }), { maxLength: 4 }),
    pendingFences
  }),
  stale: fc.record({ job, boot, incarnation: small }),
  renew: fc.record({
    boot,
    sentAt: millis,
    items: fc.array(
      fc.record({
        job,
        engagement: counter,
        running: small,
        queued: small,
        ended: small,
        failed: small,
        spawned: small
      }),
      { maxLength: 4 }
    )
  }),
  renewed: fc.record({
    boot,
    sentAt: millis,
    items: fc.array(fc.record({ job, engagement: counter, pendingFences }), { maxLength: 4 }),
    lost: jobs,
    done: jobs
  }),
  leave: fc.record({ job, engagement: counter, boot }),
  done: fc.record({ job }),
  fence: fc.record({ job, fence: counter, peer, cause, yourEngagement: counter }),
  fenced: fc.record({ job, fence: counter, engagement: counter }),
  exclusive: fc.record({ job, obligation }),
  permit: fc.record({ job, obligation }),
  reserve: fc.record({ request: counter, job, root: peer, capability, count }),
  reserved: fc.record({ request: counter, job, engagement, slots: count }),
  busy: fc.record({ request: counter, job }),
  release: fc.record({ request: counter, job, slots: fc.integer({ min: 0, max: SLOTS_MAX }), all: fc.boolean() }),
  handoff: fc.record({
    job,
    obligation,
    toEngagement: counter,
    ownerEngagement: counter,
    root: peer,
    request: counter,
    task,
    attempts: fc.array(small, { minLength: 1, maxLength: DEPTH_MAX + 1 })
  }),
  settle: fc.record({
    job,
    obligation,
    outcome,
    result: bytes(300),
    error: fc.option(error, { nil: undefined }),
    parts: small,
    records,
    endedAgoMs: millis
  }),
  settlePart: fc.record({ job, obligation, index: small, records }),
  settled: fc.record({ job, obligation }),
  cancel: fc.record({ job, obligation, toEngagement: counter, ownerEngagement: counter })
}

/** Any valid frame of one kind. */
export function frameOf(kind: FrameKind): fc.Arbitrary<Frame> {
  if (kind === 'relay') return relay
  return bodies[kind].map(body => ({ kind, ...body }) as Frame)
}

/** Kinds of frames that a relay may carry. */
export const RELAYED_KINDS = [
  'handoff',
  'settle',
  'settlePart',
  'settled',
  'cancel'
] as const satisfies readonly RelayedFrame['kind'][]

const relay: fc.Arbitrary<Frame> = fc
  .record({
    from: peer,
    to: peer,
    frame: fc.constantFrom(...RELAYED_KINDS).chain(kind => frameOf(kind)) as fc.Arbitrary<RelayedFrame>
  })
  .map(({ from, to, frame }) => ({ kind: 'relay', job: frame.job, from, to, frame }))

export const record: fc.Arbitrary<TaskRecord> = fc.record({
  path,
  capability,
  peer,
  outcome,
  attempt: small,
  resultDigest: fc.oneof(fc.constant(''), letters('0123456789abcdef', 64, 64)),
  result: bytes(300),
  startedAt: millis,
  endedAt: millis,
  error: fc.option(error, { nil: undefined })
})
