/**
 * Jails: sets of processes that end together. A process of a task, its children and whatever these leave behind are
 * killed as one, and so they are when the daemon itself is killed. Used by every runtime that starts programs.
 */
export { Jail, type JailKind, KILL_GRACE_MS, type SpawnOptions } from './jail.ts'
export { JAIL_VARIABLE } from './mark.ts'
export { OutputPipe, OutputPipes } from './output-pipes.ts'
export { ProcessJails, type ProcessJailsInit, processJails } from './process-jails.ts'
export { type ReapLeftoversInit, reapLeftovers } from './reap-leftovers.ts'
