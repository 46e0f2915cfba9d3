/**
 * Searches one copy of the sources for a violation: `hunt.ts SRC SEEDS`. The kept schedules come first, then seeds 1 ..
 * SEEDS, until the first violation. Prints one line of JSON.
 */
import { pathToFileURL } from 'node:url'
import { KEPT_SCHEDULES } from '../../test/simulator/kept-schedules.ts'

type Testing = typeof import('../../src/testing/index.ts')

const [source = '', seeds = '0'] = process.argv.slice(2)
const { planOf, Simulation }: Testing = await import(`${pathToFileURL(source).href}/testing/index.ts`)

const kept = KEPT_SCHEDULES.flatMap(({ name, seeds, change }) =>
  seeds.map(seed => ({ name: `"${name}", seed ${seed}`, plan: { ...planOf(seed), ...change } }))
)
const fresh = Array.from({ length: Number(seeds) }, (_, index) => ({ name: `seed ${index + 1}`, seed: index + 1 }))

let schedules = 0
let killed: object | undefined
for (const schedule of [...kept, ...fresh]) {
  const plan = 'plan' in schedule ? schedule.plan : planOf(schedule.seed)
  const [violation] = (await new Simulation(plan).run()).violations
  schedules += 1
  if (violation === undefined) continue
  killed = { by: schedule.name, kind: violation.kind, text: violation.text.slice(0, 200) }
  break
}
process.stdout.write(`${JSON.stringify({ schedules, killed: killed ?? null })}\n`)
