import type { Frame, LedgerRecord } from '../core/index.ts'
import { LEASE_MS } from '../core/index.ts'
import type { JournalWrite } from '../ports/index.ts'
import type { Job, JobSummary, TaskItem } from '../wire/api/index.ts'
import { JournalAudit } from './audit.ts'
import type { Body } from './bodies.ts'
import type { Client } from './client.ts'
import type { SimHost } from './host.ts'
import { judgeResult } from './result-check.ts'
import type { VirtualTime } from './virtual-time.ts'

/**
 * A machine that wakes up works on until its daemon has looked at its clocks and killed what has no lease any more: one
 * tick, and the longest reaping.
 */
export const WAKE_GRACE_MS = 1_400

/** What went wrong, of which sort. */
export type ViolationKind =
  /** Announced while something of the job executed, or was held by a daemon whose lease lasted. */
  | 'early-announcement'
  /** A body began after the announcement of its job. */
  | 'late-start'
  /** Never announced, though nothing fails any more. */
  | 'hang'
  /** A task of the sequential tree is missing without a word, or the verdict hides it. */
  | 'lost-task'
  | 'double-commit'
  | 'wrong-result'
  | 'announced-twice'
  | 'lost-submission'
  /** Two executions of an exclusive task at one time. */
  | 'overlap'
  /** Something of an engagement executes that the root has taken for lost, or under a fence that was answered. */
  | 'fence'
  /** An invariant of the machines themselves. */
  | 'invariant'
  /** Bodies or slots that nobody gives back. */
  | 'leak'
  /** The same seed went two ways. */
  | 'not-deterministic'
  | 'defect'

export interface Violation {
  readonly kind: ViolationKind
  readonly at: number
  readonly text: string
}

interface JobState {
  announced: JobSummary | undefined
  items: readonly TaskItem[]
  /** Boots that have announced it: `host life`. */
  readonly announcedBy: Set<string>
  readonly bodies: Set<Body>
  /** Highest fencing token of all attempts that began, by path. */
  readonly tokens: Map<string, string>
  readonly fencedPeers: Map<number, string>
  fences: number
}

interface OracleInit {
  readonly time: VirtualTime
  readonly hosts: readonly SimHost[]
  readonly clientOf: (job: number) => Client | undefined
}

/** Sees the whole world, and says what must not be. */
export class Oracle {
  readonly violations: Violation[] = []
  readonly #init: OracleInit
  readonly #audit = new JournalAudit()
  readonly #jobs = new Map<string, JobState>()
  /** Where each obligation was bound to: `job obligation` to `peer engagement`. */
  readonly #bindings = new Map<string, string>()
  /** End of each lease by the clock of its host: `host life job`. */
  readonly #leases = new Map<string, number>()
  readonly #durable = new Map<number, string>()
  readonly #ids = new Map<number, string>()

  constructor(init: OracleInit) {
    this.#init = init
  }

