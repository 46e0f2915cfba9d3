import type { JobId } from '../core/ids.ts'

/** Something in the journal that is not what was written. */
export interface JournalDamage {
  readonly job: JobId
  readonly where: 'records' | 'summary' | 'items'
  /** `checksum`: bits changed; `missing`: a hole at this place; `unreadable`: intact, but not understood. */
  readonly reason: 'checksum' | 'missing' | 'unreadable'
  /** Place of the first damaged record, or part of the items, from 0. */
  readonly position: number
}
