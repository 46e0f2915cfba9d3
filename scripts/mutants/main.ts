/**
 * Mutation gate: takes every cure out of a copy of the sources, one at a time, and has the simulator look for the
 * consequences. Exit 1 when one of them is not noticed. `--only TEXT`: mutants whose name or cure contains it; `--jobs N`.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { BUDGET_SEEDS, type Mutant } from './mutant.ts'
import { OTHER_MUTANTS } from './other-mutants.ts'
import { PROTOCOL_MUTANTS } from './protocol-mutants.ts'

/** One mutant may take so long; a search that ends by it has not found anything. */
const HUNT_LIMIT_MS = 240_000

const ROOT = resolve(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    jobs: { type: 'string' },
    source: { type: 'string' },
    group: { type: 'string' }
  }
})
const SOURCE = values.source ?? join(ROOT, 'src')

interface Outcome {
  readonly mutant: Mutant
  readonly ms: number
  readonly schedules: number
  readonly killed: { readonly by: string; readonly kind: string; readonly text: string } | null
}

const begunAt = performance.now()
const wanted = [...PROTOCOL_MUTANTS, ...OTHER_MUTANTS].filter(({ name, cure }) =>
  `${name} ${cure}`.includes(values.only)
)
const left = [...wanted]
const outcomes: Outcome[] = []
const jobs = Number(values.jobs ?? availableParallelism())
await Promise.all(Array.from({ length: jobs }, () => work()))

const survivors = outcomes.filter(({ killed }) => killed === null)
const seconds = ((performance.now() - begunAt) / 1_000).toFixed(0)
console.log(`\n${outcomes.length} mutants, ${survivors.length} survived, ${seconds} s`)
for (const { mutant } of survivors) console.log(`survived: ${mutant.name} (${mutant.cure})`)
console.log(`${outcomes.length - survivors.length} passed, ${survivors.length} failed`)
process.exitCode = survivors.length > 0 || wanted.length === 0 ? 1 : 0

async function work(): Promise<void> {
  for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
    const outcome = await hunt(mutant)
    outcomes.push(outcome)
    const { killed, schedules, ms } = outcome
    const how = killed === null ? 'SURVIVED' : `${killed.kind}, ${killed.by}`
    console.log(`${killed === null ? '!' : '-'} ${mutant.cure}: ${mutant.name}`)
    console.log(`    ${how}; ${schedules} schedules, ${(ms / 1_000).toFixed(1)} s`)
    if (killed !== null) console.log(`    ${killed.text}`)
  }
}

async function hunt(mutant: Mutant): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), 'starling-mutant-'))
  try {
    const source = join(directory, 'src')
    cpSync(SOURCE, source, { recursive: true })
    for (const name of ['node_modules', 'package.json']) symlinkSync(join(ROOT, name), join(directory, name))
    for (const { file, find, replace } of mutant.edits) {
      const text = readFileSync(join(source, file), 'utf8')
      const times = text.split(find).length - 1
      if (times !== 1) throw new Error(`mutant "${mutant.name}": its place occurs ${times} times in ${file}`)
      writeFileSync(
        join(source, file),
        text.replace(find, () => replace)
      )
    }
    return { mutant, ...(await search(source, mutant.budget ?? BUDGET_SEEDS)) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function search(source: string, seeds: number): Promise<Omit<Outcome, 'mutant'>> {
  const startedAt = performance.now()
  const flags = ['--no-warnings', '--experimental-transform-types']
  const args = [...flags, join(import.meta.dirname, 'hunt.ts'), source, String(seeds)]
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: HUNT_LIMIT_MS })
    return { ms: performance.now() - startedAt, ...JSON.parse(stdout) }
  } catch (error) {
    if (!(error instanceof Error && 'killed' in error && error.killed === true)) throw error
    return { ms: performance.now() - startedAt, schedules: 0, killed: null }
  }
}
