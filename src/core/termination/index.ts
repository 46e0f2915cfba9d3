/**
 * Knowing exactly when a job is over: Dijkstra-Scholten over named obligations, made crash-tolerant by leases and
 * fences. `Ledger` is the root of a job, `Participant` one daemon's part in it.
 */
export * from './effects.ts'
export * from './engaged-tree.ts'
export * from './ledger.ts'
export * from './ledger-state.ts'
export * from './obligation.ts'
export * from './participant.ts'
export type * from './records.ts'
export type { SpawnRefusal } from './spawn-refusal.ts'
export * from './timing.ts'
export * from './verdict.ts'
export * from './vertex.ts'
