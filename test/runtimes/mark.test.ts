import { expect, test } from 'vitest'
import { isBootName, markText, markValue, parseMarks } from '../../src/runtimes/jail/mark.ts'
import { type ProcessRow, selectProcesses } from '../../src/runtimes/jail/process-table.ts'

const HOME = '0123456789abcdef'

test('a task of a daemon within a task carries the marks of both', () => {
  const outer = { home: HOME, boot: 'one', jail: 'j1' }
  const inner = { home: HOME, boot: 'two', jail: 'j7' }
  expect(parseMarks(markValue(markText(outer), inner))).toEqual([outer, inner])
  expect(parseMarks(markValue(undefined, inner))).toEqual([inner])
})

test('nesting keeps the innermost eight marks, and nothing that is no mark', () => {
  let value = 'text,:,0123456789abcdef:a b:j1'
  for (let depth = 0; depth < 20; depth += 1) value = markValue(value, { home: HOME, boot: 'b', jail: `j${depth}` })
  expect(parseMarks(value).map(mark => mark.jail)).toEqual(['j12', 'j13', 'j14', 'j15', 'j16', 'j17', 'j18', 'j19'])
})

test.each(['', 'a:b', 'a,b', 'a/b', 'x'.repeat(65)])('the boot name %j is refused', boot => {
  expect(isBootName(boot)).toBe(false)
})

test('a jail is what carries its mark or is in its session, with all descendants, and never the caller', () => {
  const row = (pid: number, parent: number, session: number, jail?: string): ProcessRow => ({
    pid,
    parent,
    session,
    marks: jail === undefined ? [] : [{ home: HOME, boot: 'b', jail }]
  })
  const rows = [
    row(10, 1, 10),
    row(11, 10, 10),
    row(20, 1, 20, 'j1'),
    row(21, 20, 21),
    row(22, 21, 21),
    row(30, 1, 30, 'j2'),
    row(40, 1, 40),
    row(process.pid, 20, 1, 'j1')
  ]
  const found = selectProcesses({ rows, settled: true }, mark => mark.jail === 'j1', new Set([10]))
  expect(found.map(({ pid }) => pid).sort((a, b) => a - b)).toEqual([10, 11, 20, 21, 22])
})
