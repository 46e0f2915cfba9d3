import { readFileSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Advertisement,
  DEFAULT_POLICY,
  type Frame,
  type FrameKind,
  type TaskPolicy
} from '../../src/core/frames.ts'
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
} from '../../src/core/limits.ts'
import {
  decodeAdvertisement,
  decodeFrame,
  decodeRecord,
  encodeAdvertisement,
  encodeFrame,
  encodeRecord,
  FRAME_HEADER_BYTES,
  FRAME_KINDS,
  FrameError
} from '../../src/wire/frame-codec.ts'
import { seeded } from '../helpers/virtual-time.ts'
import { advertisement, frameOf, RELAYED_KINDS, record } from './frame-arbitraries.ts'
import { EXAMPLES } from './frame-examples.ts'

const decode = (encoded: Uint8Array) => decodeFrame(encoded[3] ?? 0, encoded.subarray(FRAME_HEADER_BYTES))
const plain = (value: unknown) => JSON.parse(JSON.stringify(value, (_key, v) => (v instanceof Uint8Array ? [...v] : v)))

describe('round trip', () => {
  test.each(FRAME_KINDS)('%s: what is encoded is what is decoded', kind => {
    fc.assert(
      fc.property(frameOf(kind), frame => {
        const encoded = encodeFrame(frame)
        const length = ((encoded[0] ?? 0) << 16) | ((encoded[1] ?? 0) << 8) | (encoded[2] ?? 0)
        expect(length).toBe(encoded.length - FRAME_HEADER_BYTES + 1)
        expect(plain(decode(encoded))).toEqual(plain(frame))
      }),
      { numRuns: 100 }
    )
  })

  test('of task records and advertisements', () => {
    fc.assert(
      fc.property(record, advertisement, (task, offer) => {
        expect(plain(decodeRecord(encodeRecord(task)))).toEqual(plain(task))
        expect(plain(decodeAdvertisement(encodeAdvertisement(offer)))).toEqual(plain(offer))
      })
    )
  })
})

describe('golden bytes', () => {
  // Peers of other versions read these bytes: a difference here is a change of the protocol, not of the test.
  const file = new URL('fixtures/frames.txt', import.meta.url)
  const actual = FRAME_KINDS.map(kind => `${kind} ${Buffer.from(encodeFrame(EXAMPLES[kind])).toString('hex')}`)
  if (process.env.STARLING_REWRITE_FIXTURES === '1') writeFileSync(file, `${actual.join('\n')}\n`)
  const golden = readFileSync(file, 'utf8').trimEnd().split('\n')

  test('exist for every kind of frame', () => {
    expect(golden.map(line => line.split(' ')[0])).toEqual([...FRAME_KINDS])
  })

  test.each(golden.map(line => line.split(' ') as [FrameKind, string]))('%s', (kind, hex) => {
    expect(Buffer.from(encodeFrame(EXAMPLES[kind])).toString('hex')).toBe(hex)
    expect(plain(decode(new Uint8Array(Buffer.from(hex, 'hex'))))).toEqual(plain(EXAMPLES[kind]))
  })
})

