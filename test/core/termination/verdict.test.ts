import { expect, test } from 'vitest'
import type { Outcome } from '../../../src/core/frames.ts'
import { judge, type Verdict } from '../../../src/core/termination/index.ts'
import { alicesLedger } from '../../helpers/termination-fixtures.ts'

const cases: [outcomes: Outcome[], cancelRequested: boolean, verdict: Verdict][] = [
  [['completed', 'completed'], false, 'completed'],
  [['completed', 'failed'], false, 'completed-with-failures'],
  [['failed', 'lost'], false, 'incomplete'],
  [['completed', 'cancelled'], true, 'cancelled'],
  [['lost', 'cancelled'], true, 'cancelled'],
  [['completed'], true, 'completed'],
  [['completed', 'lost'], true, 'incomplete'],
  [['failed', 'cancelled'], false, 'completed-with-failures'],
  [['completed', 'returned'], false, 'completed']
]

test.each(cases)('%j, cancel requested: %j, is %s', (outcomes, cancelRequested, verdict) => {
  const records = outcomes.map((outcome, index) => ({ path: `0.${index}`, outcome }))
  const judgement = judge(records, cancelRequested)
  expect(judgement.verdict).toBe(verdict)
  expect(judgement.total).toBe(outcomes.filter(outcome => outcome !== 'returned').length)
  expect(judgement.lostPaths).toHaveLength(judgement.lost)
})

test('a job whose records are damaged is over: its root task counts as lost, and nothing of it is carried on', () => {
  const { state } = alicesLedger()
  state.abandon(() => new Uint8Array(1), 'alice')
  expect(state).toMatchObject({ announced: true, obligation: undefined })
  expect(state.records).toHaveLength(1)
})