  violate(kind: ViolationKind, text: string): void {
    // One mistake repeats itself at every event.
    if (this.violations.length < 20) this.violations.push({ kind, at: this.#init.time.now, text })
  }

  executing(job: string): Body[] {
    return [...this.#job(job).bodies]
  }

  /** Jobs that were announced. */
  announced(job: string): JobSummary | undefined {
    return this.#jobs.get(job)?.announced
  }

  began(body: Body): void {
    const state = this.#job(body.job)
    for (const other of body.exclusive ? state.bodies : []) {
      const host = this.#init.hosts[other.host]
      if (other.path !== body.path || host === undefined || host.asleep || host.wokeWithin(WAKE_GRACE_MS)) continue
      this.violate('overlap', `exclusive ${nameOf(body)} begins while ${nameOf(other)} executes`)
    }
    const token = state.tokens.get(body.path)
    if (token === undefined || isHigher(body.task.fencingToken, token))
      state.tokens.set(body.path, body.task.fencingToken)
    if (state.announced !== undefined) this.violate('late-start', `${nameOf(body)} began after the announcement`)
    if (this.#isFenced(state, body)) this.violate('fence', `I5: ${nameOf(body)} begins, but its engagement is fenced`)
    state.bodies.add(body)
    if (body.engagement === 0) this.violate('invariant', `${nameOf(body)} began without an engagement`)
  }

  gone(body: Body): void {
    this.#job(body.job).bodies.delete(body)
  }

  /** A machine has been awake for WAKE_GRACE_MS: nothing goes on there that was lost or is over. */
  stillExecuting(host: SimHost): void {
    for (const state of this.#jobs.values()) {
      for (const body of state.bodies) {
        if (body.host !== host.index) continue
        if (state.announced !== undefined)
          this.violate('early-announcement', `${nameOf(body)} goes on after the announcement`)
        if (this.#isFenced(state, body)) this.violate('fence', `${nameOf(body)} goes on, but its engagement is fenced`)
      }
    }
  }

  sent(from: SimHost, peer: string, frame: Frame): void {
    if (frame.kind !== 'handoff') return
    const key = `${frame.job} ${frame.obligation}`
    const bound = this.#bindings.get(key)
    const to = `${peer} ${frame.toEngagement}`
    if (bound === undefined) this.#bindings.set(key, to)
    else if (bound !== to) this.violate('invariant', `I8: host ${from.index} bound ${key} to ${bound} and to ${to}`)
  }

  delivered(to: SimHost, frame: Frame): void {
    if (frame.kind === 'grant') this.#lease(to, frame.job, frame.boot.nonce, frame.sentAt)
    else if (frame.kind === 'renewed') {
      for (const { job } of frame.items) this.#lease(to, job, frame.boot.nonce, frame.sentAt)
    }
  }

  /** What a root decides, at the moment when it hands it to its disk. */
  asked(host: SimHost, writes: readonly JournalWrite[]): void {
    for (const write of writes) {
      if (write.kind === 'record') this.#decided(write.job, write.record)
      else if (write.kind === 'finish') this.#finished(host, write.summary, write.items)
    }
  }

  /** What a root has decided for good. */
  written(writes: readonly JournalWrite[]): void {
    for (const write of writes) {
      if (write.kind !== 'record') continue
      if (write.record.kind === 'submitted') this.#submitted(write.job, write.record.input)
      for (const problem of this.#audit.record(write.job, write.record))
        this.violate('invariant', `${write.job}: ${problem}`)
    }
  }

  acknowledged(client: Client, id: string): void {
    const known = this.#ids.get(client.index)
    this.#ids.set(client.index, id)
    if (known !== undefined && known !== id) {
      this.violate('lost-submission', `job ${client.index} was acknowledged as ${known}, now as ${id}`)
    }
  }

  told(client: Client, job: Job): void {
    const announced = this.#jobs.get(job.id)?.announced
    if (announced === undefined)
      this.violate('early-announcement', `job ${client.index} is ${job.verdict} without an end`)
    else if (announced.verdict !== job.verdict) {
      this.violate('announced-twice', `job ${client.index} is ${announced.verdict}, a waiter was told ${job.verdict}`)
    }
  }

  /** Invariants of the machines of one daemon. */
  check(host: SimHost): void {
    for (const participant of host.daemon?.engine.node.host.participants() ?? []) {
      const tree = participant.peek()
      if (tree === undefined) continue
      for (const broken of tree.checkInvariants()) this.violate('invariant', `host ${host.index}: ${broken}`)
    }
  }

  /** After everything is over: every slot is free again, nothing executes. */
  atRest(host: SimHost): void {
    for (const { name, slots, free } of host.daemon?.engine.node.host.slots.offered() ?? []) {
      if (free !== slots)
        this.violate('leak', `host ${host.index}: ${free} of ${slots} slots of "${name}" are free at the end`)
    }
  }

  leftBodies(): void {
    for (const [, { bodies }] of this.#jobs) {
      for (const body of bodies) this.violate('leak', `${nameOf(body)} executes for ever`)
    }
  }

  /** The root has taken the engagement under which it runs for lost. */
  #isFenced({ fencedPeers }: JobState, body: Body): boolean {
    const peer = this.#init.hosts[body.host]?.peer
    for (const [fence, lost] of fencedPeers) if (lost === peer && body.engagement <= fence) return true
    return false
  }

  /** Every client submits one job under one key, however often. */
  #submitted(id: string, input: Uint8Array): void {
    const { job } = JSON.parse(new TextDecoder().decode(input))
    const known = this.#durable.get(job)
    if (known !== undefined && known !== id)
      this.violate('lost-submission', `job ${job} is durable as ${known} and as ${id}`)
    this.#durable.set(job, id)
  }

  #decided(job: string, record: LedgerRecord): void {
    const state = this.#job(job)
    if (record.kind === 'fence-opened') {
      state.fences += 1
      state.fencedPeers.set(record.fence, record.peer)
      for (const body of state.bodies) {
        const host = this.#init.hosts[body.host]
        // A sleeping machine executes nothing.
        if (host === undefined || host.asleep || host.wokeWithin(WAKE_GRACE_MS)) continue
        if (host.peer !== record.peer || body.engagement > record.fence) continue
        this.violate(
          'fence',
          `I6: fence ${record.fence} of host ${body.host} opens while ${nameOf(body)} executes there`
        )
      }
    } else if (record.kind === 'fence-answered') {
      const lost = state.fencedPeers.get(record.fence)
      for (const body of state.bodies) {
        const host = this.#init.hosts[body.host]
        if (host?.peer !== record.peer || host.asleep || host.wokeWithin(WAKE_GRACE_MS)) continue
        const { owner } = body
        if (owner.peer !== lost || owner.engagement === 0 || owner.engagement > record.fence) continue
        this.violate('fence', `I7: host ${body.host} has answered fence ${record.fence} while ${nameOf(body)} executes`)
      }
    }
  }

  #finished(host: SimHost, summary: JobSummary, items: readonly TaskItem[]): void {
    const state = this.#job(summary.id)
    const boot = `${host.index} ${host.life}`
    if (state.announcedBy.has(boot)) this.violate('announced-twice', `${summary.id} by ${boot}`)
    state.announcedBy.add(boot)
    if (state.announced !== undefined) {
      const same = state.announced.verdict === summary.verdict && state.items.length === items.length
      if (!same) this.violate('announced-twice', `${summary.id}: ${state.announced.verdict}, then ${summary.verdict}`)
      return
    }
    state.announced = summary
    state.items = items
    this.#quiet(summary.id, state)
    const client = this.#clientOf(summary.id)
    if (client === undefined) return
    const problems = judgeResult(client, summary, items, { fenced: state.fences > 0, tokens: state.tokens })
    for (const { kind, text } of problems) this.violate(kind, text)
  }

  #quiet(job: string, { bodies }: JobState): void {
    for (const body of bodies) {
      const host = this.#init.hosts[body.host]
      if (host?.asleep || host?.wokeWithin(WAKE_GRACE_MS)) continue
      this.violate('early-announcement', `announced while ${nameOf(body)} executes`)
    }
    for (const host of this.#init.hosts) {
      if (!host.answers || host.wokeWithin(WAKE_GRACE_MS)) continue
      const until = this.#leases.get(`${host.index} ${host.life} ${job}`)
      if (until === undefined || host.clock() >= until) continue
      const held = host.daemon?.engine.node.host.participant(job)?.peek()?.vertices() ?? []
      for (const { task, state } of held) {
        this.violate('early-announcement', `announced while host ${host.index} holds ${task.path}, ${state}`)
      }
    }
  }

  #lease(host: SimHost, job: string, nonce: string, sentAt: number): void {
    if (host.daemon?.boot.nonce !== nonce) return
    const key = `${host.index} ${host.life} ${job}`
    this.#leases.set(key, Math.max(this.#leases.get(key) ?? 0, sentAt + LEASE_MS))
  }

  #clientOf(id: string): Client | undefined {
    for (const host of this.#init.hosts) {
      for (const [key, { job }] of host.disk.keys) if (job === id) return this.#init.clientOf(Number(key.slice(4)))
    }
    return undefined
  }

  #job(job: string): JobState {
    let state = this.#jobs.get(job)
    if (state === undefined) {
      state = {
        announced: undefined,
        items: [],
        announcedBy: new Set(),
        bodies: new Set(),
        tokens: new Map(),
        fencedPeers: new Map(),
        fences: 0
      }
      this.#jobs.set(job, state)
    }
    return state
  }
}

/** Fencing tokens are compared number by number (C6). */
function isHigher(a: string, b: string): boolean {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)]
  for (const [index, value] of left.entries()) {
    const other = right[index] ?? 0
    if (value !== other) return value > other
  }
  return false
}

function nameOf(body: Body): string {
  return `task ${body.path} of ${body.job.slice(0, 4)} on host ${body.host} (engagement ${body.engagement})`
}
