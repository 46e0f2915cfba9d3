import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  addCampaign,
  DENSITY_MIN,
  emptyCampaign,
  emptyCells,
  type Fault,
  FRAME_FATES,
  gateProblems,
  JOB_FRAME_KINDS,
  planOf,
  runCampaign,
  shrink
} from '../../src/testing/index.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'

const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')

describe('shrinking', () => {
  const violation = { kind: 'hang', at: 1, text: 'as told' } as const
  const reset = (at: number): Fault => ({ kind: 'reset', at, a: 0, b: 1 })

  test('leaves only the faults that are needed together, and a calm network', async () => {
    const plan = { ...planOf(1), faults: Array.from({ length: 40 }, (_, at) => reset(at)) }
    let runs = 0
    const small = await shrink(plan, violation, async ({ faults }) => {
      runs += 1
      const times = faults.map(({ at }) => at)
      return times.includes(7) && times.includes(31) ? [violation] : []
    })
    expect(small.plan.faults.map(({ at }) => at)).toEqual([7, 31])
    expect(small.plan.network).toMatchObject({ duplicate: 0, redelivery: 0, reorder: 0, gossipLoss: 0 })
    expect(runs).toBeLessThan(200)
  })

  test('does not take another sort of violation for the same one', async () => {
    const plan = { ...planOf(1), faults: [reset(1), reset(2)] }
    const other = { kind: 'leak', at: 1, text: 'another' } as const
    const small = await shrink(plan, violation, async ({ faults }) => (faults.length === 2 ? [violation] : [other]))
    expect(small.plan.faults).toHaveLength(2)
  })
})

describe('a campaign', () => {
  test('comes to the same, in parts or in one', async () => {
    const whole = await runCampaign(1, 6)
    const parts = emptyCampaign()
    addCampaign(parts, await runCampaign(4, 6))
    addCampaign(parts, await runCampaign(1, 3))
    expect(parts).toEqual({ ...whole, simulatedMs: expect.closeTo(whole.simulatedMs, 3) })
    expect(whole.schedules).toBe(6)
  }, 60_000)

  test('is no proof when faults are too few, or a frame has been spared', () => {
    const enough = emptyCampaign()
    enough.schedules = 1_000
    for (const [kind, least] of Object.entries(DENSITY_MIN)) enough.faults[kind] = 1_000 * least
    for (const verdict of ['completed', 'completed-with-failures', 'incomplete', 'cancelled'])
      enough.verdicts[verdict] = 100
    for (const row of Object.values(enough.frames)) for (const fate of FRAME_FATES) row[fate] = 1
    expect(gateProblems(enough)).toEqual([])

    const row = enough.frames.handoff
    if (row !== undefined) row.late = 0
    expect(gateProblems(enough)).toEqual(['never happened: handoff: late'])
    enough.faults.pause = 1
    expect(gateProblems(enough)).toHaveLength(2)
  })

  test('counts every frame of a job, and none of those that only keep daemons in touch', () => {
    expect(emptyCells(emptyCampaign().frames)).toHaveLength(JOB_FRAME_KINDS.length * FRAME_FATES.length)
    expect(JOB_FRAME_KINDS).toEqual(expect.arrayContaining(['engage', 'handoff', 'settlePart', 'fence', 'relay']))
    for (const kind of ['hello', 'heartbeat', 'goodbye', 'peers']) expect(JOB_FRAME_KINDS).not.toContain(kind)
  })
})

describe('starling sim', () => {
  test('prints the figures as JSON, with a digest that the number of threads does not change', async () => {
    const { code, stdout } = await runCliHere(['sim', '--seeds', '1..4', '--trace', '--json'])
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    const here = JSON.parse(lines.at(-1) ?? '')
    expect(here).toMatchObject({
      apiVersion: 'starling/v1',
      kind: 'Simulation',
      schedules: 4,
      violations: {},
      failures: []
    })
    expect(here.digest).toMatch(/^[0-9a-f]{16}$/)
    expect(here.frames.handoff).toHaveProperty('after crash of sender')

    const args = [MAIN, 'sim', '--seeds', '1..4', '--jobs', '2', '--json']
    const threads = JSON.parse((await promisify(execFile)(process.execPath, args)).stdout)
    expect(threads).toMatchObject({ schedules: 4, digest: here.digest, faults: here.faults })
  }, 60_000)

  test('with --gate, says what a few seeds do not prove, and fails', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'sim', '--seeds', '1', '--gate']).catch(
      (error: { code: number; stdout: string }) => {
        expect(error.code).toBe(1)
        return error
      }
    )
    expect(stdout).toContain('not enough     never happened: ')
    expect(stdout).toMatch(/violations {5}0/)
  }, 60_000)

  test.each([
    [['--seeds', 'x'], 'give a number, or FROM..TO'],
    [['--seeds', '5..3'], 'give a number, or FROM..TO'],
    [['--jobs', '0'], 'give a whole number from 1'],
    [['--hosts', '1'], 'give a whole number from 2']
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await runCliHere(['sim', ...args])
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})
