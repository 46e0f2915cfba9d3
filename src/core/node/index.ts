/**
 * One daemon's protocol as one deterministic machine (`MeshNode`): inputs in, records and effects out, no IO. It joins
 * membership, placement and termination; engine and simulator drive it.
 */
export { NO_DRAIN_DEADLINE_MS } from './admission.ts'
export * from './effects.ts'
export * from './explain.ts'
export * from './mesh-node.ts'
