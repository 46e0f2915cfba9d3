import type { Command } from 'commander'
import type { DemoResult, DemoView, FirstAct, PoolWalk, TreeTotal } from '../../demo/index.ts'
import type { Job } from '../../wire/api/schemas.ts'
import { type Cli, EXIT_INTERRUPTED } from '../cli.ts'
import { printTable } from '../output/table.ts'
import type { Terminal } from '../output/terminal.ts'
import { count, duration } from '../output/text.ts'

/** Languages shown; the rest is in the sum. */
const LANGUAGES_SHOWN_MAX = 6

/** Differing directories that are named. */
const DIRECTORIES_SHOWN_MAX = 5

/** Columns of a full bar. */
const BAR_COLUMNS = 30

interface DemoOptions {
  readonly json?: true
}

export function register(program: Command, cli: Cli): void {
  program
    .command('demo')
    .description('five daemons walk a directory tree together and say when it is over, even when one of them is killed')
    .argument('[dir]', 'tree to walk: files, lines and bytes per language', '.')
    .option('--json', 'print the figures as JSON')
    .action(async (dir: string, options: DemoOptions) => {
      const { runDemo } = await import('../../demo/index.ts')
      const view = await demoView(cli.terminal, first => {
        if (!options.json) report(cli.terminal, first)
      })
      cli.exitCode = await cli.interruptible(async signal => {
        try {
          const result = await runDemo(dir, view, signal)
          view.clear()
          if (options.json) cli.terminal.json('Demo', figuresOf(result))
          else reportInterrupted(cli.terminal, result)
          return result.identical && result.interrupted.identical ? 0 : 1
        } catch (error) {
          view.clear()
          if (!signal.aborted) throw error
          cli.terminal.note('interrupted; all processes and files of the demo are gone')
          return EXIT_INTERRUPTED
        }
      })
    })
}

async function demoView(terminal: Terminal, compared: DemoView['compared']): Promise<DemoView & { clear(): void }> {
  const { isTTY } = terminal.stderr
  const noteEvent = (sinceMs: number, text: string) =>
    terminal.note(`${terminal.noteStyle('cyan', `  +${(sinceMs / 1_000).toFixed(1)} s`.padEnd(10))} ${text}`)
  if (!isTTY || terminal.dumb) {
    return { step: text => terminal.note(text), compared, event: noteEvent, progress() {}, clear() {} }
  }
  const { createLogUpdate } = await import('log-update')
  const live = createLogUpdate(terminal.stderr)
  const clear = () => {
    live.clear()
    live.done()
  }
  return {
    step(text) {
      clear()
      terminal.note(text)
    },
    compared(first) {
      clear()
      compared(first)
    },
    event(sinceMs, text) {
      clear()
      noteEvent(sinceMs, text)
    },
    progress: (job, names) => live(bars(terminal, job, names)),
    clear
  }
}

/** One bar per daemon: tasks that have ended there, as its last renewal said. */
function bars(terminal: Terminal, job: Job, names: readonly string[]): string {
  const ended = new Map(job.peers.map(({ name, tasks }) => [name, tasks]))
  const most = Math.max(1, ...ended.values())
  const full = terminal.unicode ? '█' : '#'
  const lines = names.map(name => {
    const tasks = ended.get(name) ?? 0
    const bar = full.repeat(Math.round((tasks / most) * BAR_COLUMNS))
    return `  ${name.padEnd(6)} ${terminal.noteStyle('cyan', bar.padEnd(BAR_COLUMNS))} ${String(tasks).padStart(6)}`
  })
  const { running = 0, waiting = 0, ageMs = 0 } = job.progress ?? {}
  const sum = `  ${job.tasks.total} tasks so far, ${running} running, ${waiting} waiting here (${Math.round(ageMs)} ms old)`
  return [...lines, sum].join('\n')
}

