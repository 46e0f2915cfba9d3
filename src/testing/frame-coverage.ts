import type { Frame, FrameKind } from '../core/index.ts'
import { FRAME_KINDS } from '../wire/index.ts'

/** What can happen to a frame on its way. */
export const FRAME_FATES = ['lost', 'duplicated', 'late', 'after crash of sender', 'after crash of receiver'] as const
export type FrameFate = (typeof FRAME_FATES)[number]

/** Frames between daemons as such; all others belong to jobs, and the protocol has to bear whatever happens to them. */
const MEMBERSHIP_KINDS: ReadonlySet<string> = new Set([
  'hello',
  'heartbeat',
  'heartbeatAck',
  'peers',
  'goodbye',
  'drain'
])

export const JOB_FRAME_KINDS: readonly FrameKind[] = FRAME_KINDS.filter(kind => !MEMBERSHIP_KINDS.has(kind))

export function isJobFrame(frame: Frame): boolean {
  return !MEMBERSHIP_KINDS.has(frame.kind)
}

/** How often each kind of frame met each fate. */
export type FrameTable = Record<string, Record<FrameFate, number>>

export function emptyTable(): FrameTable {
  return Object.fromEntries(JOB_FRAME_KINDS.map(kind => [kind, emptyRow()]))
}

export function addTable(sum: FrameTable, part: FrameTable): void {
  for (const [kind, row] of Object.entries(part)) {
    const into = sum[kind] ?? emptyRow()
    for (const fate of FRAME_FATES) into[fate] += row[fate]
    sum[kind] = into
  }
}

/** Cells that are zero: `kind: fate`. */
export function emptyCells(table: FrameTable): string[] {
  return Object.entries(table).flatMap(([kind, row]) =>
    FRAME_FATES.filter(fate => row[fate] === 0).map(fate => `${kind}: ${fate}`)
  )
}

function emptyRow(): Record<FrameFate, number> {
  return { lost: 0, duplicated: 0, late: 0, 'after crash of sender': 0, 'after crash of receiver': 0 }
}
