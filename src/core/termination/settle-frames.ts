import type { Settle, SettlePart } from '../frames.ts'
import type { JobId, Monotonic, ObligationId } from '../ids.ts'
import { RECORDS_PER_FRAME_BYTES_MAX, SETTLE_PARTS_MAX } from '../limits.ts'
import type { PendingSettle } from './vertex.ts'

/** Frames of one settle: parts with records while they do not fit, then the settle itself. In this order on one link. */
export function settleFrames(job: JobId, settle: PendingSettle, now: Monotonic): (SettlePart | Settle)[] {
  const chunks: Uint8Array[][] = []
  let chunk: Uint8Array[] = []
  let bytes = settle.result.length
  for (const record of settle.records) {
    if (bytes + record.length > RECORDS_PER_FRAME_BYTES_MAX) {
      if (chunk.length > 0) chunks.push(chunk)
      chunk = []
      bytes = 0
    }
    chunk.push(record)
    bytes += record.length
  }
  // The settle frame carries the result, so it takes records only when all of them fit beside it.
  const last = chunks.length === 0 && settle.result.length + bytesOf(chunk) <= RECORDS_PER_FRAME_BYTES_MAX ? chunk : []
  if (last !== chunk && chunk.length > 0) chunks.push(chunk)
  const parts = chunks.map(
    (records, index): SettlePart => ({ kind: 'settlePart', job, obligation: settle.id, index, records })
  )
  return [
    ...parts,
    {
      kind: 'settle',
      job,
      obligation: settle.id,
      outcome: settle.outcome,
      result: settle.result,
      error: settle.error,
      parts: parts.length,
      records: last,
      endedAgoMs: Math.max(0, now - settle.lastEndedAt)
    }
  ]
}

/** Parts that have arrived ahead of their settle. */
export class PartialSettles {
  readonly #parts = new Map<ObligationId, Uint8Array[][]>()

  /** Parts come in order; anything else is the rest of an older sending and begins anew. */
  add(frame: SettlePart): void {
    const parts = this.#parts.get(frame.obligation) ?? []
    if (frame.index === 0) this.#parts.set(frame.obligation, [[...frame.records]])
    else if (frame.index === parts.length && parts.length < SETTLE_PARTS_MAX) parts.push([...frame.records])
  }

  /** All records of the settle, or undefined when parts are missing: it will be sent again. */
  complete(frame: Settle): readonly Uint8Array[] | undefined {
    const parts = this.#parts.get(frame.obligation) ?? []
    if (frame.parts === 0) return frame.records
    if (parts.length !== frame.parts) return undefined
    return [...parts.flat(), ...frame.records]
  }

  drop(id: ObligationId): void {
    this.#parts.delete(id)
  }

  clear(): void {
    this.#parts.clear()
  }
}

function bytesOf(records: readonly Uint8Array[]): number {
  return records.reduce((sum, record) => sum + record.length, 0)
}
