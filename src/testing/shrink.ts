import type { Fault } from './faults.ts'
import type { Violation } from './oracle.ts'
import type { NetworkPlan, SchedulePlan } from './plan.ts'
import { Simulation } from './simulation.ts'

/** Runs that shrinking one failure may cost. */
const SHRINK_RUNS_MAX = 400

export interface Shrunken {
  readonly plan: SchedulePlan
  readonly violation: Violation
  readonly runs: number
}

/**
 * The same sort of violation with as few faults as possible (delta debugging, Zeller 2002), on a network that misbehaves
 * as little as possible. `run`: runs a schedule and says what went wrong.
 */
export async function shrink(plan: SchedulePlan, violation: Violation, run = simulate): Promise<Shrunken> {
  let best: Shrunken = { plan, violation, runs: 0 }
  let runs = 0
  const fails = async (candidate: SchedulePlan): Promise<boolean> => {
    if (runs >= SHRINK_RUNS_MAX) return false
    runs += 1
    const same = (await run(candidate)).find(({ kind }) => kind === violation.kind)
    if (same !== undefined) best = { plan: candidate, violation: same, runs }
    return same !== undefined
  }
  await fewest(plan.faults, faults => fails({ ...best.plan, faults }))
  const calm: Partial<NetworkPlan>[] = [{ duplicate: 0, redelivery: 0, reorder: 0, gossipLoss: 0 }]
  for (const key of ['duplicate', 'redelivery', 'reorder', 'gossipLoss'] as const) calm.push({ [key]: 0 })
  for (const change of calm) await fails({ ...best.plan, network: { ...best.plan.network, ...change } })
  await fewest(best.plan.faults, faults => fails({ ...best.plan, faults }))
  return { ...best, runs }
}

async function simulate(plan: SchedulePlan): Promise<readonly Violation[]> {
  return (await new Simulation(plan).run()).violations
}

/** Leaves out ever smaller parts, as long as the rest still fails. */
async function fewest(faults: readonly Fault[], fails: (rest: readonly Fault[]) => Promise<boolean>): Promise<void> {
  let left = faults
  let size = Math.ceil(left.length / 2)
  while (size >= 1 && left.length > 0) {
    let shorter = false
    for (let start = 0; start < left.length; start += size) {
      const rest = [...left.slice(0, start), ...left.slice(start + size)]
      if (!(await fails(rest))) continue
      left = rest
      shorter = true
      start -= size
    }
    if (size === 1 && !shorter) return
    size = size === 1 ? 1 : Math.ceil(size / 2)
  }
}
