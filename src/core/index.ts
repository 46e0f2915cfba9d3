/**
 * The protocol: pure state machines and functions. No timers, randomness, IO or logging; time and random numbers come
 * in as arguments, effects leave as values. The daemon and the simulator run this same code.
 */
export * from './errors.ts'
export * from './frames.ts'
export * from './ids.ts'
export * from './limits.ts'
export * from './membership/index.ts'
export * from './node/index.ts'
export * from './placement/index.ts'
export * from './termination/index.ts'
