/**
 * Deterministic simulation: the production engine and protocol on several simulated machines, over simulated clocks,
 * networks, disks and processes, under faults. One seed is one schedule; the same seed gives the same events, always.
 *
 * ```ts
 * const { violations, digest } = await new Simulation(planOf(17)).run()
 * ```
 */

export { JournalAudit } from './audit.ts'
export { addCampaign, type CampaignResult, emptyCampaign, type Failure, runCampaign } from './campaign.ts'
export { describeFault, FAULT_RATES, type Fault, type FaultKind, type FaultRates } from './faults.ts'
export { emptyCells, FRAME_FATES, type FrameFate, type FrameTable, JOB_FRAME_KINDS } from './frame-coverage.ts'
export { DENSITY_MIN, gateProblems } from './gate.ts'
export type { Violation, ViolationKind } from './oracle.ts'
export { HOSTS_DEFAULT, type PlanOptions, planOf, type SchedulePlan } from './plan.ts'
export { judgeResult, type Witnessed } from './result-check.ts'
export { type Shrunken, shrink } from './shrink.ts'
export { type ScheduleResult, Simulation } from './simulation.ts'
export { type TaskShape, TaskTree, type TreePlan } from './task-tree.ts'
export { type PoolOptions, runOnThreads } from './workers.ts'
