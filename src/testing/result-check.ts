import type { JobSummary, TaskItem } from '../wire/api/index.ts'
import type { Client } from './client.ts'
import type { ViolationKind } from './oracle.ts'
import type { TaskTree } from './task-tree.ts'

/** Failures that the pool itself makes; what such a task would have spawned is not there. */
const POOL_FAILURES: ReadonlySet<string> = new Set(['TASK_RETURNED', 'NO_CAPABLE_PEER', 'DEADLINE_EXCEEDED'])

interface Problem {
  readonly kind: ViolationKind
  readonly text: string
}

/** What has been seen of a job while it ran. */
export interface Witnessed {
  /** Some host was fenced. */
  readonly fenced: boolean
  /** Highest fencing token of all attempts that began, by path. */
  readonly tokens: ReadonlyMap<string, string>
}

type Judged = Pick<Client, 'index' | 'tree' | 'cancelled'>
type Say = (kind: ViolationKind, text: string) => void
type Found = ReadonlyMap<string, TaskItem>

/**
 * The result of a job against the tree that one process would have gone through. Complete means: every task of the tree
 * is there once, with its own end; whatever is missing lies below a task that is named as lost, cancelled or given up.
 */
export function judgeResult(
  client: Judged,
  summary: JobSummary,
  items: readonly TaskItem[],
  witnessed: Witnessed
): Problem[] {
  const problems: Problem[] = []
  const say: Say = (kind, text) => problems.push({ kind, text: `job ${client.index}: ${text}` })
  const found = new Map<string, TaskItem>()
  for (const item of items) {
    const path = item.id.slice(summary.id.length + 1)
    if (found.has(path)) say('double-commit', `${path} is recorded twice`)
    found.set(path, item)
  }
  const planned = new Set(client.tree.paths)
  for (const path of found.keys()) if (!planned.has(path)) say('wrong-result', `${path} is no task of the tree`)
  for (const path of planned) judgeTask(path, found, client, witnessed, say)
  judgeVerdict(summary, found, client, witnessed, say)
  if (found.get('0')?.outcome === 'completed' && wentAsPlanned(client.tree, found)) {
    const expected = client.tree.sequentialResult()
    const result = summary.result as { sum?: unknown } | null
    if (result?.sum !== expected.sum) say('wrong-result', `result ${String(result?.sum)}, in turn: ${expected.sum}`)
  }
  return problems
}

function judgeTask(path: string, found: Found, client: Judged, { tokens }: Witnessed, say: Say): void {
  const item = found.get(path)
  if (item === undefined) {
    if (!belowBroken(path, found)) say('lost-task', `${path} is missing, and nothing above it is named`)
    return
  }
  const { fails, flaky } = client.tree.shape(path)
  const { outcome, error } = item
  if (outcome === 'cancelled' && !client.cancelled && !belowBroken(path, found)) {
    say('wrong-result', `${path} is cancelled by nobody`)
  }
  const wanted = fails ? 'failed' : 'completed'
  if (!isBroken(item) && outcome !== wanted && !flaky) {
    say('wrong-result', `${path} ${outcome} (${error?.code}), planned: ${wanted}`)
  }
  const token = tokenOf(item)
  if (token !== undefined && token !== tokens.get(path)) {
    say('double-commit', `${path} is settled by attempt ${token}, though ${tokens.get(path)} has begun`)
  }
}

function judgeVerdict(summary: JobSummary, found: Found, client: Judged, { fenced }: Witnessed, say: Say): void {
  const count = (outcome: TaskItem['outcome']) => [...found.values()].filter(item => item.outcome === outcome).length
  const [lost, failed] = [count('lost'), count('failed')]
  const { verdict } = summary
  if (lost > 0 && !fenced) say('lost-task', `${lost} tasks are lost, but no host was`)
  if (verdict === 'cancelled' && !client.cancelled) say('wrong-result', 'cancelled by nobody')
  if (lost > 0 && verdict !== 'incomplete' && verdict !== 'cancelled') say('lost-task', `${lost} lost, but ${verdict}`)
  if (lost === 0 && verdict === 'incomplete') say('wrong-result', 'incomplete, but nothing is lost')
  if (verdict === 'completed-with-failures' && failed === 0) say('wrong-result', 'no task has failed')
  const all = failed === 0 && found.size === client.tree.paths.length
  if (verdict === 'completed' && !all) say('lost-task', 'completed, but not all')
}

/** No task has ended otherwise than it would have in turn. */
function wentAsPlanned(tree: TaskTree, found: Found): boolean {
  return tree.paths.every(path => {
    const item = found.get(path)
    return item !== undefined && !isBroken(item) && !(tree.shape(path).flaky && item.outcome === 'failed')
  })
}

/** The nearest task above that is recorded did not come to its own end. */
function belowBroken(path: string, found: Found): boolean {
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const above = found.get(path.slice(0, dot))
    if (above !== undefined) return isBroken(above)
  }
  return false
}

function tokenOf({ outcome, result }: TaskItem): string | undefined {
  if (outcome !== 'completed' || typeof result !== 'object' || result === null || !('token' in result)) return undefined
  return String(result.token)
}

/** Its body did not come to its own end. */
function isBroken({ outcome, error }: TaskItem): boolean {
  if (outcome === 'completed') return false
  return outcome !== 'failed' || POOL_FAILURES.has(error?.code ?? '')
}
