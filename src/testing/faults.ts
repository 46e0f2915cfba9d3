import type { FrameKind } from '../core/index.ts'
import { SeededRandom } from './random.ts'

/** Hosts and jobs are named by their number. `at`: simulated milliseconds from the start. */
export type Fault =
  /**
   * kill -9 of the daemon, or (`power`) of the whole machine, which closes no connection. It starts again after `downMs`;
   * null: never. `reused`: with the incarnation it had, as from a restored disk.
   */
  | {
      readonly kind: 'crash'
      readonly at: number
      readonly host: number
      readonly downMs: number | null
      readonly power: boolean
      readonly reused?: boolean
    }
  /** SIGSTOP of the daemon: its tasks go on. `timersFirst`: what it handles first when it goes on. */
  | {
      readonly kind: 'pause'
      readonly at: number
      readonly host: number
      readonly forMs: number
      readonly timersFirst: boolean
    }
  /** The machine sleeps: its monotonic clock stands still. */
  | { readonly kind: 'suspend'; readonly at: number; readonly host: number; readonly forMs: number }
  /** Nothing gets through between `side` and all others; `oneWay`: from `side` only. `reset`: connections break at once. */
  | {
      readonly kind: 'partition'
      readonly at: number
      readonly forMs: number
      readonly side: readonly number[]
      readonly oneWay: boolean
      readonly reset: boolean
    }
  /** As `partition`, between two hosts. */
  | {
      readonly kind: 'cut'
      readonly at: number
      readonly forMs: number
      readonly a: number
      readonly b: number
      readonly oneWay: boolean
      readonly reset: boolean
    }
  /** The connection of two hosts breaks; what is on its way is lost. */
  | { readonly kind: 'reset'; readonly at: number; readonly a: number; readonly b: number }
  | {
      readonly kind: 'slow-disk'
      readonly at: number
      readonly host: number
      readonly forMs: number
      readonly commitMs: number
    }
  /**
   * The disk refuses the next write. A daemon with running jobs ends, and starts again after `downMs`, when there is space;
   * one without refuses submissions until it is started again.
   */
  | { readonly kind: 'disk-full'; readonly at: number; readonly host: number; readonly downMs: number }
  /** Graceful stop; starts again `downMs` after it has ended. */
  | {
      readonly kind: 'stop'
      readonly at: number
      readonly host: number
      readonly now: boolean
      readonly downMs: number | null
    }
  | {
      readonly kind: 'drain'
      readonly at: number
      readonly host: number
      readonly forMs: number
      readonly deadlineMs: number
    }
  /** Frames of the past come again: `count` of any kinds, or the newest ones of the named kind between two hosts. */
  | {
      readonly kind: 'replay'
      readonly at: number
      readonly count: number
      readonly frame?: FrameKind
      readonly from?: number
      readonly to?: number
    }
  | { readonly kind: 'cancel'; readonly at: number; readonly job: number }

export type FaultKind = Fault['kind']

/** How many faults of each kind a schedule has on average, and over which time they are spread. */
export interface FaultRates {
  readonly crash: number
  readonly pause: number
  readonly suspend: number
  readonly partition: number
  readonly cut: number
  readonly lastingCut: number
  readonly reset: number
  readonly slowDisk: number
  readonly diskFull: number
  readonly stop: number
  readonly drain: number
  readonly replay: number
  readonly cancel: number
}

/**
 * Per schedule. A fault that finds its host down already does nothing and is not counted, so there are more of them than
 * 10 crashes, 5 pauses and 2 partitions, which is what a schedule has to have on average.
 */
export const FAULT_RATES: FaultRates = {
  crash: 16.5,
  pause: 10.5,
  suspend: 0.7,
  partition: 2.6,
  cut: 1.5,
  lastingCut: 0.15,
  reset: 5,
  slowDisk: 1,
  diskFull: 0.4,
  stop: 0.8,
  drain: 0.4,
  replay: 12,
  cancel: 0.25
}

/** Longer than any lease: who is away so long is fenced. */
const LONG_MS = [6_800, 11_000] as const

/** Longer than any schedule. */
const LASTING_MS = 1e6

export interface FaultRange {
  readonly hosts: number
  /** Submitting host of each job. */
  readonly roots: readonly number[]
  /** Faults happen before this. */
  readonly untilMs: number
}

