import type {
  Cancel,
  Handoff,
  Outcome,
  PendingFence,
  RenewItem,
  Settle,
  SettlePart,
  TaskError,
  TaskRecord,
  TaskSpec
} from '../frames.ts'
import { childPath, type Engagement, type JobId, type ObligationId, type PeerId, parentPath } from '../ids.ts'
import type { Step } from './effects.ts'
import type { Fences } from './fences.ts'
import {
  type Binding,
  CANCELLED_ERROR,
  DEADLINE_ERROR,
  firstAttempt,
  JOB_LOSSES_ERROR,
  LOST_ERROR,
  mayReissue,
  type Obligation,
  RETURNED_ERROR,
  type Reissue,
  reissued,
  unplaceableOutcome,
  VANISHED_ERROR
} from './obligation.ts'
import { OwnedTasks } from './owned-tasks.ts'
import { settleFrames } from './settle-frames.ts'
import { refuseSpawn, type SpawnRefusal, TASK_GONE } from './spawn-refusal.ts'
import { Superseded } from './superseded.ts'
import { RESEND_INTERVAL_MS } from './timing.ts'
import { type BodyEnd, endOf, lostRecord, NOTHING, ownRecord, type PendingSettle, type Vertex } from './vertex.ts'

export interface EngagedTreeInit {
  readonly job: JobId
  readonly root: PeerId
  readonly self: PeerId
  readonly engagement: Engagement
  readonly fences: Fences
  readonly encodeRecord: (record: TaskRecord) => Uint8Array
}

interface CancelAs {
  readonly outcome: 'cancelled' | 'returned' | 'failed'
  readonly error: TaskError | undefined
}

const CANCELLED: CancelAs = { outcome: 'cancelled', error: undefined }
const GIVEN_BACK: CancelAs = { outcome: 'returned', error: undefined }
const VANISHED: CancelAs = { outcome: 'returned', error: VANISHED_ERROR }

/**
 * What one engagement of this daemon holds: its vertices (task attempts), what they own and what they owe.
 * Dijkstra-Scholten over named obligations (EWD687a; termination.md 1.6). It lives exactly as long as the engagement;
 * `Participant` guards every entry with the lease.
 *
 * Invariants (`checkInvariants`):
 * 1. A vertex whose owner is fenced is being cancelled.
 * 2. A vertex settles when its body is gone and it owes nothing, and not before (I2).
 * 3. An obligation is bound to one host at most, and once (I8).
 *
 * No entry throws; what cannot be is dropped and logged.
 */
export class EngagedTree {
  readonly engagement: Engagement
  readonly #init: EngagedTreeInit
  readonly #vertices = new Map<ObligationId, Vertex>()
  readonly #owned: OwnedTasks
  readonly #superseded = new Superseded()
  readonly #seen = new Set<ObligationId>()
  readonly #settles = new Map<ObligationId, PendingSettle>()
  readonly #fences: Fences
  #ended = 0
  #failed = 0
  #spawned = 0

  constructor(init: EngagedTreeInit) {
    this.#init = init
    this.engagement = init.engagement
    this.#fences = init.fences
    this.#owned = new OwnedTasks(init)
  }

  /** True when nothing of the job is held here. */
  get idle(): boolean {
    return this.#vertices.size === 0 && this.#settles.size === 0
  }

  vertex(id: ObligationId): Vertex | undefined {
    return this.#vertices.get(id)
  }

