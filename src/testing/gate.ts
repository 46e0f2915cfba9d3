import type { CampaignResult } from './campaign.ts'
import { emptyCells } from './frame-coverage.ts'

/** Faults that a schedule must have on average: a search that hits nothing finds nothing. */
export const DENSITY_MIN = { crash: 10, 'root crash': 2, pause: 5, partition: 2 } as const

/** Verdicts that must occur at least once in so many jobs. */
const JOBS_PER_VERDICT = 500

/** What a campaign lacks as a proof: too few faults or verdicts, frames to which something never happened. */
export function gateProblems(result: CampaignResult): string[] {
  const problems: string[] = []
  for (const [kind, least] of Object.entries(DENSITY_MIN)) {
    const found = (result.faults[kind] ?? 0) / result.schedules
    if (found < least) problems.push(`${found.toFixed(2)} x ${kind} per schedule, at least ${least}`)
  }
  const jobs = Object.values(result.verdicts).reduce((sum, count) => sum + count, 0)
  for (const verdict of ['completed', 'completed-with-failures', 'incomplete', 'cancelled']) {
    if ((result.verdicts[verdict] ?? 0) < jobs / JOBS_PER_VERDICT) problems.push(`too few jobs are ${verdict}`)
  }
  return [...problems, ...emptyCells(result.frames).map(cell => `never happened: ${cell}`)]
}
