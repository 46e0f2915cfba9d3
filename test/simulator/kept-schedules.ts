import type { Fault, SchedulePlan, TreePlan } from '../../src/testing/index.ts'

/** A schedule that has found something once; it is run for ever. */
export interface KeptSchedule {
  /** What it found, or finds in a mutant. */
  readonly name: string
  /** Several, where what it needs depends on which host gets which task. */
  readonly seeds: readonly number[]
  /** What is set by hand; the rest comes from the seed. */
  readonly change?: Partial<SchedulePlan>
}

type HostPlan = SchedulePlan['hosts'][number]

const HOST: HostPlan = { clockOffsetMs: 1e6, clockRate: 1, slots: 1, rareSlots: 0 }

const CALM = {
  latencyMs: [1, 2],
  jitterMs: 0,
  duplicate: 0,
  redelivery: 0,
  reorder: 0,
  gossipLoss: 0,
  codec: false
} as const

const TREE: TreePlan = {
  depth: 2,
  fanOut: 4,
  failing: 0,
  rare: 0,
  flaky: 0,
  exclusive: 0,
  hasty: 0,
  poison: false,
  padding: 0
}

/** One job, submitted at host 0, on a network and disks that do nothing of their own accord. */
function directed(hosts: readonly HostPlan[], tree: Partial<TreePlan>, bodyMs: number, faults: readonly Fault[]) {
  return {
    hosts,
    network: CALM,
    commitMs: 1,
    reapMs: 20,
    awaiting: false,
    jobs: [{ host: 0, at: 1_500, tree: { ...TREE, ...tree }, bodyMs }],
    faults: [...faults].sort((a, b) => a.at - b.at)
  }
}

function crash(at: number, host: number, downMs = 100): Fault {
  return { kind: 'crash', at, host, downMs, power: false }
}

function replays(
  at: readonly [from: number, step: number, times: number],
  what: { frame: 'reserved' | 'reserve' | 'grant' | 'handoff'; from: number; to: number; count?: number }
): Fault[] {
  const [from, step, times] = at
  return Array.from({ length: times }, (_, index) => ({ kind: 'replay', at: from + index * step, count: 1, ...what }))
}

const slots = (count: number): HostPlan => ({ ...HOST, slots: count })

