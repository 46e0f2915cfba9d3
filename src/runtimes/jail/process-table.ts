import { readdirSync, readFileSync } from 'node:fs'
import { JAIL_VARIABLE, type Mark, parseMarks } from './mark.ts'

/** One living process; zombies are not in the table, nothing of theirs runs any more. */
export interface ProcessRow {
  readonly pid: number
  readonly parent: number
  readonly session: number
  readonly marks: readonly Mark[]
}

export interface ProcessTable {
  readonly rows: readonly ProcessRow[]
  /**
   * Processes ended or were between two programs while they were looked at. A process forked by one of those may be
   * missing, so that absence is proven only by a table with `settled`, or by two in a row.
   */
  readonly settled: boolean
}

/** Whether this system shows its processes in /proc; elsewhere only process groups can be followed. */
export const processTableAvailable = process.platform === 'linux'

const VARIABLE_ENTRY = Buffer.from(`${JAIL_VARIABLE}=`)

/**
 * Reads all processes (synchronously: about 15 microseconds each). Those that started before `sinceTicks`
 * (`startTicks` of a process) carry no marks of interest and are not asked for them. Environments of other users cannot
 * be read: a set-uid program is only found by its session or its parent.
 * @throws errors of the file system, such as EMFILE: then nothing is known
 */
export function readProcessTable(sinceTicks = 0): ProcessTable {
  const rows: ProcessRow[] = []
  let settled = true
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const stat = readStat(pid)
    if (stat === undefined) {
      settled = false
      continue
    }
    if (stat.dead) continue
    let marks: readonly Mark[] = []
    if (stat.startTicks >= sinceTicks && stat.hasMemory) {
      const read = readMarks(pid)
      if (read === undefined) settled = false
      else marks = read
    }
    rows.push({ pid, parent: stat.parent, session: stat.session, marks })
  }
  return { rows, settled }
}

/** Clock ticks from the start of the system to the start of process `pid`; undefined when it is gone. */
export function startTicks(pid: number): number | undefined {
  return readStat(pid)?.startTicks
}

/**
 * Processes that match, with all in the sessions of `leaders` (pids that began as leaders of their own session, and so
 * of their own group; a number is not given to a new process while its session or group has members) and all their
 * descendants. Never the calling process.
 */
export function selectProcesses(
  table: ProcessTable,
  matches: (mark: Mark) => boolean,
  leaders: ReadonlySet<number> = new Set()
): ProcessRow[] {
  const children = new Map<number, ProcessRow[]>()
  const found = new Set<ProcessRow>()
  const queue: ProcessRow[] = []
  const take = (row: ProcessRow) => {
    if (row.pid === process.pid || found.has(row)) return
    found.add(row)
    queue.push(row)
  }
  for (const row of table.rows) {
    const siblings = children.get(row.parent)
    if (siblings === undefined) children.set(row.parent, [row])
    else siblings.push(row)
    if (leaders.has(row.session) || row.marks.some(matches)) take(row)
  }
  for (let row = queue.pop(); row !== undefined; row = queue.pop()) children.get(row.pid)?.forEach(take)
  return [...found]
}

interface Stat {
  readonly dead: boolean
  readonly parent: number
  readonly session: number
  readonly startTicks: number
  /** False for threads of the kernel. */
  readonly hasMemory: boolean
}

/** proc_pid_stat(5). The name in parentheses may itself hold blanks and parentheses. */
function readStat(pid: number): Stat | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return {
    dead: fields[0] === 'Z' || fields[0] === 'X',
    parent: Number(fields[1]),
    session: Number(fields[3]),
    startTicks: Number(fields[19]),
    hasMemory: fields[20] !== '0'
  }
}

/** Undefined when the process is gone or has no environment yet; empty when it may not be read. */
function readMarks(pid: number): Mark[] | undefined {
  let environment: Buffer
  try {
    environment = readFileSync(`/proc/${pid}/environ`)
  } catch (error) {
    if (isGone(error)) return undefined
    if (error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM')) return []
    throw error
  }
  if (environment.length === 0) return undefined
  let at = environment.indexOf(VARIABLE_ENTRY)
  while (at > 0 && environment[at - 1] !== 0) at = environment.indexOf(VARIABLE_ENTRY, at + 1)
  if (at < 0) return []
  const start = at + VARIABLE_ENTRY.length
  const end = environment.indexOf(0, start)
  return parseMarks(environment.toString('latin1', start, end < 0 ? undefined : end))
}

/** The process has ended since its name was read. */
function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')
}
