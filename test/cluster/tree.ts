import { readFileSync } from 'node:fs'
import type { Job, TaskItem } from '../../src/sdk/index.ts'

/** Capability of the workers: a task spawns `fanout` tasks of one level less, until `depth` is 0. */
export const TREE = 'tree'

export interface TreeInput {
  readonly depth: number
  readonly fanout: number
  /** Each body works half of it before it spawns and half of it after. */
  readonly workMs: number
  /** Instead of `workMs`, of a leaf that is executed for the first time. */
  readonly firstLeafMs?: number | undefined
  /** Children are spawned as tasks that never run twice at the same time. */
  readonly exclusive?: boolean | undefined
  /** Place in the tree, made by the workers themselves: "0", "0.1", "0.1.2". The root's may be left out. */
  readonly label?: string
}

export interface TreeResult {
  readonly label: string
}

/** A line that a worker writes into its diary when a body begins, and when it ends, however it does. */
export interface DiaryEntry {
  readonly kind: 'begin' | 'end' | 'aborted'
  readonly taskId: string
  readonly attempt: number
  /** Fencing token: tells attempts apart whose task was spawned again by another attempt of its parent. */
  readonly token: string
  /** Wall clock of the machine, which all hosts share. */
  readonly atMs: number
}

export interface BodyRun {
  readonly taskId: string
  readonly attempt: number
  readonly token: string
  readonly beganAtMs: number
  /** Undefined: its end was never written, since it still runs or its process was killed. */
  readonly endedAtMs: number | undefined
  readonly end: 'end' | 'aborted' | undefined
}

/** All bodies that a diary tells of, for one job, in the order of their begin. */
export function readDiary(path: string, jobId: string): BodyRun[] {
  const entries = readFileSync(path, 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as DiaryEntry)
    .filter(({ taskId }) => taskId.startsWith(`${jobId}.`))
  return entries
    .filter(({ kind }) => kind === 'begin')
    .map(begin => {
      const end = entries.find(
        entry => entry.kind !== 'begin' && entry.taskId === begin.taskId && entry.token === begin.token
      )
      return {
        taskId: begin.taskId,
        attempt: begin.attempt,
        token: begin.token,
        beganAtMs: begin.atMs,
        endedAtMs: end?.atMs,
        end: end?.kind === 'begin' ? undefined : end?.kind
      }
    })
}

/** Labels of all tasks of the tree. */
export function labelsOf({ depth, fanout }: TreeInput, label = '0'): string[] {
  if (depth === 0) return [label]
  const below = Array.from({ length: fanout }, (_, index) =>
    labelsOf({ depth: depth - 1, fanout, workMs: 0 }, `${label}.${index}`)
  )
  return [label, ...below.flat()]
}

/** What is wrong with the account of a finished job; empty when it is honest. */
export function accountFaults(job: Job, input: TreeInput): string[] {
  const faults: string[] = []
  const items = job.items ?? []
  const byId = new Map<string, TaskItem>()
  for (const item of items) {
    if (byId.has(item.id)) faults.push(`task ${item.id} is listed twice`)
    byId.set(item.id, item)
  }
  const lost = new Set(job.lost)
  for (const label of labelsOf(input)) {
    const id = `${job.id}.${label}`
    const item = byId.get(id)
    byId.delete(id)
    if (item?.outcome === 'completed') {
      const given = (item.result as TreeResult | undefined)?.label
      if (given !== label) faults.push(`task ${id} completed with the result of ${given}`)
      if (lost.has(id)) faults.push(`task ${id} is completed and lost`)
    } else if (!isBelow(id, lost)) {
      faults.push(`task ${id} is ${item?.outcome ?? 'missing'}, and neither it nor a task above it is named as lost`)
    }
  }
  for (const id of byId.keys()) faults.push(`task ${id} is not of this tree`)
  faults.push(...verdictFaults(job, items, labelsOf(input).length))
  return faults
}

/** Bodies that began, or were not over, later than `afterMs`; those of killed workers count until they were killed. */
export function runningAfter(bodies: readonly BodyRun[], afterMs: number, killedAtMs?: number): BodyRun[] {
  return bodies.filter(({ endedAtMs = killedAtMs ?? Number.POSITIVE_INFINITY }) => endedAtMs > afterMs)
}

function verdictFaults(job: Job, items: readonly TaskItem[], total: number): string[] {
  const completed = items.filter(({ outcome }) => outcome === 'completed').length
  const faults: string[] = []
  if (job.verdict !== 'completed' && job.verdict !== 'incomplete') faults.push(`verdict ${job.verdict}`)
  if (job.verdict === 'completed' && completed !== total) faults.push(`completed with ${completed} of ${total} tasks`)
  if (job.verdict === 'completed' && job.lost.length > 0) faults.push(`completed with ${job.lost.length} lost tasks`)
  if (job.verdict === 'incomplete' && job.lost.length === 0) faults.push('incomplete without naming a lost task')
  if (job.tasks.completed !== completed) faults.push(`counts ${job.tasks.completed} completed tasks of ${completed}`)
  if (job.tasks.total !== items.length) faults.push(`counts ${job.tasks.total} tasks of ${items.length}`)
  return faults
}

function isBelow(id: string, lost: ReadonlySet<string>): boolean {
  for (let at = id; at.includes('.'); at = at.slice(0, at.lastIndexOf('.'))) if (lost.has(at)) return true
  return false
}
