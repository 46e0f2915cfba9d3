import { type Command, InvalidArgumentError } from 'commander'
import type { CampaignResult, Failure } from '../../testing/index.ts'
import { type Cli, EXIT_INTERRUPTED } from '../cli.ts'
import { printTable } from '../output/table.ts'
import type { Terminal } from '../output/terminal.ts'

/** Between two lines of progress. */
const PROGRESS_MS = 2_000

/** Threads; more than any machine has cores for. */
const JOBS_MAX = 256

/** Hosts of a simulated mesh. */
const HOSTS_MIN = 2
const HOSTS_MAX = 20

interface SimOptions {
  readonly seeds: { readonly from: number; readonly to: number }
  readonly jobs: number
  readonly hosts?: number
  readonly json?: true
  readonly trace?: true
  readonly gate?: true
}

export function register(program: Command, cli: Cli): void {
  program
    .command('sim')
    .description('run the daemon on simulated machines under crashes, pauses and partitions; exit 1 at a violation')
    .option('--seeds <from..to>', 'schedules to run, one per seed', seeds, { from: 1, to: 1_000 })
    .option('--jobs <n>', 'threads', whole(1, JOBS_MAX), 1)
    .option('--hosts <n>', 'hosts of every schedule (default: by the seed, mostly 5)', whole(HOSTS_MIN, HOSTS_MAX))
    .option('--gate', 'fail as well when a fault, a verdict or a fate of a frame has not occurred often enough')
    .option('--trace', 'print every event of every schedule, in this thread')
    .option('--json', 'print the figures as JSON')
    .action(async (options: SimOptions) => {
      cli.exitCode = await cli.interruptible(signal => simulate(options, cli.terminal, signal))
    })
}

async function simulate(options: SimOptions, terminal: Terminal, signal: AbortSignal): Promise<number> {
  const begunAt = performance.now()
  const result = options.trace ? await traced(options, terminal) : await counted(options, terminal, signal)
  const elapsedMs = performance.now() - begunAt
  const { gateProblems } = await import('../../testing/index.ts')
  const missing = options.gate ? gateProblems(result) : []
  if (options.json) terminal.json('Simulation', { ...result, missing, elapsedMs })
  else report(terminal, result, missing, elapsedMs)
  if (Object.keys(result.violations).length > 0 || missing.length > 0) return 1
  return signal.aborted ? EXIT_INTERRUPTED : 0
}

async function counted(options: SimOptions, terminal: Terminal, signal: AbortSignal): Promise<CampaignResult> {
  const { runOnThreads } = await import('../../testing/index.ts')
  const { seeds, jobs, hosts } = options
  let toldAt = performance.now()
  const progress = ({ schedules, violations }: CampaignResult) => {
    const now = performance.now()
    if (now - toldAt < PROGRESS_MS) return
    toldAt = now
    const found = Object.values(violations).reduce((sum, count) => sum + count, 0)
    terminal.note(`${schedules} of ${seeds.to - seeds.from + 1} schedules, ${found} violations`)
  }
  return runOnThreads(seeds.from, seeds.to, { jobs, hosts, signal, progress })
}

/** For one seed, or a few: all that happens goes to stdout as it happens, so that two runs can be compared. */
async function traced({ seeds, hosts }: SimOptions, terminal: Terminal): Promise<CampaignResult> {
  const { runCampaign } = await import('../../testing/index.ts')
  const listen = (line: string) => terminal.out(line)
  return runCampaign(seeds.from, seeds.to, { hosts, listen, shrinks: false })
}

function report(terminal: Terminal, result: CampaignResult, missing: readonly string[], elapsedMs: number): void {
  const { schedules, faults, verdicts, violations, frames, failures, digest } = result
  const rates = (counts: Record<string, number>) =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .map(([kind, count]) => [kind, String(count), (count / Math.max(1, schedules)).toFixed(2)])
  printTable(terminal, ['FAULT', 'TIMES', 'PER SCHEDULE'], rates(faults))
  terminal.out('')
  printTable(terminal, ['VERDICT', 'JOBS', 'PER SCHEDULE'], rates(verdicts))
  terminal.out('')
  const rows = Object.entries(frames).map(([kind, fates]) => [kind, ...Object.values(fates).map(String)])
  printTable(terminal, ['FRAME', 'LOST', 'DUPLICATED', 'LATE', 'SENDER CRASHED', 'RECEIVER CRASHED'], rows)
  terminal.out('')
  const perSecond = schedules / (elapsedMs / 1_000)
  terminal.out(`schedules      ${schedules} in ${(elapsedMs / 1_000).toFixed(1)} s, ${perSecond.toFixed(1)} a second`)
  terminal.out(`simulated      ${(result.simulatedMs / 3_600_000).toFixed(1)} hours, ${result.bodies} task bodies`)
  terminal.out(`digest         ${digest}`)
  for (const problem of missing) terminal.out(terminal.style('red', `not enough     ${problem}`))
  const found = Object.entries(violations).map(([kind, count]) => `${count} x ${kind}`)
  if (found.length === 0) return terminal.out(terminal.style('green', 'violations     0'))
  terminal.out(terminal.style('red', `violations     ${found.join(', ')}`))
  for (const failure of failures) printFailure(terminal, failure)
}

function printFailure(terminal: Terminal, { seed, kind, at, text, faults, command }: Failure): void {
  terminal.out('')
  terminal.out(terminal.style('bold', `seed ${seed}: ${kind} at ${at.toFixed(1)} ms`))
  terminal.out(`  ${text}`)
  terminal.out(faults.length === 0 ? '  without any fault' : '  with these faults alone:')
  for (const fault of faults) terminal.out(`    ${fault}`)
  terminal.out(`  again: ${command}`)
}

function seeds(value: string): SimOptions['seeds'] {
  const match = /^(\d{1,15})(?:\.\.(\d{1,15}))?$/.exec(value)
  const from = Number(match?.[1] ?? Number.NaN)
  const to = Number(match?.[2] ?? match?.[1] ?? Number.NaN)
  if (!(from <= to)) throw new InvalidArgumentError('give a number, or FROM..TO')
  return { from, to }
}

function whole(least: number, most: number): (value: string) => number {
  return value => {
    const number = Number(value)
    if (Number.isInteger(number) && number >= least && number <= most) return number
    throw new InvalidArgumentError(`give a whole number from ${least} to ${most}`)
  }
}