/** Faults of a schedule, in the order of their times. */
export function faultsOf(seed: number, rates: FaultRates, range: FaultRange): Fault[] {
  const random = new SeededRandom(seed, 'faults')
  const faults: Fault[] = []
  // In a third of the schedules nobody is away for longer than a lease: they are over soon, and many things meet in them.
  const longTimes = random.chance(0.67)
  const awayMs = (short: number, mostMs: number, at: readonly [number, number]) =>
    !longTimes || random.chance(short) ? random.between(20, mostMs) : random.between(...at)
  const some = (rate: number, make: (at: number) => Fault) => {
    const whole = Math.floor(rate)
    const count = whole + (random.chance(rate - whole) ? 1 : 0)
    for (let index = 0; index < count; index += 1) faults.push(make(100 + random.next() * range.untilMs))
  }
  const host = () => random.int(range.hosts)
  // One host at the most is gone for good, and not before half of the time.
  let goner = random.chance(0.25) ? host() : undefined
  some(rates.crash, at => {
    const victim = host()
    const dice = random.next()
    let downMs: number | null = dice < 0.6 ? random.between(20, 500) : awayMs(0.6, 2_500, LONG_MS)
    if (goner === victim && at > range.untilMs / 2) {
      downMs = null
      goner = undefined
    }
    return { kind: 'crash', at, host: victim, downMs, power: random.chance(0.2), reused: random.chance(0.02) }
  })
  some(rates.pause, at => {
    const forMs = awayMs(0.6, 3_000, LONG_MS)
    return { kind: 'pause', at, host: host(), forMs, timersFirst: random.chance(0.7) }
  })
  some(rates.suspend, at => ({ kind: 'suspend', at, host: host(), forMs: awayMs(0.5, 3_000, LONG_MS) }))
  some(rates.partition, at => {
    const forMs = awayMs(0.4, 3_000, LONG_MS)
    const minority = 1 + random.int(Math.max(1, Math.floor(range.hosts / 2)))
    const side = new Set<number>()
    while (side.size < minority) side.add(host())
    const sides = [...side].sort((a, b) => a - b)
    return { kind: 'partition', at, forMs, side: sides, oneWay: random.chance(0.3), reset: random.chance(0.4) }
  })
  const pair = () => {
    const a = host()
    return { a, b: (a + 1 + random.int(range.hosts - 1)) % range.hosts }
  }
  some(rates.cut, at => {
    const forMs = awayMs(0.4, 3_000, LONG_MS)
    return { kind: 'cut', at, forMs, ...pair(), oneWay: random.chance(0.3), reset: random.chance(0.4) }
  })
  // Two hosts that never get through to each other again: the root, linked with both, has to carry frames between them.
  const members = Array.from({ length: range.hosts }, (_, index) => index).filter(index => !range.roots.includes(index))
  const [a, b] = members
  if (a !== undefined && b !== undefined) {
    some(rates.lastingCut, at => ({ kind: 'cut', at, forMs: LASTING_MS, a, b, oneWay: false, reset: true }))
  }
  some(rates.reset, at => ({ kind: 'reset', at, ...pair() }))
  some(rates.slowDisk, at => {
    const forMs = random.between(200, 4_000)
    return { kind: 'slow-disk', at, host: host(), forMs, commitMs: random.between(20, 800) }
  })
  some(rates.diskFull, at => ({ kind: 'disk-full', at, host: host(), downMs: random.between(50, 3_000) }))
  some(rates.stop, at => ({
    kind: 'stop',
    at,
    host: host(),
    now: random.chance(0.5),
    downMs: random.between(20, 4_000)
  }))
  some(rates.drain, at => {
    const forMs = random.between(500, 6_000)
    return { kind: 'drain', at, host: host(), forMs, deadlineMs: 1 + random.int(2_000) }
  })
  some(rates.replay, at => ({ kind: 'replay', at, count: 1 + random.int(4) }))
  some(rates.cancel, at => ({ kind: 'cancel', at, job: random.int(range.roots.length) }))
  return faults.sort((a, b) => a.at - b.at)
}

/** When the fault is over, as far as it says so itself; at once, when everything has to end in spite of it. */
export function endOf(fault: Fault): number {
  if ('forMs' in fault && fault.forMs < LASTING_MS) return fault.at + fault.forMs
  if ('downMs' in fault) return fault.at + (fault.downMs ?? 0)
  return fault.at
}

/** In a few words. */
export function describeFault(fault: Fault): string {
  const { kind, at, ...rest } = fault
  const words = Object.entries(rest)
    .filter(([, value]) => value !== false && value !== undefined)
    .map(([key, value]) =>
      typeof value === 'number' ? `${key} ${Math.round(value * 10) / 10}` : `${key} ${String(value)}`
    )
  return `${at.toFixed(1)} ms: ${kind}, ${words.join(', ')}`
}
