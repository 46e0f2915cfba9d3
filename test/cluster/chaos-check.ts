import { readdirSync, readFileSync } from 'node:fs'
import type { Job, TaskItem } from '../../src/sdk/index.ts'
import type { ChaosLine } from './chaos-body.ts'
import { allTasks, type ChaosResult, chaosTask, sequentially } from './chaos-tree.ts'
import type { LanHost } from './lan-daemon.ts'

/** What one attempt's body has written on its host. */
interface BodyLife {
  readonly host: LanHost
  readonly path: string
  readonly token: string
  readonly beganAtMs: number
  lastAtMs: number
  end: 'end' | 'aborted' | undefined
}

/** A finished job, and what is known about it from outside. */
export interface ChaosOutcome {
  readonly seed: number
  readonly job: Job
  /** Host at which it was submitted. */
  readonly root: LanHost
  readonly hosts: readonly LanHost[]
}

/** A daemon that dies this soon after it has announced a job may not have been heard, or says it once more when it is back. */
const TOLD_MS_MAX = 1_000

/** Everything that is wrong with the end of a job; empty when nothing is. */
export function chaosFaults(outcome: ChaosOutcome): string[] {
  const bodies = bodiesOf(outcome)
  return [
    ...verdictFaults(outcome),
    ...itemFaults(outcome, bodies),
    ...announcementFaults(outcome),
    ...lateFaults(outcome, bodies),
    ...doubleFaults(outcome, bodies)
  ]
}

/** Attempts that were begun, whether or not they counted. */
export function attemptsBegun(outcome: ChaosOutcome): number {
  return bodiesOf(outcome).length
}

/** From the announcement to the last line of any body; negative when all is well. */
export function lastLineMs(outcome: ChaosOutcome): number {
  return Math.max(...bodiesOf(outcome).map(({ lastAtMs }) => lastAtMs)) - announcedAtMs(outcome.job)
}

/** Processes that run for a task of the job, wherever they come from; empty when it has left nothing. */
export function taskProcesses(jobId: string): string[] {
  const wanted = `STARLING_TASK=${jobId}.`
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && readProc(name, 'environ').includes(wanted))
    .map(pid => `process ${pid} is left: ${readProc(pid, 'cmdline').replaceAll('\0', ' ')}`)
}

function verdictFaults({ seed, job }: ChaosOutcome): string[] {
  const expected = sequentially(seed, chaosTask(seed, '0'))
  const faults: string[] = []
  if (job.verdict !== 'completed') faults.push(`verdict ${job.verdict}, lost ${job.lost}, ${JSON.stringify(job.error)}`)
  const total = expected.size
  const { completed, ...others } = job.tasks
  if (completed !== total || others.total !== total) faults.push(`${total} tasks are counted as ${json(job.tasks)}`)
  const value = (job.result as ChaosResult | undefined)?.value
  if (value !== expected.get('0')) faults.push(`the result is ${value}, one process gets ${expected.get('0')}`)
  return faults
}

/** Every task once, with the right result, by the attempt that was issued last, which ended on the host that is named. */
function itemFaults({ seed, job }: ChaosOutcome, bodies: readonly BodyLife[]): string[] {
  const faults: string[] = []
  const expected = sequentially(seed, chaosTask(seed, '0'))
  const seen = new Map<string, TaskItem>()
  for (const item of job.items ?? []) {
    const path = item.id.slice(job.id.length + 1)
    if (seen.has(path)) faults.push(`${path} is listed twice`)
    seen.set(path, item)
    const result = item.result as ChaosResult | undefined
    if (!expected.has(path)) faults.push(`${path} is no task of this tree`)
    else if (item.outcome !== 'completed') faults.push(`${path} is ${item.outcome}: ${json(item.error)}`)
    else if (result?.path !== path || result.value !== expected.get(path)) {
      faults.push(`${path} has given ${json(result)} instead of ${expected.get(path)}`)
    }
    const attempts = bodies.filter(body => body.path === path).sort((a, b) => compareTokens(a.token, b.token))
    const last = attempts.at(-1)
    const counted =
      last?.host.peerId === item.peerId && last.token.endsWith(`.${item.attempt}`.slice(path === '0' ? 1 : 0))
    if (!counted || last?.end !== 'end') {
      faults.push(
        `${path}: attempt ${item.attempt} at ${item.peerId} counts, but the bodies were ${attempts.map(show)}`
      )
    }
  }
  for (const path of expected.keys()) if (!seen.has(path)) faults.push(`${path} is missing`)
  return faults
}

