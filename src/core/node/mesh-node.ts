import type { Advertisement, Frame, Hello, TaskRecord } from '../frames.ts'
import type { Boot, JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { HEARTBEAT_INTERVAL_MS, type MembershipEffect, MemberView } from '../membership/index.ts'
import type { SlotGrant, SlotRequest } from '../placement/index.ts'
import {
  type BodyEnd,
  type Ledger,
  type LedgerRecord,
  type LedgerStep,
  RENEW_INTERVAL_MS,
  RESEND_INTERVAL_MS,
  type SpawnRefusal,
  type SubmittedRecord,
  type TerminationEffect
} from '../termination/index.ts'
import { Advertiser } from './advertiser.ts'
import type { NodeEffect, NodeOutput } from './effects.ts'
import { type Considered, capabilitiesOf, consider, type OwnOffer } from './explain.ts'
import { dispatchJobFrame, type JobFrame } from './frame-dispatch.ts'
import { HostSide } from './host-side.ts'
import { OwnerSide } from './owner-side.ts'
import { acquaintances, introductions } from './peer-exchange.ts'
import { RootSide } from './root-side.ts'

export interface MeshNodeInit {
  readonly self: PeerId
  readonly boot: Boot
  readonly name: string
  readonly version: string
  readonly encodeRecord: (record: TaskRecord) => Uint8Array
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/**
 * The whole protocol of one daemon as one deterministic machine: membership, placement, its parts in all jobs, and the
 * jobs that were submitted to it. It does no IO: call an input method, then take what is to be done with `drain`.
 * The daemon and the simulator run this same code.
 *
 * Frames that a daemon sends to itself go through a queue, never through a nested call, and are handled before `drain`
 * returns.
 */
export class MeshNode {
  readonly view: MemberView
  readonly host: HostSide
  readonly roots: RootSide
  readonly #init: MeshNodeInit
  readonly #owner: OwnerSide
  readonly #advertiser: Advertiser
  #records: { job: JobId; record: LedgerRecord }[] = []
  #effects: NodeEffect[] = []
  readonly #loopback: Frame[] = []
  #stopping = false
  #heartbeatSequence = 0
  #heartbeatAt: Monotonic = Number.NEGATIVE_INFINITY
  #renewAt: Monotonic = Number.NEGATIVE_INFINITY
  #resendAt: Monotonic = Number.NEGATIVE_INFINITY
  /** Wall clock less monotonic clock, as of the last tick: for records only. */
  #wallOffset = 0

  constructor(init: MeshNodeInit) {
    this.#init = init
    const { self, boot, encodeRecord } = init
    this.view = new MemberView(self)
    this.host = new HostSide({ self, boot, encodeRecord })
    this.roots = new RootSide({ self, encodeRecord })
    this.#advertiser = new Advertiser(init)
    this.#owner = new OwnerSide({
      view: this.view,
      host: this.host,
      roots: this.roots,
      random: init.random,
      consider: (capability, on, now) => this.consider(capability, on, now),
      send: (to, frame) => this.#send(to, frame),
      commit: (job, at) => this.#commit(job, at)
    })
  }

  /** Takes what the inputs since the last call have to be followed by. */
  drain(now: Monotonic): NodeOutput {
    this.#run(now)
    const output = { records: this.#records, effects: this.#effects }
    this.#records = []
    this.#effects = []
    return output
  }

  // Inputs from the network

  linkUp(peer: PeerId, now: Monotonic): void {
    this.#membership(out => this.view.linkUp(peer, now, out))
    this.#send(peer, { kind: 'hello', boot: this.#init.boot, advertisement: this.advertisement() })
    this.#send(peer, acquaintances(this.view, peer))
    const at = this.#step(now)
    for (const participant of this.host.participants()) participant.resend(peer, at)
    this.#apply(at)
    this.#eachRoot(now, (ledger, step) => ledger.resend(peer, step))
    this.#owner.dirty()
  }

  linkDown(peer: PeerId, now: Monotonic): void {
    this.#membership(out => this.view.linkDown(peer, now, out))
    this.#owner.forget(peer)
    this.host.slots.forget(peer)
    this.#owner.dirty()
  }

  frame(from: PeerId, frame: Frame, now: Monotonic): void {
    if (from !== this.#init.self) this.#membership(out => this.view.heard(from, now, out))
    this.#frame(from, frame, now)
  }

  gossip(author: PeerId, advertisement: Advertisement, now: Monotonic): void {
    if (author === this.#init.self) return
    const before = this.view.get(author)?.advertisement?.addresses
    if (!this.view.advertised(author, advertisement, now)) return
    this.#owner.dirty()
    this.#introduce(author, before)
  }

  /** Call every TICK_INTERVAL_MS. `wall`: milliseconds since 1970, for records only. */
  tick(now: Monotonic, wall: number): void {
    this.#wallOffset = wall - now
    if (now - this.#heartbeatAt >= HEARTBEAT_INTERVAL_MS) this.#beat(now)
    const renew = now - this.#renewAt >= RENEW_INTERVAL_MS
    const resend = now - this.#resendAt >= RESEND_INTERVAL_MS
    if (renew) this.#renewAt = now
    if (resend) this.#resendAt = now
    const at = this.#step(now)
    for (const participant of this.host.participants()) {
      participant.tick(at)
      if (resend) participant.resend(undefined, at)
    }
    this.#apply(at)
    this.#eachRoot(now, (ledger, step) => {
      ledger.tick(step)
      if (resend) ledger.resend(undefined, step)
    })
    this.host.slots.expire(now)
    this.#refuse(this.host.overdue(now))
    if (renew) this.#renewLeases(now)
    this.#owner.giveUp(now)
    this.host.prune()
    this.#owner.dirty()
    const advertisement = this.#advertiser.due(this.#offer(), now)
    if (advertisement !== undefined) this.#effects.push({ kind: 'publish', advertisement })
  }

  // Inputs from this host

  /** Offers `slots` slots of a capability; 0 takes it away: what waits for it here goes back to its owners. */
  offer(capability: string, slots: number, now: Monotonic): void {
    // A stopping daemon offers nothing, whatever its workers say.
    this.#refuse(this.host.slots.offer(capability, this.#stopping ? 0 : slots))
    this.#giveBackStranded(now)
    this.#owner.dirty()
  }

  /** A job whose `submitted` record is durable. `history`: its later records, at a restart. */
  adopt(submitted: SubmittedRecord, history: readonly LedgerRecord[], now: Monotonic): void {
    const at = this.#ledgerStep(now)
    const ledger = this.roots.adopt(submitted, history)
    ledger.start(at)
    // What an earlier boot of this daemon held is gone; nobody else will say so.
    ledger.newBoot(this.#init.self, this.#init.boot, at)
    this.#commit(submitted.job, at)
  }

  cancel(job: JobId, now: Monotonic): void {
    const at = this.#ledgerStep(now)
    this.roots.ledger(job)?.cancel(at)
    this.#commit(job, at)
  }

  spawn(
    job: JobId,
    parent: ObligationId,
    child: { capability: string; input: Uint8Array; traceparent: string },
    now: Monotonic
  ): { path: string } | SpawnRefusal {
    const at = this.#step(now)
    const tree = this.host.participant(job)?.live(at)
    const spawned = tree?.spawn(parent, child, at)
    this.#apply(at)
    if (spawned === undefined) return { code: 'TASK_ENDED', message: 'the task is over on this host' }
    return 'task' in spawned ? { path: spawned.task.path } : spawned
  }

  bodyEnded(job: JobId, obligation: ObligationId, end: BodyEnd, now: Monotonic): void {
    this.host.ended(job, obligation)
    const at = this.#step(now)
    this.host.participant(job)?.bodyEnded(obligation, end, now + this.#wallOffset, at)
    this.#apply(at)
  }

  /** A body waits for a child, or has stopped waiting. */
  blocked(job: JobId, obligation: ObligationId, blocked: boolean): void {
    this.host.blocked(job, obligation, blocked)
  }

  /** Takes no new work and gives back what has not begun. Running bodies go on. Idempotent. */
  stop(now: Monotonic): void {
    if (this.#stopping) return
    this.#stopping = true
    for (const { name } of this.host.slots.offered()) this.offer(name, 0, now)
    const at = this.#step(now)
    this.host.giveBackQueued(at)
    this.#apply(at)
  }

  /** Kills running bodies; their tasks go back to their owners, who have them done elsewhere. `host.atRest` tells when. */
  interrupt(now: Monotonic): void {
    const at = this.#step(now)
    this.host.interrupt('the daemon is stopping', at)
    this.#apply(at)
  }

  /** Gives up every engagement; bodies that still run are killed. `left` tells when all is reaped. */
  leave(now: Monotonic): void {
    const at = this.#step(now)
    for (const participant of this.host.participants()) participant.leave(at)
    this.#apply(at)
  }

  get stopping(): boolean {
    return this.#stopping
  }

  /** True when no body runs here. */
  get quiet(): boolean {
    return this.host.running === 0
  }

  /** True when nothing of any job is held here. */
  get idle(): boolean {
    if (!this.quiet || this.host.slots.promised() > 0) return false
    return this.host.participants().every(participant => participant.idle)
  }

  /** Last look before a body is really started: its lease may have ended since `start` was decided. */
  mayStart(job: JobId, obligation: ObligationId, now: Monotonic): boolean {
    const at = this.#step(now)
    const vertex = this.host.participant(job)?.live(at)?.vertex(obligation)
    this.#apply(at)
    return vertex?.executing ?? false
  }

  /** Tells all linked members that this daemon stops now. */
  goodbye(): void {
    for (const member of this.view.members()) if (member.linked) this.#send(member.peer, { kind: 'goodbye' })
  }

  // Questions

  advertisement(): Advertisement {
    return this.#advertiser.current(this.#offer())
  }

  /** Every known daemon, and whether it could take such a task now. */
  consider(capability: string, on: PeerId | undefined, now: Monotonic): Considered[] {
    return consider(capability, on, this.#ownOffer(), this.view, now)
  }

  /** Capabilities of all daemons that are not known to be gone. */
  knownCapabilities(): Set<string> {
    return capabilitiesOf(this.host.slots.offered(), this.view)
  }

  waitingFor(job: JobId): number {
    return this.#owner.waitingFor(job)
  }

  // Inside

  #frame(from: PeerId, frame: Frame, now: Monotonic): void {
    switch (frame.kind) {
      case 'hello':
        return this.#hello(from, frame, now)
      case 'heartbeat':
        return this.#send(from, { kind: 'heartbeatAck', sequence: frame.sequence })
      case 'heartbeatAck':
        return this.view.heartbeatAck(from, frame.sequence, now)
      case 'peers':
        for (const { peer, addresses } of frame.peers) {
          if (peer !== this.#init.self) this.#effects.push({ kind: 'learn', peer, addresses })
        }
        return
      case 'goodbye':
        return this.#membership(out => this.view.goodbye(from, now, out))
      case 'reserve':
        return this.#reserve(from, frame, now)
      case 'reserved':
        return this.#owner.reserved(from, frame, now)
      case 'busy':
        return this.#owner.refused(from, frame.request)
      case 'release':
        return this.host.slots.release(from, frame.request, frame.slots, frame.all)
      default:
        return this.#jobFrame(from, frame, now)
    }
  }

  #jobFrame(from: PeerId, frame: JobFrame, now: Monotonic): void {
    const at = this.#ledgerStep(now)
    const oneWayMs = from === this.#init.self ? 0 : (this.view.get(from)?.shortestRttMs ?? 0) / 2
    const job = dispatchJobFrame({ host: this.host, roots: this.roots, oneWayMs }, from, frame, at)
    this.#commit(job, at)
  }

  #hello(from: PeerId, frame: Hello, now: Monotonic): void {
    const before = this.view.get(from)?.advertisement?.addresses
    this.#membership(out => this.view.hello(from, frame.boot, frame.advertisement, now, out))
    this.#effects.push({ kind: 'learn', peer: from, addresses: frame.advertisement.addresses })
    this.#introduce(from, before)
    this.#owner.dirty()
    if (!this.roots.isNewBoot(from, frame.boot)) return
    this.#eachRoot(now, (ledger, step) => ledger.newBoot(from, frame.boot, step))
  }

  #reserve(from: PeerId, frame: Frame & { kind: 'reserve' }, _now: Monotonic): void {
    const { request, job, root, capability, count } = frame
    const taken = !this.#stopping && this.host.slots.request({ from, request, job, root, capability }, count)
    if (!taken) this.#send(from, { kind: 'busy', request, job })
  }

  /** Handles what follows from the inputs until nothing more does. */
  #run(now: Monotonic): void {
    for (;;) {
      const frame = this.#loopback.shift()
      if (frame !== undefined) {
        this.#frame(this.#init.self, frame, now)
        continue
      }
      const before = this.#loopback.length + this.#effects.length
      this.#startBodies(now)
      this.#grantSlots(now)
      this.#owner.evaluate(this.#stopping)
      if (this.#loopback.length + this.#effects.length === before) return
    }
  }

  #startBodies(now: Monotonic): void {
    for (const { job, obligation, capability } of this.host.slots.startable()) {
      const at = this.#step(now)
      const tree = this.host.participant(job)?.live(at)
      const vertex = tree?.vertex(obligation)
      const begins = tree?.started(obligation, now + this.#wallOffset) ?? false
      this.#apply(at)
      if (vertex === undefined || !begins) {
        this.host.slots.leave(capability)
        continue
      }
      const { task } = vertex
      this.host.began(job, obligation, task.capability)
      this.#effects.push({ kind: 'start', job, obligation, task, attempt: vertex.attempts.at(-1) ?? 1 })
    }
  }

  #grantSlots(now: Monotonic): void {
    for (const grant of this.host.slots.grant(now)) {
      const at = this.#step(now)
      const participant = this.host.join(grant.job, grant.root)
      if (participant.live(at) === undefined) {
        this.host.awaitEngagement(grant, now)
        participant.engage(at)
      } else {
        this.#offerSlots(grant, participant.engagement)
      }
      this.#apply(at)
    }
  }

  #offerSlots(grant: SlotGrant, engagement: number): void {
    const { request, job, slots } = grant
    this.#send(grant.from, { kind: 'reserved', request, job, engagement, slots })
  }

  #giveBackStranded(now: Monotonic): void {
    const at = this.#step(now)
    for (const { job, obligation } of this.host.slots.stranded()) {
      this.host.participant(job)?.live(at)?.giveBack(obligation, at)
    }
    this.#apply(at)
  }

  #refuse(requests: readonly SlotRequest[]): void {
    for (const { from, request, job } of requests) this.#send(from, { kind: 'busy', request, job })
  }

  #beat(now: Monotonic): void {
    this.#heartbeatAt = now
    this.#heartbeatSequence += 1
    const sequence = this.#heartbeatSequence
    for (const { peer, linked } of this.view.members()) {
      if (!linked) continue
      this.view.heartbeat(peer, sequence, now)
      this.#send(peer, { kind: 'heartbeat', sequence })
    }
    this.#membership(out => this.view.tick(now, out))
  }

  #renewLeases(now: Monotonic): void {
    for (const [root, items] of this.host.renewals()) {
      this.#send(root, { kind: 'renew', boot: this.#init.boot, sentAt: now, items })
    }
  }

  #membership(change: (out: MembershipEffect[]) => void): void {
    const out: MembershipEffect[] = []
    change(out)
    if (out.length > 0) this.#owner.dirty()
    this.#effects.push(...out)
  }

  #introduce(peer: PeerId, before: readonly string[] | undefined): void {
    for (const { to, frame } of introductions(this.view, peer, before)) this.#send(to, frame)
  }

  #offer(): Pick<Advertisement, 'capabilities' | 'running' | 'queued'> {
    const queued = this.host.slots.queued() + this.#owner.waiting
    return { capabilities: this.host.slots.offered(), running: this.host.running, queued }
  }

  #ownOffer(): OwnOffer {
    return { name: this.#init.name, stopping: this.#stopping, capabilities: this.host.slots.offered() }
  }

  /** Addresses at which this daemon listens; part of its advertisement. */
  listening(addresses: readonly string[]): void {
    this.#advertiser.listening(addresses)
  }

  #eachRoot(now: Monotonic, act: (ledger: Ledger, at: LedgerStep) => void): void {
    for (const ledger of this.roots.ledgers()) {
      const at = this.#ledgerStep(now)
      act(ledger, at)
      this.#commit(ledger.job, at)
    }
  }

  #step(now: Monotonic): { now: Monotonic; out: TerminationEffect[] } {
    return { now, out: [] }
  }

  #ledgerStep(now: Monotonic): LedgerStep {
    return { now, out: [], records: [] }
  }

  #commit(job: JobId, at: LedgerStep): void {
    for (const record of at.records) this.#records.push({ job, record })
    this.#apply(at)
  }

  #apply(at: { now: Monotonic; out: TerminationEffect[] }): void {
    for (const effect of at.out) this.#applyOne(effect, at.now)
  }

  #applyOne(effect: TerminationEffect, now: Monotonic): void {
    switch (effect.kind) {
      case 'send':
        return this.#send(effect.to, effect.frame)
      case 'place': {
        const { job, obligation, task, on, avoid } = effect
        const root = this.host.participant(job)?.root ?? this.#init.self
        return this.#owner.add({ job, obligation, capability: task.capability, root, on, avoid, since: now })
      }
      case 'withdraw':
        return this.#owner.withdraw(effect.job, effect.obligation)
      case 'enqueue': {
        const { job, obligation, task, owner, request } = effect
        this.host.slots.enqueue(job, obligation, task.capability, owner, request)
        return this.#giveBackStranded(now)
      }
      case 'dequeue':
        return this.host.slots.dequeue(effect.job, effect.obligation)
      case 'engaged':
        for (const grant of this.host.engaged(effect.job)) this.#offerSlots(grant, effect.engagement)
        return
      case 'disengaged':
        return this.host.disengaged(effect.job)
      case 'announce':
        return this.#announce(effect.job)
      default:
        this.#effects.push(effect)
    }
  }

  #announce(job: JobId): void {
    const state = this.roots.finish(job)
    if (state !== undefined) this.#effects.push({ kind: 'announce', job, state })
  }

  #send(to: PeerId, frame: Frame): void {
    if (to === this.#init.self) this.#loopback.push(frame)
    else this.#effects.push({ kind: 'send', to, frame })
  }
}

/** How often `tick` is to be called; everything slower is a multiple of it. */
export const TICK_INTERVAL_MS = 250
