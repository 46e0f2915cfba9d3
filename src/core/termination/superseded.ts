import type { Settle, TaskRecord } from '../frames.ts'
import type { ObligationId, PeerId } from '../ids.ts'
import { RECORD_RESULT_BYTES_MAX, SUPERSEDED_MAX } from '../limits.ts'
import type { Obligation } from './obligation.ts'
import { lostRecord, NOTHING } from './vertex.ts'

/**
 * Attempts that were issued again because their host was taken for lost. When one settles after all, its end is late:
 * another attempt of the task is the one that counts (I4), but people want to see what became of it.
 */
export class Superseded {
  readonly #attempts = new Map<ObligationId, Obligation>()

  /** The oldest is forgotten beyond SUPERSEDED_MAX: its end is then ignored in silence. */
  add(obligation: Obligation): void {
    this.#attempts.set(obligation.id, obligation)
    const oldest = this.#attempts.keys().next().value
    if (this.#attempts.size > SUPERSEDED_MAX && oldest !== undefined) this.#attempts.delete(oldest)
  }

  /** The record of a late end; each attempt's is given once. Undefined when `settle` ends no superseded attempt. */
  lateEnd(from: PeerId, settle: Settle): TaskRecord | undefined {
    const obligation = this.#attempts.get(settle.obligation)
    if (obligation === undefined || obligation.binding?.to !== from) return undefined
    this.#attempts.delete(settle.obligation)
    if (settle.outcome !== 'completed' && settle.outcome !== 'failed') return undefined
    const result = settle.result.length <= RECORD_RESULT_BYTES_MAX ? settle.result : NOTHING
    return { ...lostRecord(obligation, from, 'late', settle.error), result }
  }
}
