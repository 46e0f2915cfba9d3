import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { openJournal } from './helpers.ts'

const WRITER = fileURLToPath(new URL('../helpers/journal-writer.ts', import.meta.url))
const ROUNDS = 4
const LINES_MAX = 300

test('after kill -9 at any moment every acknowledged record is there, in order, without a gap', async () => {
  const path = join(temporaryDirectory(), 'starling.db')
  let acknowledged = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    const lines = 1 + Math.floor(Math.random() * LINES_MAX)
    acknowledged = Math.max(acknowledged, await killWriterAfter(path, lines))
    const { journal, close } = openJournal(path)
    const numbers = [...journal.replay()].map(({ record }) => (record.kind === 'granted' ? record.engagement : -1))
    const where = `round ${round}, killed after ${lines} lines`
    expect(numbers, where).toEqual(Array.from({ length: numbers.length }, (_, index) => index + 1))
    expect(numbers.length, where).toBeGreaterThanOrEqual(acknowledged)
    expect(journal.damage(), where).toEqual([])
    close()
    acknowledged = numbers.length
  }
}, 60_000)

/** Runs a writer until it has printed `lines` lines; returns the highest number that it printed before it was dead. */
async function killWriterAfter(path: string, lines: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  let count = 0
  let highest = 0
  for await (const line of createInterface({ input: child.stdout })) {
    highest = Math.max(highest, Number(line))
    count += 1
    if (count === lines) child.kill('SIGKILL')
  }
  expect((await exited)[1]).toBe('SIGKILL')
  return highest
}
