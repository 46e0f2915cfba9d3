import { FAULT_RATES, type Fault, type FaultRates, faultsOf } from './faults.ts'
import { SeededRandom } from './random.ts'
import type { TreePlan } from './task-tree.ts'

/** Hosts of a schedule, unless it is told otherwise. */
export const HOSTS_DEFAULT = 5

export interface HostPlan {
  /** Monotonic clock at the start; clocks of hosts are never comparable. */
  readonly clockOffsetMs: number
  /** Its milliseconds per simulated one; two hosts differ by 1 % at the most. */
  readonly clockRate: number
  readonly slots: number
  /** Slots of the capability that not everybody has; 0: it does not offer it. */
  readonly rareSlots: number
}

export interface NetworkPlan {
  /** One way, per link: from .. to, and the jitter on top. */
  readonly latencyMs: readonly [number, number]
  readonly jitterMs: number
  /** Chances that a job frame comes twice, comes once more much later, is overtaken by later ones. */
  readonly duplicate: number
  readonly redelivery: number
  readonly reorder: number
  /** Chance that an advertisement does not arrive. */
  readonly gossipLoss: number
  /** Frames pass through the codec. */
  readonly codec: boolean
}

export interface JobPlan {
  /** Submitting host. */
  readonly host: number
  readonly at: number
  readonly tree: TreePlan
  /** Typical length of a body; the longest one is BODY_MAX_MS. */
  readonly bodyMs: number
}

/** Everything that a schedule depends on. */
export interface SchedulePlan {
  readonly seed: number
  readonly hosts: readonly HostPlan[]
  readonly network: NetworkPlan
  /** Longest time of one group commit on a healthy disk. */
  readonly commitMs: number
  /** Longest time between the kill of a body and its end. */
  readonly reapMs: number
  readonly jobs: readonly JobPlan[]
  /** Bodies wait through the daemon's API, not by being told: exercises promises, costs time. */
  readonly awaiting: boolean
  readonly faults: readonly Fault[]
}

/** The longest body. */
export const BODY_MAX_MS = 9_000

/** What may be set by hand instead of being derived from the seed. */
export interface PlanOptions {
  readonly hosts?: number | undefined
  readonly rates?: Partial<FaultRates> | undefined
}

/** One seed, one schedule. */
export function planOf(seed: number, options: PlanOptions = {}): SchedulePlan {
  const random = new SeededRandom(seed, 'plan')
  const dice = random.next()
  const hosts = options.hosts ?? (dice < 0.06 ? 2 : dice < 0.16 ? 3 : dice < 0.26 ? 4 : dice < 0.94 ? HOSTS_DEFAULT : 6)
  const untilMs = random.between(6_000, 12_000)
  const jobs = Array.from({ length: 2 + random.int(3) }, (_, index) => jobOf(random, hosts, index, untilMs))
  const rates = { ...FAULT_RATES, ...options.rates }
  return {
    seed,
    hosts: Array.from({ length: hosts }, (_, index) => ({
      clockOffsetMs: Math.floor(random.next() * 1e9),
      clockRate: 1 + random.between(-0.005, 0.005),
      slots: 1 + random.int(4),
      rareSlots: index < 2 || random.chance(0.3) ? 1 + random.int(2) : 0
    })),
    network: networkOf(random),
    commitMs: random.chance(0.8) ? 2 : 40,
    reapMs: random.chance(0.5) ? 20 : 850,
    jobs,
    awaiting: random.chance(0.1),
    faults: faultsOf(seed, rates, { hosts, roots: jobs.map(({ host }) => host), untilMs })
  }
}

function jobOf(random: SeededRandom, hosts: number, index: number, untilMs: number): JobPlan {
  const chain = random.chance(0.25)
  return {
    host: random.int(hosts),
    at: index === 0 ? 20 : random.between(20, untilMs * 0.8),
    tree: {
      depth: chain ? 4 + random.int(3) : 2 + random.int(2),
      fanOut: chain ? 1 : 2 + random.int(3),
      failing: random.chance(0.3) ? 0.1 : 0,
      rare: random.chance(0.5) ? 0.2 : 0,
      flaky: random.chance(0.3) ? 0.15 : 0,
      exclusive: random.chance(0.4) ? 0.3 : 0,
      hasty: random.chance(0.1) ? 0.2 : 0,
      poison: random.chance(0.015),
      padding: random.chance(0.05) ? 530_000 : 0
    },
    bodyMs: random.chance(0.7) ? random.between(10, 150) : random.between(150, 800)
  }
}

function networkOf(random: SeededRandom): NetworkPlan {
  const slow = random.chance(0.15)
  return {
    latencyMs: slow ? [5, 150] : [0.2, 15],
    jitterMs: random.chance(0.5) ? 1 : 10,
    duplicate: random.chance(0.5) ? 0.08 : 0,
    redelivery: random.chance(0.5) ? 0.1 : 0,
    reorder: random.chance(0.4) ? 0.1 : 0,
    gossipLoss: random.chance(0.3) ? 0.3 : 0,
    codec: random.chance(0.06)
  }
}