/** Announced exactly once, by the host at which it was submitted. */
function announcementFaults({ job, root, hosts }: ChaosOutcome): string[] {
  const faults: string[] = []
  for (const host of hosts) {
    const times = host.announcements(job.id)
    if (host !== root && times.length > 0) faults.push(`${host.name} has announced it, too`)
    if (host !== root) continue
    const first = times[0] ?? announcedAtMs(job)
    const unheard = root.kills.some(atMs => atMs >= first && atMs - first < TOLD_MS_MAX)
    if (times.length !== 1 && !unheard) faults.push(`it was announced ${times.length} times`)
  }
  return faults
}

/** No body lives after the announcement. */
function lateFaults({ job }: ChaosOutcome, bodies: readonly BodyLife[]): string[] {
  const announced = announcedAtMs(job)
  const late = bodies.filter(({ lastAtMs }) => lastAtMs > announced)
  return late.map(body => `${show(body)} ${body.lastAtMs - announced} ms after the announcement`)
}

/** No attempt is begun twice, and no two attempts of an exclusive task live at the same time. */
function doubleFaults({ seed }: ChaosOutcome, bodies: readonly BodyLife[]): string[] {
  const faults: string[] = []
  const exclusive = new Set(
    allTasks(chaosTask(seed, '0'))
      .filter(task => task.exclusive && task.path !== '0')
      .map(({ path }) => path)
  )
  const sorted = [...bodies].sort((a, b) => a.beganAtMs - b.beganAtMs)
  for (const [index, body] of sorted.entries()) {
    for (const other of sorted.slice(index + 1)) {
      if (other.path !== body.path) continue
      if (other.token === body.token) faults.push(`one attempt was begun twice: ${show(body)} and ${show(other)}`)
      if (exclusive.has(body.path) && other.beganAtMs < body.lastAtMs) {
        faults.push(
          `exclusive, but at the same time for ${body.lastAtMs - other.beganAtMs} ms: ${show(body)} and ${show(other)}`
        )
      }
    }
  }
  return faults
}

function bodiesOf({ job, hosts }: ChaosOutcome): BodyLife[] {
  return hosts.flatMap(host => {
    const open = new Map<string, BodyLife>()
    const bodies: BodyLife[] = []
    for (const { job: id, path, token, kind, atMs } of linesOf(host)) {
      if (id !== job.id) continue
      const key = `${path} ${token}`
      if (kind === 'begin') {
        const life: BodyLife = { host, path, token, beganAtMs: atMs, lastAtMs: atMs, end: undefined }
        open.set(key, life)
        bodies.push(life)
      }
      const life = open.get(key)
      if (life === undefined) continue
      life.lastAtMs = atMs
      if (kind === 'end' || kind === 'aborted') life.end = kind
    }
    return bodies
  })
}

function linesOf(host: LanHost): ChaosLine[] {
  const text = readFileSync(host.diary, 'utf8')
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as ChaosLine)
}

/** By their numbers, from the root down: the later one was issued later. */
function compareTokens(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)]
  for (const [index, number] of left.entries()) {
    const difference = number - (right[index] ?? 0)
    if (difference !== 0) return difference
  }
  return left.length - right.length
}

function announcedAtMs(job: Job): number {
  return Date.parse(job.timings.announcedAt ?? '')
}

function show({ host, path, token, end, beganAtMs, lastAtMs }: BodyLife): string {
  return `${path} [${token}] on ${host.name} (${lastAtMs - beganAtMs} ms, ${end ?? 'killed'})`
}

function json(value: unknown): string {
  return JSON.stringify(value) ?? 'nothing'
}

/** Empty for a process that is gone. */
function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
