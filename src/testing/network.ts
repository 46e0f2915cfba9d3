import type { Advertisement, Frame, FrameKind, PeerId } from '../core/index.ts'
import type { Discovery, Network, NetworkHandlers } from '../ports/index.ts'
import { decodeFrame, encodeFrame, FRAME_HEADER_BYTES } from '../wire/index.ts'
import { type FrameFate, type FrameTable, isJobFrame } from './frame-coverage.ts'
import type { NetworkPlan } from './plan.ts'
import { SeededRandom } from './random.ts'
import type { VirtualTime } from './virtual-time.ts'

/** A frame that comes again much later comes up to this late: past several leases. */
export const REDELIVERY_MAX_MS = 20_000

/** Frames of one kind that are kept to come again. */
const KEPT_PER_KIND = 64

/** Of the frames that come again much later so many have not come before. */
const LATE_ONLY = 0.4

/** Before two daemons that have lost their connection have another: the reconnector's first tries. */
const RECONNECT_MS = [15, 600] as const

/**
 * Frames that are few: what may happen to a frame happens to them RARE_TIMES as often, and sometimes their connection
 * breaks just then.
 */
const RARE_KINDS: ReadonlySet<string> = new Set(['stale', 'leave', 'settlePart', 'relay', 'cancel', 'busy', 'fenced'])
const RARE_TIMES = 5
const RARE_BREAKS = 0.03

/** Longest hold of a frame that is overtaken. */
const REORDER_MAX_MS = 400

/** One host, as the network sees it. */
export interface Station {
  readonly index: number
  readonly peer: PeerId
  /** Number of its present boot; 0 while no daemon runs. */
  readonly life: number
  /** Its daemon runs and answers: neither stopped nor asleep. */
  readonly answers: boolean
  /** Runs `act` in boot `life`: at once, or when it goes on after a pause, or never when that boot is over. */
  enter(life: number, kind: 'timer' | 'io', act: () => void): void
}

/** Sees all frames. */
export interface FrameWatcher {
  sent(from: Station, to: Station, frame: Frame): void
  delivered(from: Station, to: Station, frame: Frame): void
}

/** One connection. Its two ends are closed one after the other, so that one side may believe in it longer. */
interface Connection {
  readonly a: Station
  readonly b: Station
  readonly open: [boolean, boolean]
  /** When the last item to a (0) and to b (1) arrives. */
  readonly arrival: [number, number]
  /** What waits for the end of a partition, to a and to b. */
  readonly held: [(() => void)[], (() => void)[]]
  readonly latencyMs: number
  /** What was on its way is lost. */
  broken: boolean
}

interface Packet {
  readonly frame: Frame
  readonly from: Station
  readonly to: Station
  readonly fromLife: number
  readonly toLife: number
  readonly sequence: number
  deliveries: number
}

interface FabricInit {
  readonly time: VirtualTime
  readonly plan: NetworkPlan
  readonly seed: number
  readonly stations: readonly Station[]
  readonly table: FrameTable
  readonly watcher: FrameWatcher
}

/** All connections of a simulated mesh: in-order streams that may break, hold back, and (for job frames) do worse. */
export class Fabric {
  readonly #init: FabricInit
  readonly #random: SeededRandom
  readonly #networks: (SimNetwork | undefined)[]
  /** `ends[i][j]`: the connection to j that i believes in. */
  readonly #ends: (Connection | undefined)[][]
  /** `blocked[i][j]`: partitions that keep i's packets from j. */
  readonly #blocked: number[][]
  readonly #dialling: boolean[][]
  readonly #newest: number[][]
  readonly #past = new Map<FrameKind, Packet[]>()
  #sequence = 0

  constructor(init: FabricInit) {
    this.#init = init
    this.#random = new SeededRandom(init.seed, 'network')
    const square = <T>(value: T) => init.stations.map(() => init.stations.map(() => value))
    this.#networks = init.stations.map(() => undefined)
    this.#ends = square<Connection | undefined>(undefined)
    this.#blocked = square(0)
    this.#dialling = square(false)
    this.#newest = square(0)
  }

  network(station: Station): SimNetwork {
    return new SimNetwork(this, station)
  }

