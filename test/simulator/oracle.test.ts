import { describe, expect, test } from 'vitest'
import { JournalAudit, judgeResult, TaskTree, type TreePlan } from '../../src/testing/index.ts'
import type { JobSummary, TaskItem } from '../../src/wire/api/index.ts'

/*
 * An oracle that cannot see is worse than none: here it is shown results and journals that are wrong. What it sees in
 * whole worlds is shown by the mutation gate (`npm run mutants`).
 */

const ID = 'abcdefghij'
const PLAN: TreePlan = {
  depth: 2,
  fanOut: 3,
  failing: 0,
  rare: 0,
  flaky: 0,
  exclusive: 0,
  hasty: 0,
  poison: false,
  padding: 0
}
const tree = new TaskTree(4, 0, PLAN)
const tokens = new Map(tree.paths.map(path => [path, '1']))
const time = new Date(0).toISOString()

function item(path: string, more: Partial<TaskItem> = {}): TaskItem {
  const result = tree.resultOf(path, [], '1')
  return {
    id: `${ID}.${path}`,
    parent: null,
    capability: 'work',
    peerId: 'p',
    state: 'completed',
    outcome: 'completed',
    attempt: 1,
    resultDigest: null,
    result,
    usage: { source: 'unknown' },
    startedAt: time,
    endedAt: time,
    ...more
  }
}

function summary(verdict: JobSummary['verdict'] = 'completed'): JobSummary {
  const timings = { submittedAt: time, lastTaskEndedAt: null, announcedAt: time, detectionMs: null }
  const tasks = { total: 0, completed: 0, failed: 0, lost: 0, cancelled: 0 }
  const result = tree.sequentialResult()
  return { id: ID, capability: 'work', topology: 'mesh', verdict, result, lost: [], tasks, peers: [], timings }
}

const all = tree.paths.map(path => item(path))
const without = (...paths: string[]) => all.filter(({ id }) => !paths.includes(id.slice(ID.length + 1)))
const leaf = tree.paths.at(-1) ?? ''

function problems(
  items: TaskItem[],
  verdict: JobSummary['verdict'] = 'completed',
  more: { fenced?: boolean; cancelled?: boolean; result?: unknown } = {}
): string[] {
  const { fenced = false, cancelled = false } = more
  const told = { ...summary(verdict), ...('result' in more ? { result: more.result } : {}) }
  return judgeResult({ index: 0, tree, cancelled }, told, items, { fenced, tokens }).map(({ kind }) => kind)
}

describe('the result of a job', () => {
  test('is right when every task of the sequential tree is there once, with its own end', () => {
    expect(tree.paths.length).toBeGreaterThan(3)
    expect(problems(all)).toEqual([])
  })

  test('is wrong when a task is missing and nothing above it is named', () => {
    expect(problems(without(leaf))).toContain('lost-task')
  })

  test('is right when what is missing lies below a lost task, and wrong when the verdict hides that', () => {
    const lost = [...without('0'), item('0', { outcome: 'lost', result: undefined })]
    expect(problems(lost, 'incomplete', { fenced: true })).toEqual([])
    expect(problems([item('0', { outcome: 'lost', result: undefined })], 'incomplete', { fenced: true })).toEqual([])
    expect(problems(lost, 'completed', { fenced: true })).toContain('lost-task')
  })

  test('is wrong when tasks are lost though no host was', () => {
    expect(problems([item('0', { outcome: 'lost', result: undefined })], 'incomplete')).toContain('lost-task')
  })

  test('is wrong when a task counts twice, or is settled by an attempt that another one has superseded', () => {
    expect(problems([...all, item(leaf)])).toContain('double-commit')
    const result = { ...tree.resultOf(leaf, [], '0.9') }
    expect(problems([...without(leaf), item(leaf, { result })])).toContain('double-commit')
  })

  test('is wrong when it differs from the one of the sequential run, or names tasks that are none', () => {
    expect(problems(all, 'completed', { result: { sum: 1 } })).toContain('wrong-result')
    expect(problems([...all, item('0.77')])).toContain('wrong-result')
  })

  test('is wrong when something is cancelled that nobody has cancelled', () => {
    const cancelled = [...without(leaf), item(leaf, { outcome: 'cancelled', result: undefined })]
    expect(problems(cancelled, 'cancelled')).toContain('wrong-result')
    expect(problems(cancelled, 'cancelled', { cancelled: true })).toEqual([])
  })
})

describe('the journal of a root', () => {
  const boot = { incarnation: 1, nonce: '0'.repeat(16) }
  const granted = (peer: string, engagement: number) => ({ kind: 'granted', peer, engagement, boot }) as const
  const opened = (fence: number, peer: string) => ({ kind: 'fence-opened', fence, peer, cause: 'lost' }) as const
  const answered = (fence: number, peer: string) => ({ kind: 'fence-answered', fence, peer }) as const

  function audited(records: readonly Parameters<JournalAudit['record']>[1][]): string[] {
    const audit = new JournalAudit()
    return records.flatMap(record => audit.record('job', record)).map(problem => problem.slice(0, 2))
  }

  test('is right when every fence was answered by all who held a grant, or are lost themselves', () => {
    const grants = [granted('a', 1), granted('b', 2), granted('c', 3)]
    expect(audited([...grants, opened(1, 'a'), answered(1, 'b'), answered(1, 'c'), { kind: 'announced' }])).toEqual([])
    expect(
      audited([...grants, opened(1, 'a'), answered(1, 'b'), opened(3, 'c'), answered(3, 'b'), { kind: 'announced' }])
    ).toEqual([])
  })

  test('is wrong when the end is announced while a fence waits (I7), or anything follows it (I9)', () => {
    expect(audited([granted('a', 1), granted('b', 2), opened(1, 'a'), { kind: 'announced' }])).toEqual(['I7'])
    expect(audited([{ kind: 'announced' }, granted('a', 1)])).toEqual(['I9'])
  })

  test('is wrong when a host is granted a second engagement without a fence for the first', () => {
    expect(audited([granted('a', 1), granted('a', 2)])).toEqual(['I7'])
  })
})
