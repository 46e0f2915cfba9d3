import type { Advertisement, Frame, OfferedCapability, Relay, TaskRecord, TaskSpec } from '../frames.ts'
import type { Boot, JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'
import { MemberView } from '../membership/index.ts'
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
import { Admission, NO_DRAIN_DEADLINE_MS } from './admission.ts'
import type { Offer } from './advertiser.ts'
import type { NodeOutput } from './effects.ts'
import { type Considered, capabilitiesOf, consider, type OwnOffer } from './explain.ts'
import { dispatchJobFrame, type JobFrame } from './frame-dispatch.ts'
import { HostSide } from './host-side.ts'
import { Outbox } from './outbox.ts'
import { OwnerSide } from './owner-side.ts'
import { PeerSide } from './peer-side.ts'
import { RootSide } from './root-side.ts'
import { SlotService } from './slot-service.ts'

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
 * jobs that were submitted to it. It does no IO: call an input method, then take what is to be done with `takeOutput`.
 * The daemon and the simulator run this same code.
 *
 * Frames that a daemon sends to itself go through a queue, never through a nested call, and are handled before
 * `takeOutput` returns.
 */
export class MeshNode {
  readonly view: MemberView
  readonly host: HostSide
  readonly roots: RootSide
  readonly #init: MeshNodeInit
  readonly #owner: OwnerSide
  readonly #slots: SlotService
  readonly #peers: PeerSide
  #records: { job: JobId; record: LedgerRecord }[] = []
  readonly #outbox: Outbox
  readonly #admission = new Admission()
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
    this.#outbox = new Outbox({
      view: this.view,
      rootOf: job => (this.roots.ledger(job) === undefined ? this.host.participant(job)?.root : undefined)
    })
    this.#peers = new PeerSide({
      ...init,
      view: this.view,
      outbox: this.#outbox,
      offer: () => this.#offer(),
      changed: () => this.#owner.dirty()
    })
    this.#slots = new SlotService({
      host: this.host,
      admission: this.#admission,
      outbox: this.#outbox,
      apply: at => this.#apply(at)
    })
    this.#owner = new OwnerSide({
      view: this.view,
      host: this.host,
      roots: this.roots,
      random: init.random,
      consider: (capability, on, now) => this.consider(capability, on, now),
      wanted: () => this.#admission.wanted,
      send: (to, frame) => this.#send(to, frame),
      commit: (job, at) => this.#commit(job, at)
    })
  }

  /** Takes what the inputs since the last call have to be followed by. */
  takeOutput(now: Monotonic): NodeOutput {
    this.#run(now)
    const output = { records: this.#records, effects: this.#outbox.drain() }
    this.#records = []
    return output
  }

  // Inputs from the network

  linkUp(peer: PeerId, now: Monotonic): void {
    this.#peers.linkUp(peer, now)
    const at = this.#step(now)
    for (const participant of this.host.participants()) participant.resend(peer, this.#linked, at)
    this.#apply(at)
    this.#eachRoot(now, (ledger, step) => ledger.resend(peer, step))
    this.#owner.dirty()
  }

  linkDown(peer: PeerId, now: Monotonic): void {
    this.#peers.change(out => this.view.linkDown(peer, now, out))
    this.#owner.forget(peer)
    this.host.slots.forget(peer)
    this.#owner.dirty()
  }

  frame(from: PeerId, frame: Frame, now: Monotonic): void {
    if (from !== this.#init.self) this.#peers.change(out => this.view.heard(from, now, out))
    this.#frame(from, frame, now)
  }

  gossip(author: PeerId, advertisement: Advertisement, now: Monotonic): void {
    this.#peers.gossip(author, advertisement, now)
  }

  /** Call every TICK_INTERVAL_MS. `wall`: milliseconds since 1970, for records only. */
  tick(now: Monotonic, wall: number): void {
    this.#wallOffset = wall - now
    this.#peers.tick(now)
    const renew = now - this.#renewAt >= RENEW_INTERVAL_MS
    const resend = now - this.#resendAt >= RESEND_INTERVAL_MS
    if (renew) this.#renewAt = now
    if (resend) this.#resendAt = now
    const at = this.#step(now)
    for (const participant of this.host.participants()) {
      participant.tick(at)
      if (resend) participant.resend(undefined, this.#linked, at)
    }
    this.#apply(at)
    this.#eachRoot(now, (ledger, step) => {
      ledger.tick(step)
      if (resend) ledger.resend(undefined, step)
    })
    this.host.slots.expire(now)
    this.#slots.refuse(this.host.overdue(now))
    if (renew) this.#renewLeases(now)
    this.#owner.tick(now)
    this.host.prune()
    this.#peers.advertise(now)
    if (this.#admission.moveDue(now)) this.moveAll('the daemon is draining', now)
  }

  /** This machine has been asleep, which its monotonic clock does not show: no lease of it is worth anything. */
  slept(now: Monotonic): void {
    const at = this.#step(now)
    for (const participant of this.host.participants()) participant.slept(at)
    this.#apply(at)
  }

  // Inputs from this host

  /** Offers `slots` slots of a capability; 0 takes it away: what waits for it here goes back to its owners. */
  offer(capability: string, slots: number, now: Monotonic): void {
    // A daemon that is stopping or draining offers nothing, whatever its workers say.
    this.#slots.refuse(this.host.slots.offer(capability, this.#admission.offer(capability, slots)))
    this.#slots.giveBackStranded(now)
    this.#owner.dirty()
  }

  /** A job whose `submitted` record is durable. `history`: its later records, at a restart. `wall`: for its deadline. */
  adopt(submitted: SubmittedRecord, history: readonly LedgerRecord[], now: Monotonic, wall: number): void {
    const at = this.#ledgerStep(now)
    const ledger = this.roots.adopt(submitted, history)
    ledger.start(wall, at)
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
    child: Omit<TaskSpec, 'path'>,
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
    this.#admission.stop()
    this.#close(now)
  }

  /**
   * Like `stop`, until `endDrain`: the daemon goes on, and what is still here after `deadlineMs` is moved to other hosts.
   * `advertisement().drain` tells when nothing is left. Does nothing on a stopping daemon.
   */
  drain(deadlineMs: number, now: Monotonic): void {
    this.#admission.drain(now + deadlineMs)
    this.#close(now)
  }

  /** Takes work again. */
  endDrain(now: Monotonic): void {
    if (!this.#admission.endDrain()) return
    for (const [capability, slots] of [...this.#admission.wanted]) this.offer(capability, slots, now)
  }

  /** Asks `peer` to drain, or to end it. It must be linked; whether it agrees shows in its advertisement. */
  requestDrain(peer: PeerId, deadlineMs: number, end: boolean): void {
    this.#send(peer, { kind: 'drain', deadlineMs, end })
  }

  /** Running bodies are killed and all tasks go back to their owners, who have them done elsewhere. `host.idle` tells when. */
  moveAll(reason: string, now: Monotonic): void {
    const at = this.#step(now)
    this.host.moveAll(reason, at)
    this.#apply(at)
  }

  #close(now: Monotonic): void {
    for (const { name } of this.host.slots.offered()) {
      this.#slots.refuse(this.host.slots.offer(name, 0))
      this.#slots.giveBackStranded(now)
    }
    const at = this.#step(now)
    this.host.giveBackQueued(at)
    this.#apply(at)
    this.#owner.dirty()
  }

  /** Gives up every engagement; bodies that still run are killed. `left` tells when all is reaped. */
  leave(now: Monotonic): void {
    const at = this.#step(now)
    for (const participant of this.host.participants()) participant.leave(at)
    this.#apply(at)
  }

  get stopping(): boolean {
    return this.#admission.stopping
  }

  /** True when no body runs here. */
  get quiet(): boolean {
    return this.host.running === 0
  }

  /**
   * Last look before a body is really started: what is left of its lease, which may have ended since `start` was decided.
   * Undefined: it must not be started.
   */
  leaseToStart(job: JobId, obligation: ObligationId, now: Monotonic): number | undefined {
    const at = this.#step(now)
    const participant = this.host.participant(job)
    const executing = participant?.live(at)?.vertex(obligation)?.executing ?? false
    this.#apply(at)
    return executing ? participant?.leaseLeft(now) : undefined
  }

  /** Tells all linked members that this daemon stops now. */
  goodbye(): void {
    this.#peers.broadcast({ kind: 'goodbye' })
  }

  // Questions

  advertisement(): Advertisement {
    return this.#peers.advertisement()
  }

  /** Every known daemon, and whether it could take such a task now. */
  consider(capability: string, on: PeerId | undefined, now: Monotonic): Considered[] {
    return consider(capability, on, this.#ownOffer(), this.view, now)
  }

  /** Capabilities of all daemons that are not known to be gone, whether they take work now or not. */
  knownCapabilities(): Set<string> {
    return capabilitiesOf(this.#capabilities(), this.view)
  }

  /** Capabilities that this daemon offers, or would offer if it took work. */
  wantedCapabilities(): string[] {
    return [...this.#admission.wanted.keys()]
  }

  waitingFor(job: JobId): number {
    return this.#owner.waitingFor(job)
  }

  // Inside

  #frame(from: PeerId, frame: Frame, now: Monotonic): void {
    switch (frame.kind) {
      case 'hello':
        this.#peers.frame(from, frame, now)
        return this.#newBoot(from, frame.boot, now)
      case 'heartbeat':
      case 'heartbeatAck':
      case 'peers':
      case 'goodbye':
        return this.#peers.frame(from, frame, now)
      case 'drain':
        return frame.end ? this.endDrain(now) : this.drain(frame.deadlineMs || NO_DRAIN_DEADLINE_MS, now)
      case 'relay':
        return this.#relay(from, frame, now)
      case 'reserve':
        return this.#slots.reserve(from, frame)
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

  /** As a root: passes it on to a host without a link to the sender. As that host: takes it as the sender's (C1). */
  #relay(from: PeerId, relay: Relay, now: Monotonic): void {
    const { job, to, frame } = relay
    if (to !== this.#init.self) {
      if (this.roots.ledger(job) !== undefined && this.#linked(to)) this.#send(to, { ...relay, from })
      return
    }
    const root = frame.kind === 'handoff' ? frame.root : this.host.participant(job)?.root
    if (from === root) this.#jobFrame(relay.from, frame, now)
  }

  readonly #linked = (peer: PeerId): boolean => this.#outbox.linked(peer)

  #newBoot(peer: PeerId, boot: Boot, now: Monotonic): void {
    if (!this.roots.isNewBoot(peer, boot)) return
    this.#eachRoot(now, (ledger, step) => ledger.newBoot(peer, boot, step))
  }

  /** Handles what follows from the inputs until nothing more does. */
  #run(now: Monotonic): void {
    for (;;) {
      const frame = this.#outbox.loopback()
      if (frame !== undefined) {
        this.#frame(this.#init.self, frame, now)
        continue
      }
      const before = this.#outbox.size
      this.#slots.startBodies(now, now + this.#wallOffset)
      this.#slots.grant(now)
      this.#owner.evaluate(!this.#admission.open)
      if (this.#outbox.size === before) return
    }
  }

  #renewLeases(now: Monotonic): void {
    for (const [root, items] of this.host.renewals()) {
      this.#send(root, { kind: 'renew', boot: this.#init.boot, sentAt: now, items })
    }
  }

  #offer(): Offer {
    const queued = this.host.slots.queued() + this.#owner.waiting
    const drain = this.#admission.drainState(this.host.idle)
    return { capabilities: this.#capabilities(), running: this.host.running, queued, drain }
  }

  /** A daemon that takes no work still says what it would do, so that nobody believes it to be gone from the pool. */
  #capabilities(): OfferedCapability[] {
    if (this.#admission.open) return this.host.slots.offered()
    return [...this.#admission.wanted].map(([name, slots]) => ({ name, slots, free: 0 }))
  }

  #ownOffer(): OwnOffer {
    return { name: this.#init.name, open: this.#admission.open, capabilities: this.#capabilities() }
  }

  /** Addresses at which this daemon listens; part of its advertisement. */
  listening(addresses: readonly string[]): void {
    this.#peers.listening(addresses)
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
        const { job, obligation, task, on, avoid, notBefore } = effect
        const root = this.host.participant(job)?.root ?? this.#init.self
        const since = Math.max(now, notBefore)
        return this.#owner.add({ job, obligation, capability: task.capability, root, on, avoid, since }, now)
      }
      case 'withdraw':
        return this.#owner.withdraw(effect.job, effect.obligation)
      case 'enqueue': {
        const { job, obligation, task, owner, request } = effect
        this.host.slots.enqueue(job, obligation, task.capability, owner, request)
        return this.#slots.giveBackStranded(now)
      }
      case 'dequeue':
        return this.host.slots.dequeue(effect.job, effect.obligation)
      case 'engaged':
        for (const grant of this.host.engaged(effect.job)) this.#slots.offer(grant, effect.engagement)
        return
      case 'disengaged':
        return this.#slots.refuse(this.host.disengaged(effect.job))
      case 'announce':
        return this.#announce(effect.job)
      default:
        this.#outbox.push(effect)
    }
  }

  #announce(job: JobId): void {
    const state = this.roots.finish(job)
    if (state !== undefined) this.#outbox.push({ kind: 'announce', job, state })
  }

  #send(to: PeerId, frame: Frame): void {
    this.#outbox.send(to, frame)
  }
}

/** How often `tick` is to be called; everything slower is a multiple of it. */
export const TICK_INTERVAL_MS = 250