describe('malformed', () => {
  const { hello, handoff, settle, grant, renew } = EXAMPLES
  const { policy } = handoff.task
  const wrong: [why: string, frame: unknown][] = [
    ['no peer id', { ...hello, advertisement: { ...hello.advertisement, peer: 'not base58!' } }],
    ['too short a peer id', { ...handoff, root: '12D3' }],
    ['a nonce of fifteen digits', { ...hello, boot: { incarnation: 1, nonce: '0'.repeat(15) } }],
    ['a nonce in capitals', { ...hello, boot: { incarnation: 1, nonce: 'ABCDEF0123456789' } }],
    ['no boot', { ...hello, boot: undefined }],
    ['a job id with a path in it', { ...handoff, job: '../../etc/passwd' }],
    ['an empty job id', { ...settle, job: '' }],
    ['no path', { ...handoff, task: { ...handoff.task, path: '0..1' } }],
    ['a negative path', { ...handoff, task: { ...handoff.task, path: '0.-1' } }],
    ['no task', { ...handoff, task: undefined }],
    ['no attempts', { ...handoff, attempts: [] }],
    ['no obligation', { ...settle, obligation: '7' }],
    ['an obligation of words', { ...settle, obligation: 'seven:1' }],
    ['an unknown outcome', { ...settle, outcome: 'maybe' }],
    ['a negative time', { ...settle, endedAgoMs: -1 }],
    ['no number for a time', { ...grant, sentAt: Number.NaN }],
    ['an infinite time', { ...renew, sentAt: Number.POSITIVE_INFINITY }],
    ['engagement 0 granted, which is the virtual root', { ...grant, engagement: 0 }],
    ['no slots reserved', { ...EXAMPLES.reserved, slots: 0 }],
    ['no slots asked for', { ...EXAMPLES.reserve, count: 0 }],
    ['a drain for longer than a month', { ...EXAMPLES.drain, deadlineMs: DEADLINE_MS_MAX + 1 }],
    ['an unknown state of draining', { ...hello, advertisement: { ...hello.advertisement, drain: 'perhaps' } }],
    ['a fence without a cause', { ...EXAMPLES.fence, cause: '' }],
    ['a fence of an unknown cause', { ...EXAMPLES.fence, cause: 'mood' }],
    ['a pending fence without a cause', { ...grant, pendingFences: [{ fence: 4, peer: '12D3KooWBob11', cause: '' }] }],
    ['no attempts allowed', { ...handoff, task: { ...handoff.task, policy: { ...policy, attemptsMax: 0 } } }],
    ['an empty address', { ...EXAMPLES.peers, peers: [{ peer: '12D3KooWBob11', addresses: [''] }] }]
  ]

  test.each(wrong)('%s', (_why, frame) => {
    expect(() => decode(encodeFrame(frame as Frame))).toThrow(FrameError)
  })

  test.each(FRAME_KINDS.filter(kind => !['goodbye', 'peers', 'drain', 'heartbeat', 'heartbeatAck'].includes(kind)))(
    '%s without a body',
    kind => {
      const type = encodeFrame(EXAMPLES[kind])[3] ?? 0
      expect(() => decodeFrame(type, new Uint8Array(0))).toThrow(FrameError)
    }
  )

  test.each(FRAME_KINDS.filter(kind => kind !== 'goodbye'))(
    '%s that is cut short, anywhere but between two fields',
    kind => {
      const encoded = encodeFrame(EXAMPLES[kind])
      let refused = 0
      for (let length = FRAME_HEADER_BYTES; length < encoded.length; length += 1) {
        try {
          decode(encoded.subarray(0, length))
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError)
          refused += 1
        }
      }
      expect(refused).toBeGreaterThan(0)
    }
  )

  test('a length inside that points beyond the end', () => {
    expect(() => decodeFrame(16, Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0x7f, 0x61))).toThrow(FrameError)
  })

  test('text that is no UTF-8 is refused or harmless, never an error of another kind', () => {
    const body = Uint8Array.of(0x0a, 4, 0xc3, 0x28, 0xa0, 0xa1)
    expect(() => decodeFrame(16, body)).toThrow(FrameError)
  })

  test('records and advertisements that are none', () => {
    const noise = Uint8Array.of(0xff, 0xff, 0xff)
    expect(() => decodeRecord(noise)).toThrow(FrameError)
    expect(() => decodeAdvertisement(noise)).toThrow(FrameError)
    expect(() => decodeRecord(new Uint8Array(0))).toThrow(FrameError)
  })
})

