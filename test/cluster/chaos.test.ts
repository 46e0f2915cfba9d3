import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Job, StarlingError } from '../../src/sdk/index.ts'
import { SeededRandom } from '../../src/testing/random.ts'
import { CHAOS_COMMAND, CHAOS_SDK } from './chaos-body.ts'
import { attemptsBegun, type ChaosOutcome, chaosFaults, lastLineMs, taskProcesses } from './chaos-check.ts'
import { treeSeed } from './chaos-tree.ts'
import { Lan } from './lan.ts'
import type { LanHost } from './lan-daemon.ts'
import { befall, deal, describeFault, type Fault } from './nemesis.ts'
import { report } from './report.ts'
import { SKIP_CLUSTER } from './sandbox.ts'

/** No round begins later than this; the last one may take half a minute more. */
const MINUTES = Number(process.env.STARLING_CHAOS_MINUTES ?? 2)

/** What befalls whom, and what the trees look like, follows from it; the times of a real machine do not. */
const SEED = Number(process.env.STARLING_CHAOS_SEED ?? Date.now() % 1_000_000)

const HOSTS = 5
const SLOTS = 2

/** Tasks of a job. A command costs two or three processes, so there are fewer of them. */
const SDK_TASKS = [35, 60] as const
const COMMAND_TASKS = [12, 24] as const

/** The end of a job after the last fault is over, on a busy machine: leases, fences, and all the work once more. */
const OVER_MS_MAX = 90_000

/** A healed network is a mesh again within this. */
const HEALED_MS_MAX = 30_000

const ROUND_MS_MAX = OVER_MS_MAX + 2 * HEALED_MS_MAX
const WORKER = fileURLToPath(new URL('chaos-worker.ts', import.meta.url))
const COMMAND = fileURLToPath(new URL('chaos-command.ts', import.meta.url))

let lan: Lan

describe.skipIf(SKIP_CLUSTER)('five daemons under a nemesis', () => {
  beforeAll(async () => {
    lan = await Lan.create({ hosts: HOSTS, slots: 0 })
    for (const host of lan.hosts) {
      const command = [process.execPath, '--no-warnings', COMMAND, host.diary]
      const capability = { runtime: 'command', slots: SLOTS, command }
      host.configure(JSON.stringify({ capabilities: { [CHAOS_COMMAND]: capability } }))
    }
    await lan.upAll()
    await Promise.all(lan.hosts.map(host => host.work(SLOTS, WORKER)))
  })
  afterAll(() => lan?.stop())

  it(
    'announce every job exactly once, completed and with the result of one process, and leave nothing running',
    async () => {
      process.stdout.write(`    STARLING_CHAOS_SEED=${SEED} STARLING_CHAOS_MINUTES=${MINUTES}\n`)
      const random = new SeededRandom(SEED, 'nemesis')
      const endsAtMs = performance.now() + MINUTES * 60_000
      const faults: string[] = []
      for (let round = 1; performance.now() < endsAtMs; ) {
        for (const { root, faults: befalls } of deal(random, HOSTS)) {
          if (performance.now() >= endsAtMs) break
          const found = await playRound(round, lan.host(root), befalls)
          faults.push(...found.map(fault => `round ${round} of seed ${SEED}: ${fault}`))
          round += 1
        }
      }
      expect(faults).toEqual([])
    },
    MINUTES * 60_000 + 2 * ROUND_MS_MAX
  )
})

/** One job and what befalls it; resolves with what is wrong with it, when all is well again. */
async function playRound(round: number, root: LanHost, befalls: readonly Fault[]): Promise<string[]> {
  const random = new SeededRandom(SEED, 'round', round)
  const command = round % 3 === 0
  const capability = command ? CHAOS_COMMAND : CHAOS_SDK
  const [least, most] = command ? COMMAND_TASKS : SDK_TASKS
  const seed = treeSeed(random, least, most)
  const told = befalls.map(describeFault).join('; ')
  process.stdout.write(`    round ${round}: ${capability} ${seed} from ${root.name}: ${told}\n`)
  await lan.until('all see all, with all slots free', HEALED_MS_MAX, () => ready(capability))

  const { id } = await root.client.submit({ capability, input: { seed, path: '0' } })
  const begunAtMs = performance.now()
  const over = untilOver(root, id).then(answer => ({ answer, left: taskProcesses(id) }))
  over.catch(() => undefined)
  await Promise.all(befalls.map((fault, index) => befall(lan, fault, new SeededRandom(SEED, 'fault', round, index))))
  const { answer, left } = await within(over, OVER_MS_MAX, () => root.client.job(id))
  const job = await root.client.job(id, { items: true })
  await lan.until('no host works', HEALED_MS_MAX, idle)
  const outcome: ChaosOutcome = { seed, job, root, hosts: lan.hosts }
  const faults = [...left, ...chaosFaults(outcome)]
  if (answer.verdict !== job.verdict) faults.push(`the waiter was told ${answer.verdict}, then it was ${job.verdict}`)
  const again = attemptsBegun(outcome) - job.tasks.total
  const last = `the last body wrote ${lastLineMs(outcome)} ms after the announcement`
  report(
    `${job.verdict}, ${job.tasks.total} tasks, ${again} attempts more, ${last}; over after`,
    performance.now() - begunAtMs
  )
  for (const fault of faults) process.stdout.write(`      ${fault}\n`)
  return faults
}

/** Waits for the job as a person would who asks again whenever the daemon has gone away. */
async function untilOver(root: LanHost, id: string): Promise<Job> {
  for (;;) {
    try {
      const job = await root.client.waitForJob(id, { timeoutMs: 60_000 })
      if (job.verdict !== 'running') return job
    } catch (error) {
      if (!(error instanceof StarlingError) || error.code !== 'DAEMON_NOT_RUNNING') throw error
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}

async function within<T>(promise: Promise<T>, ms: number, look: () => Promise<Job>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(async () => {
    const job = await look().catch(String)
    late.reject(new Error(`not over ${ms / 1_000} s after the last fault: ${JSON.stringify(job)}`))
  }, ms)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Every daemon sees every other one, and all slots of the capability. */
async function ready(capability: string): Promise<true | string> {
  const views = await Promise.all(lan.hosts.map(host => host.client.peers()))
  const free = views.map(peers =>
    peers
      .filter(({ state }) => state === 'alive')
      .flatMap(({ capabilities }) => capabilities)
      .reduce((sum, one) => sum + (one.name === capability ? one.free : 0), 0)
  )
  return free.every(slots => slots === HOSTS * SLOTS) || `free slots: ${free}`
}

async function idle(): Promise<true | string> {
  const agents = await Promise.all(lan.hosts.map(host => host.client.agents()))
  return agents.every(({ length }) => length === 0) || `agents: ${agents.map(({ length }) => length)}`
}