function report(terminal: Terminal, result: FirstAct): void {
  const { job } = result
  const { total } = job.tasks
  terminal.out('')
  printShares(terminal, job)
  terminal.out('')
  printTotals(terminal, result)
  terminal.out('')
  const detection = job.timings.detectionMs
  const known = detection === null ? 'unknown' : `${detection.toFixed(1)} ms`
  terminal.out(`verdict        ${job.verdict}: ${count(total, 'task')}, one per directory, known only as they came up`)
  terminal.out(`known to be over ${known} after the last task had ended`)
  const perTask = (result.controlFrames / Math.max(1, total)).toFixed(1)
  terminal.out(`control frames ${result.controlFrames} between the daemons, ${perTask} per task`)
  terminal.out(`time           ${duration(result.poolMs)} by the pool, ${duration(result.sequentialMs)} by one process`)
  const how =
    result.discovery === 'mdns'
      ? 'mDNS, and the token'
      : `static peers: ${result.discoveryDetail ?? 'mDNS does not work here'}`
  terminal.out(`discovery      ${how}`)
  printComparison(terminal, result, 'by both')
  terminal.out('')
}

function reportInterrupted(terminal: Terminal, { poolMs, interrupted }: DemoResult): void {
  const { job, killed, begunBefore, again, againAfterMs } = interrupted
  const { total } = job.tasks
  terminal.out('')
  printShares(terminal, job, killed)
  terminal.out('')
  const despite = killed === undefined ? '' : `, although ${killed} was killed when ${begunBefore} had begun`
  terminal.out(`verdict        ${job.verdict}: ${count(total, 'task')}${despite}`)
  if (killed !== undefined) {
    const first = againAfterMs === undefined ? '' : `, the first of them ${duration(againAfterMs)} after the kill`
    terminal.out(`done again     ${count(again, 'task')}${first}`)
  }
  terminal.out(`time           ${duration(interrupted.poolMs)}; ${duration(poolMs)} when nobody was killed`)
  printComparison(terminal, interrupted, 'again')
}

/** Tasks that count, by the daemon on which they were done. */
function printShares(terminal: Terminal, { peers, tasks: { total } }: Job, killed?: string): void {
  const share = (tasks: number) => `${((100 * tasks) / total).toFixed(0)} %`
  const rows = peers.map(({ name, tasks }) => [
    name === killed ? `${name} (killed)` : name,
    String(tasks),
    share(tasks)
  ])
  printTable(terminal, ['PEER', 'TASKS', 'SHARE'], rows)
}

function printComparison(terminal: Terminal, walk: PoolWalk, by: string): void {
  if (walk.identical) terminal.out(terminal.style('green', `identical: digest ${walk.pool.digest.slice(0, 16)} ${by}`))
  else printDifference(terminal, walk)
}

/** A tree that somebody writes into during the demo cannot give one sum. */
function printDifference(terminal: Terminal, { differing }: PoolWalk): void {
  terminal.out(terminal.style('red', `DIFFERENT: the two walks disagree on ${differing.length} of the directories`))
  for (const dir of differing.slice(0, DIRECTORIES_SHOWN_MAX)) terminal.out(`  ${dir}`)
  terminal.note('hint: was something written there meanwhile? run the demo again, or on a tree that is at rest')
}

function printTotals(terminal: Terminal, { pool, sequential }: FirstAct): void {
  const languages = Object.entries(pool.languages).sort(([, a], [, b]) => b[2] - a[2])
  const rows = languages
    .slice(0, LANGUAGES_SHOWN_MAX)
    .map(([language, counts]) => [
      language,
      ...counts.map(String),
      ...(sequential.languages[language] ?? [0, 0, 0]).map(String)
    ])
  const totals = (total: TreeTotal) => [total.files, total.lines, total.bytes].map(String)
  rows.push(['total', ...totals(pool), ...totals(sequential)])
  printTable(terminal, ['LANGUAGE', 'FILES', 'LINES', 'BYTES', 'FILES (SEQ.)', 'LINES (SEQ.)', 'BYTES (SEQ.)'], rows)
}

function figuresOf(result: DemoResult): object {
  const { job, interrupted, ...figures } = result
  return {
    ...figures,
    job: summaryOf(job),
    interrupted: { ...interrupted, killed: interrupted.killed ?? null, job: summaryOf(interrupted.job) }
  }
}

function summaryOf({ result: _, items: __, ...summary }: Job): object {
  return summary
}