describe('a relay', () => {
  const { relay } = EXAMPLES
  const bare = (frame: Frame) => encodeFrame(frame).subarray(FRAME_HEADER_BYTES - 1)
  /** A relay frame around these bytes, whatever they are. */
  const around = (inner: Uint8Array, job: string = relay.job): Uint8Array => {
    const fields = [job, relay.from, relay.to].map(text => new TextEncoder().encode(text))
    const bytes = [...fields, inner].flatMap((value, index) => {
      const length = value.length < 128 ? [value.length] : [(value.length & 0x7f) | 0x80, value.length >>> 7]
      return [((index + 1) << 3) | 2, ...length, ...value]
    })
    return Uint8Array.from(bytes)
  }
  const type = encodeFrame(relay)[3] ?? 0

  test.each(RELAYED_KINDS)('carries a %s of its job', kind => {
    const frame = EXAMPLES[kind]
    expect(plain(decodeFrame(type, around(bare(frame))))).toEqual(plain({ ...relay, frame }))
  })

  test.each(FRAME_KINDS.filter(kind => !(RELAYED_KINDS as readonly string[]).includes(kind)))('carries no %s', kind => {
    expect(() => decodeFrame(type, around(bare(EXAMPLES[kind])))).toThrow(FrameError)
  })

  test('carries no frame of another job', () => {
    expect(() => decodeFrame(type, around(bare(EXAMPLES.settled), 'anotherjob'))).toThrow(FrameError)
  })

  test('carries no second relay, however deep', () => {
    const twice = { ...relay, frame: { ...relay, frame: relay } } as unknown as Frame
    expect(() => decode(encodeFrame(twice))).toThrow(FrameError)
  })

  test.each<[what: string, inner: Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a frame of an unknown type', Uint8Array.of(99, 1, 2, 3)],
    ['a type without a body', bare(EXAMPLES.handoff).subarray(0, 1)],
    ['a handoff that is cut short', bare(EXAMPLES.handoff).subarray(0, 40)],
    ['noise', Uint8Array.of(33, 0xff, 0xff, 0xff)]
  ])('is refused with %s in it', (_what, inner) => {
    expect(() => decodeFrame(type, around(inner))).toThrow(FrameError)
  })

  test('carries the longest input and the longest result', () => {
    const { handoff, settle } = EXAMPLES
    const path = new Array(DEPTH_MAX).fill('999999').join('.')
    const task = { ...handoff.task, path, input: new Uint8Array(INPUT_BYTES_MAX + TEXT_QUOTES_BYTES) }
    expect(() => decode(encodeFrame({ ...relay, frame: { ...handoff, task } }))).not.toThrow()
    const records = [new Uint8Array(RECORD_RESULT_BYTES_MAX)]
    const result = new Uint8Array(RESULT_BYTES_MAX)
    expect(() => decode(encodeFrame({ ...relay, frame: { ...settle, result, records } }))).not.toThrow()
  })
})

describe('tolerance for other versions', () => {
  test('an advertisement of a daemon that cannot drain says that it does not', () => {
    const { advertisement: offer } = EXAMPLES.hello
    const old = { ...offer, drain: '' } as unknown as Advertisement
    expect(encodeAdvertisement(old).length).toBeLessThan(encodeAdvertisement(offer).length - 'draining'.length)
    expect(decodeAdvertisement(encodeAdvertisement(old))).toEqual({ ...offer, drain: 'no' })
    expect(decode(encodeFrame({ ...EXAMPLES.hello, advertisement: old }))).toMatchObject({
      advertisement: { drain: 'no' }
    })
  })

  test('a task of a daemon that knows no policies has none', () => {
    const { policy: _, ...task } = EXAMPLES.handoff.task
    const decoded = decode(encodeFrame({ ...EXAMPLES.handoff, task }))
    expect(decoded?.kind === 'handoff' && decoded.task.policy).toBeUndefined()
  })

  test('a frame of an unknown type is nothing', () => {
    for (const type of [0, 9, 99, 255]) expect(decodeFrame(type, Uint8Array.of(1, 2, 3))).toBeUndefined()
  })

  test('unknown fields are ignored', () => {
    const encoded = encodeFrame(EXAMPLES.done)
    // Field 100, length-delimited, two bytes.
    const extended = Uint8Array.of(...encoded.subarray(FRAME_HEADER_BYTES), 0xa2, 0x06, 2, 1, 2)
    expect(decodeFrame(encoded[3] ?? 0, extended)).toEqual(EXAMPLES.done)
  })

  test('types are never used twice', () => {
    const types = FRAME_KINDS.map(kind => encodeFrame(EXAMPLES[kind])[3])
    expect(new Set(types).size).toBe(FRAME_KINDS.length)
  })
})

