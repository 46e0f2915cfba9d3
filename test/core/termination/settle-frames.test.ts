import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Settle, SettlePart } from '../../../src/core/frames.ts'
import { FRAME_BYTES_MAX, RECORDS_PER_FRAME_BYTES_MAX, RESULT_BYTES_MAX } from '../../../src/core/limits.ts'
import type { PendingSettle } from '../../../src/core/termination/index.ts'
import { PartialSettles, settleFrames } from '../../../src/core/termination/settle-frames.ts'
import { encodeFrame } from '../../../src/wire/frame-codec.ts'
import { ALICE, at, bobsTree, CAROL, COMPLETED, JOB, Probe, running } from '../../helpers/termination-fixtures.ts'

const KIB = 1024

function pending(recordBytes: readonly number[], resultBytes = 2): PendingSettle {
  const records = recordBytes.map((length, index) => new Uint8Array(length).fill(index % 251))
  const result = new Uint8Array(resultBytes)
  const more = { ownerEngagement: 0, outcome: 'completed', error: undefined, lastEndedAt: 0, sentAt: 0 } as const
  return { id: '0:1', owner: ALICE, result, records, ...more }
}

function split(settle: PendingSettle): { parts: SettlePart[]; last: Settle } {
  const frames = settleFrames(JOB, settle, 10)
  const last = frames.at(-1)
  if (last?.kind !== 'settle') throw new Error('no settle')
  return { parts: frames.filter(frame => frame.kind === 'settlePart'), last }
}

/** Records that come out at the receiver, or undefined when it is to wait for another sending. */
function receive(frames: readonly (SettlePart | Settle)[], into = new PartialSettles()) {
  let records: readonly Uint8Array[] | undefined
  for (const frame of frames) {
    if (frame.kind === 'settlePart') into.add(frame)
    else records = into.complete(frame)
  }
  return records
}

const lengths = (records: readonly Uint8Array[] | undefined) => records?.map(({ length }) => length)

describe('settle frames', () => {
  test('are one while result and records fit, to the byte', () => {
    const fits = [RECORDS_PER_FRAME_BYTES_MAX - 100, 98]
    expect(split(pending(fits)).parts).toEqual([])
    expect(split(pending(fits)).last.records).toHaveLength(2)
    const { parts, last } = split(pending([RECORDS_PER_FRAME_BYTES_MAX - 100, 99]))
    expect(parts.map(({ records }) => records.length)).toEqual([1, 1])
    expect(last).toMatchObject({ parts: 2, records: [] })
  })

  test('keep the records out of the settle when the result is long', () => {
    const { parts, last } = split(pending([10, 10], RECORDS_PER_FRAME_BYTES_MAX))
    expect(parts.map(({ records }) => records.length)).toEqual([2])
    expect(last.records).toEqual([])
  })

  test('are all short enough for the wire, at the longest result and with full parts', () => {
    const record = 2 * KIB
    const many = new Array<number>((3 * RECORDS_PER_FRAME_BYTES_MAX) / record).fill(record)
    for (const frame of settleFrames(JOB, pending(many, RESULT_BYTES_MAX), 10)) {
      expect(encodeFrame(frame).length).toBeLessThanOrEqual(FRAME_BYTES_MAX)
    }
  })

  test('of tiny records are short enough for the wire too', () => {
    const tiny = new Array<number>(RECORDS_PER_FRAME_BYTES_MAX / 16).fill(16)
    for (const frame of settleFrames(JOB, pending(tiny), 10)) {
      expect(encodeFrame(frame).length).toBeLessThanOrEqual(FRAME_BYTES_MAX)
    }
  })

  test('put together give the records back, in order, whatever their lengths', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 200 * KIB }), { maxLength: 20 }),
        fc.constantFrom(0, 10, 400 * KIB, RESULT_BYTES_MAX),
        (recordBytes, resultBytes) => {
          const settle = pending(recordBytes, resultBytes)
          const received = receive(settleFrames(JOB, settle, 10))
          expect(received?.length).toBe(settle.records.length)
          expect(received?.every((record, index) => record === settle.records[index])).toBe(true)
        }
      ),
      { numRuns: 60 }
    )
  })

  test('lost, repeated or out of order never give wrong records: all of them, or none and another sending', () => {
    const settle = pending([300, 300, 300, 300].map(kib => kib * KIB))
    const whole = settleFrames(JOB, settle, 10)
    expect(whole.length).toBe(5)
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length - 1), { maxLength: 12 }), order => {
        const into = new PartialSettles()
        const sent = order.flatMap(index => whole[index] ?? [])
        for (const [index, frame] of sent.entries()) {
          const got = receive([frame], into)
          if (frame.kind === 'settle' && got !== undefined) expect(lengths(got)).toEqual(lengths(settle.records))
          if (frame.kind === 'settle' && index < 4) expect(got).toBeUndefined()
        }
        // Whatever came before: a complete sending in order is understood.
        expect(lengths(receive(whole, into))).toEqual(lengths(settle.records))
      }),
      { numRuns: 300 }
    )
  })
})

describe('a settle in parts', () => {
  const big = (owner: string) => ({ ...settleOf(owner), parts: 2 })
  const settleOf = (obligation: string) => split({ ...pending([10]), id: obligation }).last
  const part = (obligation: string, index: number): SettlePart => {
    return { kind: 'settlePart', job: JOB, obligation, index, records: [new Uint8Array(8).fill(index)] }
  }

  test('is committed only when all its parts are there, and acknowledged only then', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    tree.settlePart(CAROL, part(child, 0))
    expect(at(1, step => tree.settle(CAROL, big(child), 0, step)).summary).toEqual([])
    expect(tree.obligation(child)).toBeDefined()
    tree.settlePart(CAROL, part(child, 1))
    expect(at(2, step => tree.settle(CAROL, big(child), 0, step)).summary).toEqual(['carol<-settled', 'child-settled'])
  })

  test('takes no parts from strangers', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    for (const index of [0, 1]) tree.settlePart(ALICE, part(child, index))
    expect(at(1, step => tree.settle(CAROL, big(child), 0, step)).summary).toEqual([])
  })

  test('carries everything up: the owner sends all of it on with its own record', () => {
    const tree = bobsTree()
    const [child = ''] = running(tree, 1)
    for (const index of [0, 1]) tree.settlePart(CAROL, part(child, index))
    tree.settle(CAROL, big(child), 0, new Probe(1))
    const done = at(2, step => tree.bodyEnded('0:1', COMPLETED, 1, step))
    expect(done.frames('settle')[0]?.records).toHaveLength(1 + 3)
  })
})
