import { expect, test } from 'vitest'
import { judge, LEASE_EXPIRY_MS } from '../../../src/core/termination/index.ts'
import { MessageSoup, soupRecords } from '../../helpers/message-soup.ts'
import { heavyTailed, seeded } from '../../helpers/virtual-time.ts'

/*
 * Random schedules of crashes, restarts, pauses, partitions, leaves and cancels on top of overtaking and repeated frames.
 * A schedule is a seed: `STARLING_CHAOS_SEED=17 STARLING_CHAOS_RUNS=1` runs one again, higher numbers of runs search further.
 */

const FIRST = Number(process.env.STARLING_CHAOS_SEED ?? 1)
const RUNS = Number(process.env.STARLING_CHAOS_RUNS ?? 3_000)
const HOSTS = 4
const FAULTS = 6
/** After the last fault everything is over within this, by far: leases, fences and the rest of the longest bodies. */
const SETTLE_DOWN_MS = 60_000
/** Beyond the announcement: longer than any lease, so that what was forgotten would show itself. */
const AFTERMATH_MS = 15_000

interface Run {
  readonly seed: number
  readonly faults: Record<string, number>
  readonly problems: string[]
  readonly verdict: string
  readonly lost: number
}

function schedule(seed: number): Run {
  const random = seeded(seed)
  const soup = new MessageSoup({
    hosts: HOSTS,
    random,
    delayMs: random() < 0.2 ? 600 : 15,
    redelivery: random() < 0.5 ? 0.2 : 0,
    returns: 0.03,
    staleOffers: 0.1,
    plan: path => ({
      durationMs: heavyTailed(random, 30, 15_000),
      children: childrenOf(seed, path),
      fails: random() < 0.03
    })
  })
  const faults: Record<string, number> = {}
  for (let fault = 0; fault < FAULTS && soup.announced.length === 0; fault += 1) {
    soup.run(heavyTailed(random, 80, 4_000))
    if (soup.announced.length > 0) break
    const kind = inject(soup, random)
    faults[kind] = (faults[kind] ?? 0) + 1
  }
  for (const host of soup.hosts) for (const other of soup.hosts) if (host !== other) soup.heal(host, other)
  for (const host of soup.hosts) soup.restart(host)
  soup.run(SETTLE_DOWN_MS)
  const begun = [...soup.started.values()].reduce((sum, times) => sum + times, 0)
  soup.time.run(() => false, AFTERMATH_MS)
  return { seed, faults, ...verdictOf(seed, soup, begun) }
}

function inject(soup: MessageSoup, random: () => number): string {
  const a = soup.host(Math.floor(random() * HOSTS))
  const b = soup.host((a.index + 1 + Math.floor(random() * (HOSTS - 1))) % HOSTS)
  // Half of the faults are over long before a lease is, the others after it.
  const forMs = random() < 0.5 ? random() * 2_000 : LEASE_EXPIRY_MS * (0.7 + random())
  const dice = random()
  if (dice < 0.35) {
    soup.crash(a)
    soup.time.later(forMs, () => soup.restart(a))
    return a.index === 0 ? 'root crash' : 'crash'
  }
  if (dice < 0.6) {
    soup.pause(a, forMs)
    return 'pause'
  }
  if (dice < 0.9) {
    soup.cut(a, b)
    soup.time.later(forMs, () => soup.heal(a, b))
    return 'partition'
  }
  if (dice < 0.96) {
    soup.leave(a)
    return 'leave'
  }
  soup.cancel()
  return 'cancel'
}

/** Children of a task: the same in every attempt, or nobody could say what a complete job is. */
function childrenOf(seed: number, path: string): number {
  if (path.split('.').length > 3) return 0
  const dice = seeded([...path].reduce((hash, character) => hash * 31 + character.charCodeAt(0), seed))
  return Math.floor(dice() * 4)
}

function sizeOf(seed: number, path: string): number {
  let size = 1
  for (let child = 0; child < childrenOf(seed, path); child += 1) size += sizeOf(seed, `${path}.${child}`)
  return size
}

function verdictOf(seed: number, soup: MessageSoup, begun: number): Pick<Run, 'problems' | 'verdict' | 'lost'> {
  const problems = [...soup.violations]
  const state = soup.announced[0]?.state
  if (state === undefined) return { problems: [...problems, 'never announced'], verdict: 'none', lost: 0 }
  const begunNow = [...soup.started.values()].reduce((sum, times) => sum + times, 0)
  if (begunNow !== begun) problems.push('bodies began after the announcement')
  if (soup.hosts.some(({ bodies }) => bodies.size > 0)) problems.push('bodies execute for ever')
  const records = soupRecords(state).filter(({ outcome }) => outcome !== 'late')
  const judgement = judge(records, state.cancelRequested)
  const paths = records.map(({ path }) => path)
  const whole = judgement.verdict === 'completed' && soup.refusedSpawns === 0
  if (whole && paths.length !== sizeOf(seed, '0')) problems.push('a part of the tree is missing')
  if (new Set(paths).size !== paths.length) problems.push('a task is recorded twice')
  for (const path of paths) {
    const parent = path.slice(0, path.lastIndexOf('.'))
    if (path !== '0' && !paths.includes(parent)) problems.push(`${path} is recorded without ${parent}`)
  }
  if (judgement.lost > 0 && judgement.verdict !== 'incomplete' && !state.cancelRequested) problems.push('hidden loss')
  const fenced = soup.journal.some(({ kind }) => kind === 'fence-opened')
  if (!fenced && new Set(['0', ...soup.spawned]).size !== paths.length) problems.push('a spawned task is not recorded')
  if (!fenced && judgement.lost > 0) problems.push('lost without a fence')
  return { problems, verdict: judgement.verdict, lost: judgement.lost }
}

test(`whatever fails and whenever: announced once, honestly, and nothing executes any more (${RUNS} schedules)`, () => {
  const faults: Record<string, number> = {}
  const verdicts: Record<string, number> = {}
  const bad: Run[] = []
  let lost = 0
  for (let seed = FIRST; seed < FIRST + RUNS; seed += 1) {
    const run = schedule(seed)
    for (const [kind, times] of Object.entries(run.faults)) faults[kind] = (faults[kind] ?? 0) + times
    verdicts[run.verdict] = (verdicts[run.verdict] ?? 0) + 1
    lost += run.lost
    if (run.problems.length > 0) bad.push(run)
  }
  console.log({ schedules: RUNS, bad: bad.length, faults, verdicts, lost })
  expect(bad.slice(0, 5)).toEqual([])
  if (RUNS < 1_000) return
  // A search that hits nothing finds nothing.
  for (const kind of ['crash', 'root crash', 'pause', 'partition', 'leave', 'cancel']) {
    expect(faults[kind] ?? 0, kind).toBeGreaterThan(RUNS / 50)
  }
  for (const verdict of ['completed', 'completed-with-failures', 'cancelled']) {
    expect(verdicts[verdict] ?? 0, verdict).toBeGreaterThan(RUNS / 200)
  }
  // A task is given up only after losing host upon host, which six faults hardly bring about.
  expect(verdicts.incomplete ?? 0).toBeLessThan(RUNS / 200)
}, 600_000)