export const KEPT_SCHEDULES: readonly KeptSchedule[] = [
  {
    name: 'an old RESERVED names an engagement that was fenced before its receiver was granted its own (fenced[] in GRANT)',
    seeds: [27, 36, 56, 69, 114],
    change: {
      ...directed([slots(1), slots(1), slots(2)], { depth: 3, fanOut: 5 }, 500, [
        crash(5_000, 1),
        crash(5_100, 2),
        ...replays([5_500, 60, 80], { frame: 'reserved', from: 1, to: 2 })
      ]),
      network: { ...CALM, latencyMs: [150, 151] }
    }
  },
  {
    name: 'a machine wakes up and finds the grant of a lease that ended while it slept (C8, H15)',
    seeds: [1, 8, 22],
    change: directed([slots(1), slots(2), slots(2)], { depth: 3 }, 1_500, [
      { kind: 'suspend', at: 3_000, host: 1, forMs: 12_000 },
      ...replays([15_001, 5, 20], { frame: 'grant', from: 0, to: 1 }),
      ...replays([15_002, 5, 20], { frame: 'reserve', from: 0, to: 1 }),
      ...replays([15_003, 5, 20], { frame: 'handoff', from: 0, to: 1, count: 2 })
    ])
  },
  {
    name: 'a task kills every daemon that runs it (H12)',
    seeds: [1],
    change: directed([slots(2), slots(2), slots(2)], { poison: true }, 50, [])
  },
  {
    name: 'a daemon is stopped while its lease is about to end (the watchdog must count leases, not silence)',
    seeds: [1, 2, 3],
    change: directed([slots(1), slots(3), slots(3)], { fanOut: 6 }, 4_000, [
      { kind: 'cut', at: 3_000, forMs: 20_000, a: 0, b: 1, oneWay: false, reset: false },
      { kind: 'pause', at: 4_000, host: 1, forMs: 8_000, timersFirst: true }
    ])
  },
  {
    name: 'a host loses its lease without the knowledge of its root, while hand-offs come again (R2, R3)',
    seeds: [1, 2, 3, 9],
    change: {
      ...directed([slots(1), slots(3), slots(1)], { depth: 3, fanOut: 6, exclusive: 1 }, 7_000, [
        { kind: 'cut', at: 7_600, forMs: 20_000, a: 0, b: 1, oneWay: true, reset: false },
        ...replays([12_400, 20, 100], { frame: 'handoff', from: 0, to: 1, count: 3 })
      ]),
      reapMs: 850
    }
  },
  {
    name: 'a cancel overtakes its hand-off (tombstone)',
    seeds: [1, 9, 15, 29],
    change: {
      ...directed([slots(1), slots(4), slots(4)], { fanOut: 8 }, 60, [{ kind: 'cancel', at: 1_800, job: 0 }]),
      network: { ...CALM, latencyMs: [20, 40], reorder: 1 }
    }
  },
  {
    name: 'a hand-off is lost with its connection, and then its task is cancelled (CANCEL is sent again)',
    seeds: [8, 10, 35, 43],
    change: {
      ...directed([slots(1), slots(4), slots(4)], { fanOut: 8 }, 60, [
        { kind: 'reset', at: 1_795, a: 0, b: 1 },
        { kind: 'reset', at: 1_795, a: 0, b: 2 },
        { kind: 'cancel', at: 1_800, job: 0 }
      ]),
      network: { ...CALM, latencyMs: [20, 40] }
    }
  },
  {
    name: 'two members never get through to each other (relay, H1)',
    seeds: [4, 6, 8, 9],
    change: directed([slots(1), slots(2), slots(2)], { depth: 3 }, 600, [
      { kind: 'cut', at: 4_000, forMs: 1e6, a: 1, b: 2, oneWay: false, reset: true }
    ])
  },
  {
    name: 'a daemon is started again in the moment of its death, before its tasks are dead (C3, H3)',
    seeds: [7, 11, 13, 15],
    change: {
      ...directed(
        [slots(1), slots(4), slots(4)],
        { depth: 3 },
        600,
        [2_500, 3_500, 4_500].map(at => crash(at, 1, 0))
      ),
      reapMs: 850
    }
  },
  {
    name: 'a task is to be started when its record is durable, and that is after its lease (R1, H14)',
    seeds: [1, 2, 3, 4],
    change: {
      ...directed([slots(4), slots(1), slots(1)], {}, 0, [
        { kind: 'slow-disk', at: 1_000, host: 0, forMs: 9_000, commitMs: 900 },
        { kind: 'pause', at: 3_300, host: 0, forMs: 9_000, timersFirst: false }
      ]),
      jobs: [0, 1, 2, 3, 4, 5].map(index => ({ host: 0, at: 1_200 + 300 * index, tree: TREE, bodyMs: 300 }))
    }
  },
  {
    name: 'answers to renewals are long on their way (the lease runs from the sending of the request)',
    seeds: [1, 2, 3, 4],
    change: {
      ...directed([slots(1), slots(3), slots(1)], { depth: 3, fanOut: 6 }, 7_000, [
        { kind: 'cut', at: 14_000, forMs: 30_000, a: 1, b: 0, oneWay: true, reset: false }
      ]),
      network: { ...CALM, latencyMs: [1_500, 1_550] },
      reapMs: 850
    }
  },
  {
    name: 'hand-offs are lost with their connections (HANDOFF is sent again)',
    seeds: [4, 5, 7, 8],
    change: {
      ...directed(
        [slots(1), slots(4), slots(4)],
        { fanOut: 8 },
        60,
        [1_780, 2_000, 2_600].flatMap((at): Fault[] => [
          { kind: 'reset', at, a: 0, b: 1 },
          { kind: 'reset', at, a: 0, b: 2 },
          { kind: 'reset', at, a: 1, b: 2 }
        ])
      ),
      network: { ...CALM, latencyMs: [40, 60] }
    }
  },
  {
    name: 'a daemon whose disk is full refuses a submission, and takes it after a restart with space',
    seeds: [1],
    change: directed([HOST, HOST, HOST], {}, 20, [{ kind: 'disk-full', at: 1_000, host: 0, downMs: 500 }])
  },
  {
    name: 'a host loses its lease while others, and itself, wait for its slots',
    seeds: [1, 2, 3, 4],
    change: directed([slots(1), slots(1), slots(1)], { fanOut: 6 }, 800, [
      { kind: 'pause', at: 2_500, host: 1, forMs: 7_000, timersFirst: true },
      { kind: 'pause', at: 11_000, host: 0, forMs: 7_000, timersFirst: false }
    ])
  }
]