  /** `closes`: its connections end as those of a process that has ended; else nobody is told. */
  down(station: Station, closes: boolean): void {
    this.#networks[station.index] = undefined
    for (const other of this.#init.stations) {
      const connection = this.#row(station)[other.index]
      if (connection === undefined) continue
      this.#row(station)[other.index] = undefined
      connection.open[sideOf(connection, station)] = false
      if (closes) this.#farewell(connection, other, 'closed by the other side')
    }
  }

  /** Tries to link this host with all others: to be called whenever it begins to answer. */
  seek(station: Station): void {
    for (const other of this.#init.stations) if (other !== station) this.#dial(station, other)
  }

  block(from: Station, to: Station, change: 1 | -1): void {
    const row = this.#blocked[from.index]
    if (row === undefined) return
    row[to.index] = (row[to.index] ?? 0) + change
    if (change === 1 || this.#isBlocked(from, to)) return
    const connection = this.#row(from)[to.index] ?? this.#row(to)[from.index]
    if (connection !== undefined) {
      for (const item of connection.held[sideOf(connection, to)].splice(0)) this.#carry(connection, to, item)
    }
    this.#dial(from, to)
  }

  /** Both sides hear of it, if packets get through to them; frames on their way are lost. */
  reset(a: Station, b: Station): boolean {
    const connection = this.#row(a)[b.index]
    if (connection === undefined || this.#row(b)[a.index] !== connection) return false
    connection.broken = true
    for (const end of [a, b]) this.#closeEnd(connection, end, 'connection reset')
    return true
  }

  /** Frames of the past come again, whatever has become of sender and receiver. False when there is none. */
  replay(which: { count: number; frame?: FrameKind; from?: number; to?: number }): boolean {
    const { count, frame, from, to } = which
    let found = false
    for (let turn = 0; turn < count && this.#past.size > 0; turn += 1) {
      const kind = frame ?? this.#random.pick([...this.#past.keys()])
      const packets = this.#past.get(kind) ?? []
      const packet =
        frame === undefined
          ? this.#random.pick(this.#unseen(packets))
          : packets.filter(each => each.from.index === from && each.to.index === to).at(-1 - turn)
      if (packet === undefined) continue
      found = true
      this.#redeliver(packet)
    }
    return found
  }

  // For SimNetwork

  attach(network: SimNetwork, station: Station): void {
    this.#networks[station.index] = network
    this.seek(station)
  }

  linked(station: Station, to: PeerId): boolean {
    const other = this.#station(to)
    return other !== undefined && this.#row(station)[other.index] !== undefined
  }

  send(from: Station, to: PeerId, frame: Frame): boolean {
    const target = this.#station(to)
    const connection = target === undefined ? undefined : this.#row(from)[target.index]
    if (target === undefined || connection === undefined) {
      if (target !== undefined && isJobFrame(frame)) this.#count(frame, 'lost')
      return false
    }
    const { plan, time, watcher } = this.#init
    watcher.sent(from, target, frame)
    this.#sequence += 1
    const packet: Packet = {
      frame: plan.codec ? recoded(frame) : frame,
      from,
      to: target,
      fromLife: from.life,
      toLife: target.life,
      sequence: this.#sequence,
      deliveries: 0
    }
    const arrive = () => this.#arrive(connection, packet)
    if (!isJobFrame(frame)) {
      this.#carry(connection, target, arrive)
      return true
    }
    this.#keep(packet)
    const random = this.#random
    const times = RARE_KINDS.has(frame.kind) ? RARE_TIMES : 1
    const comesLate = plan.redelivery > 0 && random.chance(plan.redelivery * times)
    if (comesLate) {
      const late = random.next()
      time.after(connection.latencyMs + late * late * late * REDELIVERY_MAX_MS, () => this.#redeliver(packet))
    }
    if (comesLate && random.chance(LATE_ONLY)) return true
    if (plan.reorder > 0 && random.chance(plan.reorder * times)) {
      time.after(connection.latencyMs + random.heavyTailed(3, REORDER_MAX_MS), arrive)
    } else {
      this.#carry(connection, target, arrive)
    }
    if (plan.duplicate > 0 && random.chance(plan.duplicate * times)) this.#carry(connection, target, arrive)
    if (times > 1 && random.chance(RARE_BREAKS)) time.after(0, () => this.reset(from, target))
    return true
  }

  publish(from: Station, advertisement: Advertisement): void {
    const { plan, time, stations } = this.#init
    for (const to of stations) {
      const connection = this.#row(from)[to.index]
      if (connection === undefined || this.#isBlocked(from, to) || this.#random.chance(plan.gossipLoss)) continue
      time.after(connection.latencyMs + this.#random.next() * plan.jitterMs, () => {
        const network = this.#networks[to.index]
        to.enter(to.life, 'io', () => network?.handlers?.advertisement(from.peer, advertisement))
      })
    }
  }

  disconnect(station: Station, peer: PeerId, reason: string): void {
    const other = this.#station(peer)
    const connection = other === undefined ? undefined : this.#row(station)[other.index]
    if (other === undefined || connection === undefined) return
    connection.broken = true
    this.#closeEnd(connection, station, reason)
    this.#farewell(connection, other, 'closed by the other side')
  }

  #keep(packet: Packet): void {
    const { kind } = packet.frame
    const packets = this.#past.get(kind)
    if (packets === undefined) this.#past.set(kind, [packet])
    else packets.push(packet)
    if (packets !== undefined && packets.length > KEPT_PER_KIND) packets.splice(this.#random.int(KEPT_PER_KIND), 1)
  }

  /** Half of the time those that have never arrived, if there are any. */
  #unseen(packets: readonly Packet[]): readonly Packet[] {
    const unseen = this.#random.chance(0.5) ? packets.filter(({ deliveries }) => deliveries === 0) : []
    return unseen.length > 0 ? unseen : packets
  }

  #carry(connection: Connection, to: Station, item: () => void): void {
    const side = sideOf(connection, to)
    const from = side === 0 ? connection.b : connection.a
    if (this.#isBlocked(from, to)) {
      connection.held[side].push(item)
      return
    }
    const { time, plan } = this.#init
    const delay = connection.latencyMs + this.#random.next() * plan.jitterMs
    const at = Math.max(time.now + delay, connection.arrival[side])
    connection.arrival[side] = at
    time.after(at - time.now, () => {
      // A partition may have begun meanwhile: what the receiver has not got is sent again later, in order.
      if (this.#isBlocked(from, to)) connection.held[side].push(item)
      else item()
    })
  }

  #arrive(connection: Connection, packet: Packet): void {
    const { from, to, frame, toLife } = packet
    const lost = () => isJobFrame(frame) && packet.deliveries === 0 && this.#count(frame, 'lost')
    if (connection.broken || !connection.open[sideOf(connection, to)]) {
      lost()
      if (to.life !== toLife && isJobFrame(frame)) this.#count(frame, 'after crash of receiver')
      return
    }
    to.enter(toLife, 'io', () => {
      if (this.#row(to)[from.index] === connection) this.#deliver(packet)
      else lost()
    })
  }

  /** A copy that has been on its way for long: whatever has become of its connection, its sender and its receiver. */
  #redeliver(packet: Packet): void {
    const { to } = packet
    to.enter(to.life, 'io', () => this.#deliver(packet))
  }

  #deliver(packet: Packet): void {
    const { from, to, frame, sequence } = packet
    const handlers = this.#networks[to.index]?.handlers
    if (handlers === undefined) return
    packet.deliveries += 1
    if (isJobFrame(frame)) {
      const row = this.#newest[from.index]
      const newest = row?.[to.index] ?? 0
      if (row !== undefined) row[to.index] = Math.max(newest, sequence)
      if (packet.deliveries === 2) this.#count(frame, 'duplicated')
      if (sequence < newest) this.#count(frame, 'late')
      if (from.life !== packet.fromLife) this.#count(frame, 'after crash of sender')
      if (to.life !== packet.toLife) this.#count(frame, 'after crash of receiver')
    }
    this.#init.watcher.delivered(from, to, frame)
    handlers.frame(from.peer, frame)
  }

  /** The other side hears that this connection has ended, after all that was sent on it before. */
  #farewell(connection: Connection, to: Station, reason: string): void {
    this.#carry(connection, to, () => this.#closeEnd(connection, to, reason))
  }

  #closeEnd(connection: Connection, end: Station, reason: string): void {
    const side = sideOf(connection, end)
    if (!connection.open[side]) return
    connection.open[side] = false
    const other = side === 0 ? connection.b : connection.a
    const network = this.#networks[end.index]
    end.enter(end.life, 'io', () => {
      if (this.#row(end)[other.index] !== connection) return
      this.#row(end)[other.index] = undefined
      network?.handlers?.linkDown(other.peer, reason)
      this.#dial(end, other)
    })
  }

  #dial(a: Station, b: Station): void {
    const row = this.#dialling[Math.min(a.index, b.index)]
    const column = Math.max(a.index, b.index)
    if (row === undefined || row[column] === true) return
    row[column] = true
    this.#init.time.after(this.#random.between(...RECONNECT_MS), () => {
      row[column] = false
      this.#connect(a, b)
    })
  }

  #connect(a: Station, b: Station): void {
    if (!a.answers || !b.answers || this.#isBlocked(a, b) || this.#isBlocked(b, a)) return
    const known = this.#row(a)[b.index]
    if (known !== undefined && known === this.#row(b)[a.index]) return
    const { latencyMs } = this.#init.plan
    const connection: Connection = {
      a,
      b,
      open: [true, true],
      arrival: [0, 0],
      held: [[], []],
      latencyMs: this.#random.between(...latencyMs),
      broken: false
    }
    for (const [end, other] of [
      [a, b],
      [b, a]
    ] as const) {
      const handlers = this.#networks[end.index]?.handlers
      const old = this.#row(end)[other.index]
      if (old !== undefined) {
        old.open[sideOf(old, end)] = false
        handlers?.linkDown(other.peer, 'replaced by a newer link')
      }
      this.#row(end)[other.index] = connection
    }
    for (const [end, other] of [
      [a, b],
      [b, a]
    ] as const) {
      const direction = end === a ? 'outbound' : 'inbound'
      const remoteAddress = addressOf(other)
      this.#networks[end.index]?.handlers?.linkUp(other.peer, { direction, remoteAddress, role: 'worker' })
    }
  }

  #count(frame: Frame, fate: FrameFate): void {
    const row = this.#init.table[frame.kind]
    if (row !== undefined) row[fate] += 1
  }

  #isBlocked(from: Station, to: Station): boolean {
    return (this.#blocked[from.index]?.[to.index] ?? 0) > 0
  }

  #row(station: Station): (Connection | undefined)[] {
    return this.#ends[station.index] ?? []
  }

  #station(peer: PeerId): Station | undefined {
    return this.#init.stations.find(station => station.peer === peer)
  }
}

