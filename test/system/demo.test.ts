import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { processesIn, STARLING, type Started, startProgram, until, useDaemons, within } from './daemons.ts'

/** The demo may take this long on a busy machine; it takes twelve seconds on a quiet one, most of them a lost lease. */
const DEMO_WAIT_MS = 60_000

/** Nothing of a demo that was killed may live longer than this. */
const SURVIVAL_LIMIT_MS = 5_000

const daemons = useDaemons('test')

/** A tree with `count` directories and a file in each. */
function plant(count: number): string {
  const root = daemons.directory()
  for (let number = 0; number < count; number += 1) {
    const directory = join(root, ...String(number).split(''))
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'file.ts'), `export const number = ${number}\n`.repeat((number % 5) + 1))
  }
  return root
}

/** Starts the demo with a directory for temporary files of its own, so that what it leaves there can be told. */
function startDemo(tree: string): { demo: Started; temporary: string } {
  const temporary = daemons.directory()
  // Compiled code is shared with all other tests, which saves half a second of each process.
  const env = { TMPDIR: temporary, NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache') }
  return { demo: startProgram([STARLING, 'demo', tree, '--json'], env), temporary }
}

test('the demo compares the pool with one process, also when a daemon is killed, finds all identical and leaves nothing behind', async () => {
  const { demo, temporary } = startDemo(plant(300))
  const { code, stdout, stderr } = await within('the demo', DEMO_WAIT_MS, demo.ended)
  expect(code, stderr).toBe(0)
  const figures = JSON.parse(stdout)
  expect(figures).toMatchObject({ kind: 'Demo', identical: true, differing: [], job: { verdict: 'completed' } })
  expect(figures.pool.digest).toBe(figures.sequential.digest)
  expect(figures.pool.files).toBe(300)
  expect(figures.job.tasks.total).toBe(figures.sequential.directories)
  expect(figures.job.peers.length).toBeGreaterThan(1)

  const { interrupted } = figures
  expect(interrupted).toMatchObject({ identical: true, differing: [], job: { verdict: 'completed', lost: [] } })
  expect(interrupted.killed).toBeOneOf(['bob', 'carol', 'dave', 'erin'])
  expect(interrupted.pool.digest).toBe(figures.sequential.digest)
  expect(interrupted.job.tasks).toEqual(figures.job.tasks)
  expect(interrupted.begunBefore).toBeGreaterThanOrEqual(figures.job.tasks.total / 3)
  expect(interrupted.begunBefore).toBeLessThan(figures.job.tasks.total)
  expect(interrupted.noticedMs).toBeGreaterThan(0)
  // What ran there at that moment was begun again; when there was nothing, nothing had to be.
  expect(interrupted.again).toBeGreaterThanOrEqual(interrupted.interrupted === 0 ? 0 : 1)
  expect(readdirSync(temporary)).toEqual([])
  expect(processesIn(temporary)).toEqual([])
}, 90_000)

test('Ctrl-C in the middle of the demo: exit 130, and nothing is left', async () => {
  const { demo, temporary } = startDemo(plant(300))
  await until('five daemons are there', () => processesIn(temporary).length > 5, DEMO_WAIT_MS)
  demo.child.kill('SIGINT')
  const { code, stderr } = await within('the demo ends', DEMO_WAIT_MS, demo.ended)
  expect(code, stderr).toBe(130)
  expect(readdirSync(temporary)).toEqual([])
  expect(processesIn(temporary)).toEqual([])
}, 90_000)

test('Ctrl-C after one of the daemons was killed: exit 130, and nothing is left', async () => {
  const { demo, temporary } = startDemo(plant(300))
  await until('one is killed', () => demo.stderr().includes('kill -9 of '), DEMO_WAIT_MS)
  demo.child.kill('SIGINT')
  const { code, stderr } = await within('the demo ends', DEMO_WAIT_MS, demo.ended)
  expect(code, stderr).toBe(130)
  expect(readdirSync(temporary)).toEqual([])
  expect(processesIn(temporary)).toEqual([])
}, 150_000)

test('a tree of two directories, which may be walked before anybody can be killed: the demo says so then', async () => {
  const { demo } = startDemo(plant(1))
  const { code, stdout, stderr } = await within('the demo', DEMO_WAIT_MS, demo.ended)
  expect(code, stderr).toBe(0)
  const { interrupted } = JSON.parse(stdout)
  if (interrupted.killed === null) expect(stderr).toContain('over before anybody could be killed')
  expect(interrupted).toMatchObject({ identical: true, job: { verdict: 'completed' } })
}, 90_000)

test('kill -9 of the demo: its daemons and workers end by themselves', async () => {
  const { demo, temporary } = startDemo(plant(300))
  await until('all its processes are there', () => processesIn(temporary).length > 10, DEMO_WAIT_MS)
  demo.child.kill('SIGKILL')
  await until('none of them is left', () => processesIn(temporary).length === 0, SURVIVAL_LIMIT_MS)
  await demo.ended
}, 90_000)

test('a tree that is not there is refused before anything is started', async () => {
  const { demo, temporary } = startDemo('/nonexistent/tree')
  const { code, stdout } = await within('the demo', DEMO_WAIT_MS, demo.ended)
  expect(code).toBe(2)
  expect(JSON.parse(stdout)).toMatchObject({ kind: 'Problem', detail: expect.stringContaining('/nonexistent/tree') })
  expect(readdirSync(temporary)).toEqual([])
}, 90_000)