describe('limits', () => {
  const { drain, hello, handoff, settle, renewed, reserve, peers, settlePart } = EXAMPLES
  const of = <T>(count: number, value: T) => new Array<T>(count).fill(value)
  const withTask = (task: Partial<typeof handoff.task>) => ({ ...handoff, task: { ...handoff.task, ...task } })
  const withPolicy = (policy: Partial<TaskPolicy>) => withTask({ policy: { ...DEFAULT_POLICY, ...policy } })
  const withOffer = (offer: Partial<typeof hello.advertisement>) => ({
    ...hello,
    advertisement: { ...hello.advertisement, ...offer }
  })
  const [offered] = hello.advertisement.capabilities
  const [peer] = peers.peers
  const limits: [what: string, max: number, frame: (size: number) => unknown][] = [
    [
      'bytes of an input with its quotes',
      INPUT_BYTES_MAX + TEXT_QUOTES_BYTES,
      size => withTask({ input: new Uint8Array(size) })
    ],
    ['bytes of a result', RESULT_BYTES_MAX, size => ({ ...settle, result: new Uint8Array(size) })],
    [
      'bytes of a record',
      RECORD_RESULT_BYTES_MAX + 16 * 1024,
      size => ({ ...settlePart, records: [new Uint8Array(size)] })
    ],
    [
      'characters of an error',
      ERROR_MESSAGE_CHARS_MAX,
      size => ({ ...settle, error: { code: 'X', message: 'x'.repeat(size) } })
    ],
    ['levels of a path', DEPTH_MAX, size => withTask({ path: of(size, '1').join('.') })],
    ['attempt numbers', DEPTH_MAX + 1, size => ({ ...handoff, attempts: of(size, 1) })],
    ['characters of a capability', CAPABILITY_NAME_CHARS_MAX, size => withTask({ capability: 'c'.repeat(size) })],
    [
      'capabilities of a daemon',
      CAPABILITIES_MAX,
      size => withOffer({ capabilities: of(size, offered ?? { name: 'x', slots: 1, free: 1 }) })
    ],
    ['addresses of a daemon', ADDRESSES_MAX, size => withOffer({ addresses: of(size, '/ip4/10.0.0.1/tcp/1') })],
    ['characters of an address', 256, size => withOffer({ addresses: ['a'.repeat(size)] })],
    ['characters of a name', 255, size => withOffer({ name: 'n'.repeat(size) })],
    ['attempts that may fail', ATTEMPTS_MAX, size => withPolicy({ attemptsMax: size })],
    ['milliseconds between attempts', BACKOFF_MS_MAX, size => withPolicy({ backoffMs: size })],
    ['milliseconds of a deadline', DEADLINE_MS_MAX, size => withPolicy({ deadlineMs: size })],
    ['milliseconds to drain', DEADLINE_MS_MAX, size => ({ ...drain, deadlineMs: size })],
    ['slots in one request', SLOTS_MAX, size => ({ ...reserve, count: size })],
    ['peers in an exchange', PEERS_MAX, size => ({ ...peers, peers: of(size, peer) })],
    ['jobs in a renewal', RUNNING_JOBS_MAX, size => ({ ...renewed, done: of(size, 'donedone') })],
    ['digits of a job id', 40, size => ({ ...renewed, done: ['j'.repeat(size)] })]
  ]

  test.each(limits)('%s: %i and no more', (_what, max, frame) => {
    expect(() => decode(encodeFrame(frame(max) as Frame))).not.toThrow()
    expect(() => decode(encodeFrame(frame(max + 1) as Frame))).toThrow(FrameError)
  })

  test(`a frame of ${FRAME_BYTES_MAX} bytes can be sent, a longer one is refused by its sender`, () => {
    const empty =
      encodeFrame({ ...settlePart, records: [new Uint8Array(FRAME_BYTES_MAX / 2)] }).length - FRAME_BYTES_MAX / 2
    const fill = (total: number) => {
      const room = total - (empty - FRAME_HEADER_BYTES + 1)
      return { ...settlePart, records: [new Uint8Array(room)] }
    }
    expect(encodeFrame(fill(FRAME_BYTES_MAX)).length).toBe(FRAME_BYTES_MAX + FRAME_HEADER_BYTES - 1)
    expect(() => encodeFrame(fill(FRAME_BYTES_MAX + 1))).toThrow(FrameError)
  })

  test('the longest input and the longest result fit into a frame, with everything around them', () => {
    const path = of(DEPTH_MAX, '999999').join('.')
    const long = {
      path,
      input: new Uint8Array(INPUT_BYTES_MAX),
      capability: 'c'.repeat(64),
      traceparent: 't'.repeat(64)
    }
    expect(() => encodeFrame({ ...withTask(long), attempts: of(DEPTH_MAX + 1, 0xffffffff) } as Frame)).not.toThrow()
    const error = { code: 'C'.repeat(64), message: '\u{1f426}'.repeat(ERROR_MESSAGE_CHARS_MAX / 2) }
    expect(() => encodeFrame({ ...settle, result: new Uint8Array(RESULT_BYTES_MAX), error })).not.toThrow()
  })
})

