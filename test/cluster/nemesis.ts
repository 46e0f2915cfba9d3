import type { SeededRandom } from '../../src/testing/random.ts'
import type { Lan } from './lan.ts'
import type { LanHost } from './lan-daemon.ts'

/** Shorter than a lease even on a busy machine: nothing needs to be done again. */
const SHORT_MS = [500, 4_000] as const

/** Longer than a lease with its margin: the host is taken for lost meanwhile. */
const LONG_MS = [8_000, 11_000] as const

/** Something is going on when a fault begins, and goes on when the next one does. */
const BEGIN_MS = [200, 3_000] as const

/** A daemon that is killed and started at once is back in about a second, long before its lease is over. */
const RESTART_MS = [0, 1_500] as const

/** All daemons are killed, and started again at once, within this. */
const STORM_MS = [2_000, 2_000] as const

type Duration = 'short' | 'long'
type Target = 'root' | 'other'

/** Kinds of faults of daemons, and of the network; of each sort one happens at a time. */
const DAEMON_FAULTS = [
  ['kill', 'root', 'short'],
  ['kill', 'other', 'short'],
  ['kill', 'root', 'long'],
  ['kill', 'other', 'long'],
  ['pause', 'root', 'long'],
  ['pause', 'other', 'long'],
  ['pause', 'other', 'short'],
  ['storm', 'other', 'short']
] as const
const NETWORK_FAULTS = [
  ['cable', 'other', 'long'],
  ['cable', 'root', 'short'],
  ['card', 'other', 'long'],
  ['partition', 'other', 'long'],
  ['partition', 'other', 'short'],
  ['isolation', 'other', 'long']
] as const

type Kind = (typeof DAEMON_FAULTS)[number] | (typeof NETWORK_FAULTS)[number]

/** One thing that befalls a running job, from its begin to its end. */
export interface Fault {
  readonly kind: Kind[0]
  /** Numbers of the hosts that it is about; of a partition, of one side. */
  readonly hosts: readonly number[]
  /** From the begin of the job's first task, or from the begin of the fault: when it begins, and how long it lasts. */
  readonly afterMs: number
  readonly forMs: number
}

/** What befalls the jobs of one deck, in the order of the rounds: every kind of fault once. `root` submits the job. */
export function deal(random: SeededRandom, hosts: number): { root: number; faults: Fault[] }[] {
  const daemons: Kind[] = shuffled(random, DAEMON_FAULTS)
  const networks: (Kind | undefined)[] = shuffled(random, [...NETWORK_FAULTS, undefined, undefined])
  return daemons.map((daemon, round) => {
    const root = 1 + random.int(hosts)
    const kinds = [daemon, networks[round]].filter(kind => kind !== undefined)
    return { root, faults: kinds.map(kind => makeFault(random, kind, root, hosts)) }
  })
}

function makeFault(random: SeededRandom, kind: Kind, root: number, hosts: number): Fault {
  const all = Array.from({ length: hosts }, (_, index) => index + 1)
  const [name, target, duration]: readonly [Kind[0], Target, Duration] = kind
  const others = all.filter(host => host !== root)
  const one = target === 'root' ? root : (others[random.int(others.length)] ?? root)
  const [shortest, longest] =
    name === 'storm' ? STORM_MS : duration === 'long' ? LONG_MS : name === 'kill' ? RESTART_MS : SHORT_MS
  const affected: Record<Kind[0], () => number[]> = {
    kill: () => [one],
    pause: () => [one],
    cable: () => [one],
    card: () => [one],
    partition: () => shuffled(random, all).slice(0, 1 + random.int(Math.floor(hosts / 2))),
    isolation: () => all,
    storm: () => shuffled(random, all)
  }
  return {
    kind: name,
    hosts: affected[name](),
    afterMs: Math.round(random.between(BEGIN_MS[0], BEGIN_MS[1])),
    forMs: Math.round(random.between(shortest, longest))
  }
}

export function describeFault({ kind, hosts, afterMs, forMs }: Fault): string {
  return `${kind} ${hosts.join(',')} at ${(afterMs / 1_000).toFixed(1)} s for ${(forMs / 1_000).toFixed(1)} s`
}

/** Lets one fault happen, and ends it: all daemons run and all links are there again when it resolves. */
export async function befall(lan: Lan, fault: Fault, random: SeededRandom): Promise<void> {
  const { kind, forMs } = fault
  const hosts = fault.hosts.map(number => lan.host(number))
  const [host] = hosts
  if (host === undefined) return
  await pause(fault.afterMs)
  switch (kind) {
    case 'kill':
      return killed(host, forMs)
    case 'storm':
      await Promise.all(
        hosts
          .map(each => [each, random.between(0, forMs)] as const)
          .map(async ([each, afterMs]) => {
            await pause(afterMs)
            await killed(each, 0)
          })
      )
      return
    case 'pause':
      await host.process.signal('SIGSTOP')
      await pause(forMs)
      return host.process.signal('SIGCONT')
    case 'cable':
      await lan.cut(host)
      await pause(forMs)
      return lan.join(host)
    case 'card':
      await lan.unplug(host)
      await pause(forMs)
      return lan.plug(host)
    case 'partition':
      await lan.partition(
        lan.hosts.filter(each => !hosts.includes(each)),
        hosts
      )
      await pause(forMs)
      return lan.heal()
    case 'isolation':
      await lan.partition(...hosts.map(each => [each]))
      await pause(forMs)
      return lan.heal()
  }
}

async function killed(host: LanHost, downMs: number): Promise<void> {
  await host.kill()
  await pause(downMs)
  await host.up()
}

function shuffled<T>(random: SeededRandom, items: readonly T[]): T[] {
  const out = [...items]
  for (let index = out.length - 1; index > 0; index -= 1) {
    const other = random.int(index + 1)
    const held = out[index] as T
    out[index] = out[other] as T
    out[other] = held
  }
  return out
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
