/**
 * Contracts between the engine and the world: network, journal, runtimes, clock, log. Types only, no behaviour; each
 * has a real adapter in src and a memory twin in test, and both pass the same compliance suite.
 */
export type * from './clock.ts'
export type * from './daemon-api.ts'
export type * from './journal.ts'
export * from './logger.ts'
export type * from './membership.ts'
export type * from './network.ts'
export type * from './runtime.ts'
