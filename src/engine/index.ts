/**
 * Drives the protocol core over the ports: inputs in, core steps, journal writes and effects out. Knows no adapter.
 */
export type { ServedCapability } from './attempts.ts'
export { Engine, type EngineFailure, type EngineInit } from './engine.ts'
export { LocalApi, type LocalApiInit } from './local-api.ts'
