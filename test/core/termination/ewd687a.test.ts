import fc from 'fast-check'
import { expect, test } from 'vitest'
import { judge } from '../../../src/core/termination/index.ts'
import { MessageSoup, type SoupOptions, soupRecords } from '../../helpers/message-soup.ts'
import { countersConsistent, treeWithRoot } from '../../helpers/tree-oracle.ts'
import { heavyTailed, seeded } from '../../helpers/virtual-time.ts'

/*
 * The theorems of EWD687a (names as in the TLA+ module EWD687a), for random trees, delays, overtaking and repeated
 * frames, judged by an oracle that sees everything. No host fails here and no frame is lost: `chaos.test.ts` does that.
 * fast-check prints seed and path of a failing run.
 */

/** STARLING_TEST_SEED searches elsewhere. */
const SEED = Number(process.env.STARLING_TEST_SEED ?? 20_261_122)
const RUNS = { numRuns: 300, seed: SEED, verbose: 1 } as const
/** Bound on a run, in virtual milliseconds: far above the longest body, the depth and all delays added up. */
const OVER_MS = 120_000

const shape = fc.record({
  seed: fc.integer({ min: 1, max: 2 ** 31 }),
  hosts: fc.integer({ min: 1, max: 5 }),
  depth: fc.integer({ min: 0, max: 4 }),
  fanOut: fc.integer({ min: 1, max: 5 }),
  delayMs: fc.constantFrom(0.5, 20, 400),
  redelivery: fc.constantFrom(0, 0.1, 0.5),
  returns: fc.constantFrom(0, 0.1)
})

type Shape = typeof shape extends fc.Arbitrary<infer S> ? S : never

function soupOf({ seed, depth, fanOut, ...rest }: Shape, options: Partial<SoupOptions> = {}): MessageSoup {
  const random = seeded(seed)
  return new MessageSoup({
    ...rest,
    random,
    plan: path => ({
      durationMs: heavyTailed(random, 5, 3_000),
      children: path.split('.').length <= depth ? Math.round(random() * fanOut) : 0,
      fails: random() < 0.05
    }),
    ...options
  })
}

/** Runs `soup` to its announcement and well beyond, and checks what holds in every run. */
function runOut(soup: MessageSoup): void {
  soup.run(OVER_MS)
  const before = soup.started.size
  soup.time.run(() => false, 30_000)
  expect(soup.started.size, 'bodies begun after the announcement').toBe(before)
  expect(soup.violations).toEqual([])
}

test('CountersConsistent: what an owner is owed is alive at its host or on its way, after every event', () => {
  let checks = 0
  fc.assert(
    fc.property(shape, given => {
      const soup = soupOf(given, { returns: 0 })
      const wrong: string[] = []
      soup.observe = () => {
        if (wrong.length > 0) return
        checks += 1
        wrong.push(...countersConsistent(soup))
      }
      soup.run(OVER_MS)
      expect(wrong).toEqual([])
      expect(soup.announced).toHaveLength(1)
    }),
    RUNS
  )
  expect(checks).toBeGreaterThan(10_000)
})

test('TreeWithRoot: the owners of the live vertices form a tree that hangs on the virtual root, after every event', () => {
  let deepest = 0
  fc.assert(
    fc.property(shape, given => {
      const soup = soupOf(given)
      const wrong: string[] = []
      soup.observe = () => {
        if (wrong.length > 0) return
        wrong.push(...treeWithRoot(soup))
        for (const host of soup.hosts) deepest = Math.max(deepest, soup.tree(host)?.vertices().length ?? 0)
      }
      soup.run(OVER_MS)
      expect(wrong).toEqual([])
    }),
    RUNS
  )
  expect(deepest).toBeGreaterThan(5)
})

test('DT1Inv: at the announcement nothing executes, nothing is held, and nothing begins after it', () => {
  fc.assert(
    fc.property(shape, given => runOut(soupOf(given))),
    RUNS
  )
})

test('DT2: the end is announced, exactly once, soon after the last body', () => {
  const latencies: number[] = []
  fc.assert(
    fc.property(shape, given => {
      const soup = soupOf(given)
      runOut(soup)
      expect(soup.announced).toHaveLength(1)
      const late = (soup.announced[0]?.at ?? 0) - soup.lastBodyEnd
      // Every level of the tree adds one settle on its way; an attempt that is given back at the end adds a placement.
      expect(late).toBeLessThanOrEqual(
        (given.depth + 1) * Math.max(1, given.delayMs) + (given.returns > 0 ? 10_000 : 1)
      )
      latencies.push(late)
    }),
    RUNS
  )
  expect(latencies).toHaveLength(RUNS.numRuns)
})

test('every spawned task is in the records exactly once, however often frames come again', () => {
  fc.assert(
    fc.property(shape, given => {
      const soup = soupOf({ ...given, redelivery: 0.5 })
      runOut(soup)
      const state = soup.announced[0]?.state
      expect(state).toBeDefined()
      const records = state === undefined ? [] : soupRecords(state)
      expect(records.map(({ path }) => path).toSorted()).toEqual(['0', ...soup.spawned].toSorted())
      expect(judge(records, false).lost).toBe(0)
      if (given.returns === 0) expect([...soup.started.values()].every(times => times === 1)).toBe(true)
    }),
    RUNS
  )
})

/** Numbers of children by path: `size` tasks, a spine of `depth` levels and everything else hung on at random. */
function randomTree(size: number, depth: number, random: () => number): Map<string, number> {
  const children = new Map<string, number>()
  const paths: string[] = []
  const add = (parent: string | undefined) => {
    const index = parent === undefined ? 0 : (children.get(parent) ?? 0)
    if (parent !== undefined) children.set(parent, index + 1)
    const path = parent === undefined ? '0' : `${parent}.${index}`
    paths.push(path)
    return path
  }
  let spine = add(undefined)
  for (let level = 0; level < depth; level += 1) spine = add(spine)
  while (paths.length < size) {
    const parent = paths[Math.floor(random() * paths.length)] ?? '0'
    if (parent.split('.').length <= depth) add(parent)
  }
  return children
}

test('a tree of 5,000 tasks of depth 10 over 5 hosts settles each task exactly once', () => {
  const random = seeded(SEED)
  const children = randomTree(5_000, 10, random)
  const plan = (path: string) => ({ durationMs: 1 + random() * 20, children: children.get(path) ?? 0 })
  const soup = new MessageSoup({ hosts: 5, random, redelivery: 0.05, invariantsEvery: 50, plan })
  runOut(soup)
  expect(soup.announced).toHaveLength(1)
  const state = soup.announced[0]?.state
  const paths = state === undefined ? [] : soupRecords(state).map(({ path }) => path)
  expect(paths).toHaveLength(5_000)
  expect(new Set(paths).size).toBe(5_000)
  expect(Math.max(...paths.map(path => path.split('.').length - 1))).toBe(10)
  expect([...soup.started.values()].every(times => times === 1)).toBe(true)
})