const MUTANTS = 20_000
const MUTATION_SEED = Number(process.env.STARLING_TEST_SEED ?? 20_261_122)

/** One to four bytes of `original` changed, removed, doubled or added. */
function mutated(original: Uint8Array, random: () => number): Uint8Array {
  const bytes = [...original]
  for (let times = 1 + Math.floor(random() * 4); times > 0; times -= 1) {
    const at = Math.floor(random() * (bytes.length + 1))
    const dice = random()
    if (dice < 0.5) bytes[Math.min(at, Math.max(0, bytes.length - 1))] = Math.floor(random() * 256)
    else if (dice < 0.7) bytes.splice(at, 1 + Math.floor(random() * 8))
    else if (dice < 0.85) bytes.splice(at, 0, Math.floor(random() * 256))
    else bytes.splice(at, 0, ...bytes.slice(at, at + Math.floor(random() * 16)))
  }
  return Uint8Array.from(bytes)
}

test(`${MUTANTS} mutated frames are refused with FrameError or are valid frames (seed ${MUTATION_SEED})`, () => {
  const random = seeded(MUTATION_SEED)
  const originals = FRAME_KINDS.map(kind => encodeFrame(EXAMPLES[kind]))
  let refused = 0
  let valid = 0
  for (let mutant = 0; mutant < MUTANTS; mutant += 1) {
    const original = originals[mutant % originals.length] ?? new Uint8Array(0)
    const type = random() < 0.1 ? Math.floor(random() * 40) : (original[3] ?? 0)
    const body = mutated(original.subarray(FRAME_HEADER_BYTES), random)
    let frame: Frame | undefined
    try {
      frame = decodeFrame(type, body)
    } catch (error) {
      if (!(error instanceof FrameError))
        throw new Error(`mutant ${mutant}: ${Buffer.from(body).toString('hex')}`, { cause: error })
      refused += 1
      continue
    }
    if (frame === undefined) continue
    valid += 1
    // What was let in is a frame like any other: it can be sent on and comes out the same.
    expect(plain(decode(encodeFrame(frame)))).toEqual(plain(frame))
  }
  expect(refused).toBeGreaterThan(MUTANTS / 5)
  expect(valid).toBeGreaterThan(MUTANTS / 50)
})

test('encoding and decoding take microseconds', () => {
  const rounds = 2_000
  const measured: Record<string, string> = {}
  for (const kind of ['heartbeat', 'handoff', 'settle', 'hello'] as const) {
    const frame = EXAMPLES[kind]
    const encoded = encodeFrame(frame)
    for (let round = 0; round < rounds; round += 1) decode(encodeFrame(frame))
    const begun = performance.now()
    for (let round = 0; round < rounds; round += 1) encodeFrame(frame)
    const between = performance.now()
    for (let round = 0; round < rounds; round += 1) decode(encoded)
    const us = (ms: number) => ((1_000 * ms) / rounds).toFixed(1)
    measured[kind] = `encode ${us(between - begun)} us, decode ${us(performance.now() - between)} us`
    // Far above what it takes: this fails when somebody makes it a hundred times slower.
    expect((performance.now() - begun) / rounds).toBeLessThan(2)
  }
  console.log(measured)
})
