import { describeFault, type Fault } from './faults.ts'
import { addTable, emptyTable, type FrameTable } from './frame-coverage.ts'
import { type PlanOptions, planOf } from './plan.ts'
import { shrink } from './shrink.ts'
import { type ScheduleResult, Simulation } from './simulation.ts'

/** Failures that are shrunk and told in full; more of them say no more. */
export const FAILURES_TOLD_MAX = 10

/** Of so many schedules one is run twice, and must go the same way twice. */
const REPEAT_EVERY = 100

export interface Failure {
  readonly seed: number
  readonly kind: string
  /** Simulated milliseconds. */
  readonly at: number
  readonly text: string
  /** The shrunken list, in words and as it can be run again. */
  readonly faults: readonly string[]
  readonly plan: { readonly faults: readonly Fault[]; readonly network: object }
  /** Command that repeats it, with all its faults. */
  readonly command: string
}

/** What a range of seeds came to. Sums, so that parts can be added in any order. */
export interface CampaignResult {
  schedules: number
  events: number
  bodies: number
  simulatedMs: number
  readonly faults: Record<string, number>
  readonly verdicts: Record<string, number>
  /** Schedules by the sort of their first violation. */
  readonly violations: Record<string, number>
  readonly failures: Failure[]
  readonly frames: FrameTable
  /** Of all schedules together, whatever their order. */
  digest: string
}

export interface CampaignOptions extends PlanOptions {
  readonly shrinks?: boolean
  /** Gets every event as text. */
  readonly listen?: (line: string) => void
  /** Called after every schedule. True: enough. */
  readonly after?: (result: ScheduleResult) => boolean | undefined
}

export function emptyCampaign(): CampaignResult {
  return {
    schedules: 0,
    events: 0,
    bodies: 0,
    simulatedMs: 0,
    faults: {},
    verdicts: {},
    violations: {},
    failures: [],
    frames: emptyTable(),
    digest: '0'.repeat(16)
  }
}

/** Runs the schedules of seeds `from` .. `to`, one after the other. */
export async function runCampaign(from: number, to: number, options: CampaignOptions = {}): Promise<CampaignResult> {
  const sum = emptyCampaign()
  for (let seed = from; seed <= to; seed += 1) {
    const plan = planOf(seed, options)
    const simulation = new Simulation(plan)
    simulation.trace.listen = options.listen
    const result = await simulation.run()
    addSchedule(sum, result)
    let [violation] = result.violations
    if (violation === undefined && seed % REPEAT_EVERY === 0) {
      const again = await new Simulation(plan).run()
      const text = `went two ways: ${result.digest} and ${again.digest}`
      if (again.digest !== result.digest) violation = { kind: 'not-deterministic', at: 0, text }
    }
    if (violation !== undefined) {
      sum.violations[violation.kind] = (sum.violations[violation.kind] ?? 0) + 1
      if (sum.failures.length < FAILURES_TOLD_MAX) {
        const small = options.shrinks === false ? { plan, violation } : await shrink(plan, violation)
        const { faults, network } = small.plan
        const { kind, at, text } = small.violation
        const hosts = options.hosts === undefined ? '' : ` --hosts ${options.hosts}`
        const command = `starling sim --seeds ${seed}..${seed}${hosts}`
        sum.failures.push({
          seed,
          kind,
          at,
          text,
          faults: faults.map(describeFault),
          plan: { faults, network },
          command
        })
      }
    }
    if (options.after?.(result)) break
  }
  return sum
}

/** Adds what another part of the seeds came to. */
export function addCampaign(sum: CampaignResult, part: CampaignResult): void {
  sum.schedules += part.schedules
  sum.events += part.events
  sum.bodies += part.bodies
  sum.simulatedMs += part.simulatedMs
  for (const key of ['faults', 'verdicts', 'violations'] as const) addCounts(sum[key], part[key])
  for (const failure of part.failures) if (sum.failures.length < FAILURES_TOLD_MAX) sum.failures.push(failure)
  addTable(sum.frames, part.frames)
  sum.digest = addDigests(sum.digest, part.digest)
}

function addSchedule(sum: CampaignResult, result: ScheduleResult): void {
  sum.schedules += 1
  sum.events += result.events
  sum.bodies += result.bodies
  sum.simulatedMs += result.endedAtMs
  addCounts(sum.faults, result.faults)
  addCounts(sum.verdicts, result.verdicts)
  addTable(sum.frames, result.frames)
  sum.digest = addDigests(sum.digest, result.digest)
}

function addCounts(sum: Record<string, number>, part: Readonly<Record<string, number | undefined>>): void {
  for (const [key, count] of Object.entries(part)) sum[key] = (sum[key] ?? 0) + (count ?? 0)
}

/** Sums of both halves: the order of the parts does not matter. */
function addDigests(a: string, b: string): string {
  const half = (at: number) =>
    (Number.parseInt(a.slice(at, at + 8), 16) + Number.parseInt(b.slice(at, at + 8), 16)) >>> 0
  return [0, 8].map(at => half(at).toString(16).padStart(8, '0')).join('')
}