  vertices(): Vertex[] {
    return [...this.#vertices.values()]
  }

  /** The obligation, while it is owed here. */
  obligation(id: ObligationId): Obligation | undefined {
    return this.#owned.find(id)?.obligation
  }

  renewItem(): RenewItem {
    const { job, engagement } = this.#init
    const running = this.vertices().filter(({ executing }) => executing).length
    const queued = this.vertices().filter(({ state }) => state === 'queued').length
    return { job, engagement, running, queued, ended: this.#ended, failed: this.#failed, spawned: this.#spawned }
  }

  // Attempts handed to this daemon

  handoff(from: PeerId, frame: Handoff, at: Step): void {
    if (this.#fences.covers(from, frame.ownerEngagement)) return
    if (this.#seen.has(frame.obligation)) {
      const settle = this.#settles.get(frame.obligation)
      if (settle !== undefined) this.#sendSettle(settle, at)
      return
    }
    this.#seen.add(frame.obligation)
    const vertex: Vertex = {
      id: frame.obligation,
      task: frame.task,
      attempts: frame.attempts,
      owner: from,
      ownerEngagement: frame.ownerEngagement,
      state: 'queued',
      executing: false,
      obligations: new Map(),
      children: 0,
      end: undefined,
      cancelAs: undefined,
      records: [],
      lastEndedAt: at.now,
      startedAtWall: 0,
      endedAtWall: 0
    }
    this.#vertices.set(vertex.id, vertex)
    const { job } = this.#init
    at.out.push({ kind: 'enqueue', job, obligation: vertex.id, owner: from, request: frame.request, task: frame.task })
  }

  /** The host has a slot for a queued vertex. True when its body is to be started now. */
  started(id: ObligationId, wall: number): boolean {
    const vertex = this.#vertices.get(id)
    if (vertex?.state !== 'queued') return false
    vertex.state = 'running'
    vertex.executing = true
    vertex.startedAtWall = wall
    return true
  }

  /** A body is gone, with all its processes. */
  bodyEnded(id: ObligationId, end: BodyEnd, wall: number, at: Step): void {
    const vertex = this.#vertices.get(id)
    if (vertex === undefined || !vertex.executing) return
    vertex.executing = false
    vertex.endedAtWall = wall
    vertex.lastEndedAt = Math.max(vertex.lastEndedAt, at.now)
    this.#ended += 1
    if (end.kind === 'failed') this.#failed += 1
    if (vertex.state === 'running') {
      if (end.kind === 'returned' || end.kind === 'killed') {
        return this.#cancelVertex(vertex, vertex.cancelAs ?? VANISHED, end.kind, at)
      }
      vertex.state = 'waiting'
      vertex.end = end
      if (vertex.cancelAs !== undefined && vertex.obligations.size > 0) return this.giveBack(id, at)
      if (end.kind === 'failed' && end.error.code === 'TASK_TIMEOUT' && vertex.obligations.size > 0) {
        return this.#cancelVertex(vertex, { outcome: 'failed', error: end.error }, 'timeout', at)
      }
    }
    this.#settleIfQuiet(vertex, at)
  }

  /**
   * Gives a vertex without a running body back to its owner: one that has not begun, or one that waits for its children,
   * which are cancelled first. Its owner has it done elsewhere.
   */
  giveBack(id: ObligationId, at: Step): void {
    const vertex = this.#vertices.get(id)
    if (vertex !== undefined && !vertex.executing) this.#cancelVertex(vertex, GIVEN_BACK, 'given back', at)
  }

  /** Nothing is to be left here: running bodies are killed, and everything goes back to its owner. */
  moveAll(reason: string, at: Step): void {
    for (const vertex of this.vertices()) {
      if (!vertex.executing) this.giveBack(vertex.id, at)
      else if (vertex.state === 'running') {
        vertex.cancelAs = GIVEN_BACK
        at.out.push({ kind: 'kill', job: this.#init.job, obligation: vertex.id, reason, hard: false })
      }
    }
  }

  cancel(from: PeerId, frame: Cancel, at: Step): void {
    const vertex = this.#vertices.get(frame.obligation)
    if (vertex !== undefined) {
      if (vertex.owner === from) this.#cancelVertex(vertex, CANCELLED, 'cancelled', at)
      return
    }
    const settle = this.#settles.get(frame.obligation)
    if (settle !== undefined) return this.#sendSettle(settle, at)
    if (this.#seen.has(frame.obligation)) return
    // The hand-off is still on its way: this tombstone stops it, and the settle tells the owner.
    this.#seen.add(frame.obligation)
    const { obligation: id, ownerEngagement } = frame
    const nothing = { result: NOTHING, error: undefined, records: [], lastEndedAt: at.now }
    this.#keepSettle({ id, owner: from, ownerEngagement, outcome: 'cancelled', ...nothing }, at)
  }

  settled(from: PeerId, id: ObligationId): void {
    if (this.#settles.get(id)?.owner === from) this.#settles.delete(id)
  }

  // Obligations of the vertices here

  /** Adds a child of a running body. It is owed from now on, before anything of it is sent. */
  spawn(
    parent: ObligationId,
    child: Omit<TaskSpec, 'path'>,
    at: Step
  ): { task: TaskSpec; obligation: ObligationId } | SpawnRefusal {
    const vertex = this.#vertices.get(parent)
    const owed = { count: this.#owned.count, inputBytes: this.#owned.inputBytes + child.input.length }
    const refusal = refuseSpawn(this.#init.job, vertex, owed)
    if (vertex === undefined || refusal !== undefined) return refusal ?? TASK_GONE
    const task: TaskSpec = { path: childPath(vertex.task.path, vertex.children), ...child }
    vertex.children += 1
    this.#spawned += 1
    const obligation = firstAttempt(this.#owned.nextId(), task, vertex.attempts, at.now)
    this.#owned.add(vertex, obligation, undefined, at)
    return { task, obligation: obligation.id }
  }

  /** Binds a placing obligation to a host and hands it off. False: it is gone, or that engagement is fenced. */
  bind(id: ObligationId, binding: Binding, at: Step): boolean {
    const obligation = this.obligation(id)
    if (obligation === undefined || obligation.binding !== undefined) return false
    if (this.#fences.covers(binding.to, binding.toEngagement)) return false
    this.#owned.bind(obligation, binding, at)
    return true
  }

  /** No host can be found for it: its owner settles it as failed. */
  unplaceable(id: ObligationId, error: TaskError, at: Step): void {
    const { vertex, obligation } = this.#owned.find(id) ?? {}
    if (vertex === undefined || obligation === undefined || obligation.binding !== undefined) return
    this.#owned.withdraw(obligation, at)
    this.#writeOff(vertex, obligation, unplaceableOutcome(obligation), error, at)
    this.#settleIfQuiet(vertex, at)
  }

  /** The root lets an exclusive task begin (C5). */
  permitted(id: ObligationId, at: Step): void {
    this.#owned.permitted(id, at)
  }

  settlePart(from: PeerId, frame: SettlePart): void {
    this.#owned.settlePart(from, frame)
  }

  /** `oneWayMs`: half a round trip to the sender, 0 when unknown. */
  settle(from: PeerId, frame: Settle, oneWayMs: number, at: Step): void {
    const { job } = this.#init
    const { vertex, obligation } = this.#owned.find(frame.obligation) ?? {}
    const settled = { kind: 'settled', job, obligation: frame.obligation } as const
    if (vertex === undefined || obligation === undefined) {
      at.out.push({ kind: 'send', to: from, frame: settled })
      return this.#late(from, frame, at)
    }
    if (obligation.binding?.to !== from) {
      const fields = { job, peer: from, obligation: obligation.id }
      at.out.push({ kind: 'log', level: 'warn', message: 'settle from a peer that the task was not handed to', fields })
      return
    }
    const records = this.#owned.recordsOf(frame)
    if (records === undefined) return
    this.#owned.remove({ vertex, obligation })
    vertex.lastEndedAt = Math.max(vertex.lastEndedAt, at.now - frame.endedAgoMs - oneWayMs)
    at.out.push({ kind: 'send', to: from, frame: settled })
    this.#settledChild(vertex, obligation, from, { ...frame, records }, at)
    this.#settleIfQuiet(vertex, at)
  }

  #settledChild(vertex: Vertex, obligation: Obligation, from: PeerId, settle: Settle, at: Step): void {
    const { outcome, result, error, records } = settle
    const cancelling = vertex.state === 'cancelling'
    if (obligation.expired && outcome === 'cancelled' && !cancelling) {
      vertex.records.push(...records.slice(1))
      this.#writeOff(vertex, obligation, 'failed', DEADLINE_ERROR, at)
    } else if (outcome === 'returned' || (outcome === 'cancelled' && !cancelling)) {
      this.#tryAgain(vertex, obligation, outcome === 'returned' && error === undefined ? 'left' : 'returned', from, at)
    } else if (outcome === 'failed' && !cancelling && mayReissue(obligation, 'failed')) {
      this.#tryAgain(vertex, obligation, 'failed', from, at)
    } else if (outcome === 'cancelled' && records.length === 0) {
      // A tombstone: the host has never had the task, so it cannot write its record.
      this.#writeOff(vertex, obligation, 'cancelled', CANCELLED_ERROR, at)
    } else {
      vertex.records.push(...records)
      this.#tellBody(vertex, obligation, { outcome, result, error }, at)
    }
  }

  /** An attempt that was issued again has ended after all: kept beside the task's siblings, and never counted. */
  #late(from: PeerId, frame: Settle, at: Step): void {
    const end = this.#superseded.lateEnd(from, frame)
    if (end === undefined) return
    const parent = parentPath(end.path)
    const keeper = this.vertices().find(({ task, state }) => task.path === parent && state !== 'cancelling')
    keeper?.records.push(this.#init.encodeRecord(end))
    at.out.push({ kind: 'late', job: this.#init.job, path: end.path, peer: from })
  }

  /** (peer, engagements up to the fence) is lost: cancel what it owned, issue again what was sent to it, answer. */
  fence(fence: PendingFence, at: Step): void {
    this.#fences.add(fence)
    for (const vertex of this.vertices()) {
      if (!this.#fences.covers(vertex.owner, vertex.ownerEngagement)) continue
      this.#cancelVertex(vertex, CANCELLED, 'its owner was lost', at)
    }
    for (const vertex of this.vertices()) {
      for (const obligation of [...vertex.obligations.values()]) {
        const { binding } = obligation
        if (binding === undefined || !this.#fences.covers(binding.to, binding.toEngagement)) continue
        this.#owned.remove({ vertex, obligation })
        if (fence.cause === 'final') this.#writeOff(vertex, obligation, 'lost', JOB_LOSSES_ERROR, at)
        else this.#tryAgain(vertex, obligation, fence.cause, undefined, at)
      }
      this.#settleIfQuiet(vertex, at)
    }
    for (const [id, settle] of this.#settles) {
      if (this.#fences.covers(settle.owner, settle.ownerEngagement)) this.#settles.delete(id)
    }
    this.#answerFences(at)
  }

  // Time, repair and end

  /** Call at least once per RENEW_INTERVAL_MS. */
  tick(at: Step): void {
    this.#owned.askPermits(at)
    for (const { vertex, obligation } of this.#owned.overdue(at.now)) this.#expire(vertex, obligation, at)
  }

  /**
   * Sends again what `peer` (undefined: anybody) may have missed. Hand-offs only when a link is new, or to those without
   * a link: what is on its way there may have been lost with it, and goes by the root now.
   */
  resend(peer: PeerId | undefined, linked: (peer: PeerId) => boolean, at: Step): void {
    for (const vertex of this.#vertices.values()) {
      for (const obligation of vertex.obligations.values()) {
        const to = obligation.binding?.to
        if (to === undefined || (peer !== undefined && to !== peer)) continue
        if (vertex.state === 'cancelling' || obligation.expired) this.#owned.sendCancel(obligation, at)
        else if (peer !== undefined || !linked(to)) this.#owned.sendHandoff(obligation, at)
      }
    }
    for (const settle of this.#settles.values()) {
      const due = peer === undefined ? at.now - settle.sentAt >= RESEND_INTERVAL_MS : settle.owner === peer
      if (due) this.#sendSettle(settle, at)
    }
  }

  /** Drops everything; bodies are killed, at once when `hard`. Returns the vertices whose bodies are yet to be reaped. */
  abandon(reason: string, hard: boolean, at: Step): ObligationId[] {
    const { job } = this.#init
    const dying: ObligationId[] = []
    for (const vertex of this.#vertices.values()) {
      for (const { id, binding } of vertex.obligations.values()) {
        if (binding === undefined) at.out.push({ kind: 'withdraw', job, obligation: id })
      }
      if (vertex.state === 'queued') at.out.push({ kind: 'dequeue', job, obligation: vertex.id })
      if (!vertex.executing) continue
      dying.push(vertex.id)
      at.out.push({ kind: 'kill', job, obligation: vertex.id, reason, hard })
    }
    this.#vertices.clear()
    this.#owned.clear()
    this.#settles.clear()
    return dying
  }

  /** Broken invariants in words; empty when all hold. For tests and the simulator, after every event. */
  checkInvariants(): string[] {
    const broken: string[] = []
    for (const vertex of this.#vertices.values()) {
      const { id, owner, ownerEngagement, state, executing, obligations } = vertex
      if (state !== 'cancelling' && this.#fences.covers(owner, ownerEngagement)) broken.push(`${id}: owner is fenced`)
      if (state !== 'queued' && !executing && obligations.size === 0) broken.push(`${id}: quiet but not settled`)
      for (const owed of obligations.keys())
        if (this.#owned.find(owed)?.vertex !== vertex) broken.push(`${owed}: no owner`)
    }
    return broken
  }

  // Inside

  /** The next attempt of a task, unless that makes no sense any more. `avoid`: the host of the last one. */
  #tryAgain(vertex: Vertex, obligation: Obligation, why: Reissue, avoid: PeerId | undefined, at: Step): void {
    // C4: nothing is issued again under an owner that is being cancelled; the barrier of a fence covers its orphans.
    if (vertex.state === 'cancelling') this.#writeOff(vertex, obligation, 'cancelled', CANCELLED_ERROR, at)
    else if (obligation.expired) this.#writeOff(vertex, obligation, 'failed', DEADLINE_ERROR, at)
    else if (mayReissue(obligation, why)) {
      if (why === 'lost' || why === 'left') this.#superseded.add(obligation)
      this.#owned.add(vertex, reissued(obligation, this.#owned.nextId(), why), avoid, at)
    } else if (why === 'lost') this.#writeOff(vertex, obligation, 'lost', LOST_ERROR, at)
    else this.#writeOff(vertex, obligation, 'failed', RETURNED_ERROR, at)
  }

  /** A child's deadline has passed: it is cancelled, and settles as failed. */
  #expire(vertex: Vertex, obligation: Obligation, at: Step): void {
    if (vertex.state === 'cancelling') return
    obligation.expired = true
    if (obligation.binding !== undefined) return this.#owned.sendCancel(obligation, at)
    this.#owned.withdraw(obligation, at)
    this.#writeOff(vertex, obligation, 'failed', DEADLINE_ERROR, at)
    this.#settleIfQuiet(vertex, at)
  }

  /** The owner itself settles an obligation, because no host will. */
  #writeOff(
    vertex: Vertex,
    obligation: Obligation,
    outcome: 'failed' | 'lost' | 'cancelled',
    error: TaskError,
    at: Step
  ): void {
    this.#owned.remove({ vertex, obligation })
    vertex.lastEndedAt = Math.max(vertex.lastEndedAt, at.now)
    vertex.records.push(this.#init.encodeRecord(lostRecord(obligation, this.#init.self, outcome, error)))
    this.#tellBody(vertex, obligation, { outcome, result: NOTHING, error }, at)
  }

  #tellBody(
    vertex: Vertex,
    obligation: Obligation,
    child: { outcome: Outcome; result: Uint8Array; error: TaskError | undefined },
    at: Step
  ): void {
    if (!vertex.executing || child.outcome === 'returned' || child.outcome === 'late') return
    const { outcome, result, error } = child
    const { job } = this.#init
    at.out.push({ kind: 'child-settled', job, parent: vertex.id, path: obligation.task.path, outcome, result, error })
  }

  #cancelVertex(vertex: Vertex, as: CancelAs, reason: string, at: Step): void {
    if (vertex.state === 'cancelling') return
    const { job } = this.#init
    if (vertex.state === 'queued') at.out.push({ kind: 'dequeue', job, obligation: vertex.id })
    if (vertex.executing) at.out.push({ kind: 'kill', job, obligation: vertex.id, reason, hard: false })
    vertex.state = 'cancelling'
    vertex.cancelAs = as
    for (const obligation of [...vertex.obligations.values()]) {
      if (obligation.binding !== undefined) {
        this.#owned.sendCancel(obligation, at)
      } else {
        this.#owned.withdraw(obligation, at)
        this.#writeOff(vertex, obligation, 'cancelled', CANCELLED_ERROR, at)
      }
    }
    this.#settleIfQuiet(vertex, at)
  }

  /** I2: the signal to the owner leaves when the body is gone and nothing is owed, and not before. */
  #settleIfQuiet(vertex: Vertex, at: Step): void {
    if (vertex.executing || vertex.obligations.size > 0) return
    if (vertex.state !== 'waiting' && vertex.state !== 'cancelling') return
    if (!this.#vertices.delete(vertex.id)) return
    const { id, owner, ownerEngagement, lastEndedAt } = vertex
    if (this.#fences.covers(owner, ownerEngagement)) return this.#answerFences(at)
    const { outcome, error, result } = endOf(vertex)
    const own = ownRecord(vertex, this.#init.self, outcome, error)
    const records = outcome === 'returned' ? [] : [this.#init.encodeRecord(own), ...vertex.records]
    this.#keepSettle({ id, owner, ownerEngagement, outcome, result, error, records, lastEndedAt }, at)
  }

  #keepSettle(settle: Omit<PendingSettle, 'sentAt'>, at: Step): void {
    const kept = { ...settle, sentAt: at.now }
    this.#settles.set(kept.id, kept)
    this.#sendSettle(kept, at)
  }

  #sendSettle(settle: PendingSettle, at: Step): void {
    settle.sentAt = at.now
    for (const frame of settleFrames(this.#init.job, settle, at.now))
      at.out.push({ kind: 'send', to: settle.owner, frame })
  }

  /** C8: FENCED is derived from the vertices that are there, never from a flag. */
  #answerFences(at: Step): void {
    const { job, root } = this.#init
    for (const fence of this.#fences.answerable(this.#vertices.values())) {
      at.out.push({ kind: 'send', to: root, frame: { kind: 'fenced', job, fence, engagement: this.engagement } })
    }
  }
}