/** The network port of one boot of one host. */
export class SimNetwork implements Network {
  readonly self: PeerId
  handlers: NetworkHandlers | undefined
  readonly #fabric: Fabric
  readonly #station: Station

  constructor(fabric: Fabric, station: Station) {
    this.#fabric = fabric
    this.#station = station
    this.self = station.peer
  }

  start(handlers: NetworkHandlers): Promise<void> {
    this.handlers = handlers
    this.#fabric.attach(this, this.#station)
    return Promise.resolve()
  }

  stop(): Promise<void> {
    this.handlers = undefined
    this.#fabric.down(this.#station, true)
    return Promise.resolve()
  }

  addresses(): string[] {
    return [addressOf(this.#station)]
  }

  send(peer: PeerId, frame: Frame): boolean {
    return this.#fabric.send(this.#station, peer, frame)
  }

  publish(advertisement: Advertisement): void {
    this.#fabric.publish(this.#station, advertisement)
  }

  learn(): void {}

  known(): string[] {
    return []
  }

  disconnect(peer: PeerId, reason: string): void {
    this.#fabric.disconnect(this.#station, peer, reason)
  }

  discovery(): Discovery {
    return { mdns: { state: 'off' }, unreachable: [], refused: {} }
  }
}

function sideOf(connection: Connection, station: Station): 0 | 1 {
  return connection.a === station ? 0 : 1
}

function addressOf(station: Station): string {
  return `/ip4/10.0.0.${station.index + 1}/tcp/4001`
}

/** Through the codec and back. */
function recoded(frame: Frame): Frame {
  const bytes = encodeFrame(frame)
  const decoded = decodeFrame(bytes[FRAME_HEADER_BYTES - 1] ?? 0, bytes.subarray(FRAME_HEADER_BYTES))
  if (decoded === undefined) throw new RangeError(`${frame.kind} cannot be decoded`)
  return decoded
}
