import {
  type Boot,
  type LedgerRecord,
  LedgerState,
  MeshNode,
  type NodeEffect,
  type NodeOutput,
  type SubmittedRecord,
  type TaskRecord,
  TICK_INTERVAL_MS,
  taskId
} from '../core/index.ts'
import type { Timer } from '../ports/clock.ts'
import type { Clock, Journal, JournalWrite, LinkInfo, Logger, Network, Random, Watchdog } from '../ports/index.ts'
import type { Job } from '../wire/api/index.ts'
import { decodeRecord, encodeRecord } from '../wire/index.ts'
import { Attempts, type ServedCapability } from './attempts.ts'
import { EventLog } from './event-log.ts'
import { finishedJob, taskItems } from './job-views.ts'
import { OutputQueue } from './output-queue.ts'
import { TaskLogs } from './task-logs.ts'

/** A stopping daemon lets running tasks end for so long before it kills them. */
export const STOP_GRACE_MS = 5_000

/** Then it waits so long for killed tasks to be reaped: the kill ladder of the runtimes and a reserve. */
export const REAP_WAIT_MS = 4_000

/** Between two inputs the clocks of waking and of all time may differ by so much; a difference beyond it is a sleep. */
const SLEPT_MS_MIN = 200

/** Time for the last frames to leave. */
const FAREWELL_MS = 100

/** How often a stopping daemon looks whether it may go on. */
const STOP_POLL_MS = 50

export interface EngineInit {
  readonly boot: Boot
  readonly name: string
  readonly version: string
  readonly network: Network
  readonly journal: Journal
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly served: (capability: string) => ServedCapability | undefined
  readonly watchdog: Watchdog
  /** The engine cannot go on (journal refused a write, home is a copy): the daemon must stop, and say why. Called once. */
  readonly fatal: (reason: EngineFailure) => void
}

export type EngineFailure =
  | { readonly kind: 'journal'; readonly error: unknown }
  | { readonly kind: 'stale-boot'; readonly incarnation: number }
  /** An effect could not be carried out: what was to follow it would be wrong. */
  | { readonly kind: 'defect'; readonly error: unknown }

interface Ending {
  readonly state: LedgerState
  readonly job: Job | undefined
}

/**
 * Drives a `MeshNode`: network, runtimes, timers and local requests go in one at a time; what comes out is journaled
 * first and then carried out, in order. All methods are synchronous and never called back re-entrantly.
 */
export class Engine {
  readonly node: MeshNode
  readonly events: EventLog
  readonly logs: TaskLogs
  readonly attempts: Attempts
  /** Frames of jobs that were sent to other daemons, by kind; greetings and heartbeats are not counted. */
  readonly framesSent = new Map<string, number>()
  readonly #init: EngineInit
  readonly #outputs: OutputQueue
  readonly #inbox: (() => void)[] = []
  readonly #waiters = new Map<string, Set<() => void>>()
  readonly #ending = new Map<string, Ending>()
  /** Role of each linked member. */
  readonly #roles = new Map<string, LinkInfo['role']>()
  #pumping = false
  #timer: Timer | undefined
  #stopped = false
  /** How much longer the machine has been up than awake, as of the last input. */
  #asleep: number | undefined
  #hurried = false
  #failed = false

  constructor(init: EngineInit) {
    this.#init = init
    const { boot, name, version, network, clock, random, journal } = init
    this.node = new MeshNode({ self: network.self, boot, name, version, encodeRecord, random: () => random.next() })
    this.events = new EventLog(`/peers/${network.self}/boots/${boot.incarnation}`, clock)
    this.logs = new TaskLogs(clock)
    this.#outputs = new OutputQueue(journal, (kind, error) => this.#fatal({ kind, error }))
    this.attempts = new Attempts({
      served: init.served,
      logs: this.logs,
      ended: (job, obligation, end) => this.input(now => this.node.bodyEnded(job, obligation, end, now)),
      blocked: (job, obligation, blocked) => this.input(() => this.node.blocked(job, obligation, blocked))
    })
  }

  /** Folds the journal, before any frame is handled; then starts the clock. Call before the network starts. */
  restore(): void {
    const jobs = new Map<string, { submitted: SubmittedRecord; history: LedgerRecord[] }>()
    for (const { job, record } of this.#init.journal.replay()) {
      if (record.kind === 'submitted') jobs.set(job, { submitted: record, history: [] })
      else jobs.get(job)?.history.push(record)
    }
    const damaged = new Set(this.#init.journal.damage().map(({ job }) => job))
    for (const { submitted, history } of jobs.values()) {
      const { job } = submitted
      if (damaged.has(job) || history.some(({ kind }) => kind === 'announced')) {
        this.#announce(this.#overBefore(submitted, history, damaged.has(job)))
        continue
      }
      this.#init.logger.info('carrying on with a job of an earlier boot', { job })
      this.input(now => this.node.adopt(submitted, history, now, this.#init.clock.wall()))
    }
    this.#tick()
  }

  /**
   * A job that was announced before the daemon died; or one whose journal has a hole, so that it cannot be carried on:
   * what was handed out in the hole is unknown. Hosts that still work for it learn that it is over when they next renew.
   */
  #overBefore(submitted: SubmittedRecord, history: readonly LedgerRecord[], damaged: boolean): LedgerState {
    const { job } = submitted
    const state = new LedgerState(submitted)
    for (const record of history) state.apply(record)
    // Read from the clock of an earlier boot.
    state.lastEndedAt = undefined
    if (damaged && !state.announced) {
      this.#init.logger.error('the journal of a job is damaged: it ends as incomplete', { job, code: 'STORAGE_FAILED' })
      state.abandon(encodeRecord, this.#init.network.self)
    }
    return state
  }

  /** What the network is to call. */
  networkHandlers(): Parameters<Network['start']>[0] {
    return {
      linkUp: (peer, link) => {
        this.#roles.set(peer, link.role)
        this.events.emit('peer.linked', peer, { address: link.remoteAddress, direction: link.direction })
        this.input(now => {
          this.node.listening(this.#init.network.addresses())
          this.node.linkUp(peer, now)
        })
      },
      linkDown: (peer, reason) => {
        this.#roles.delete(peer)
        this.events.emit('peer.unlinked', peer, { reason })
        this.input(now => this.node.linkDown(peer, now))
      },
      frame: (peer, frame) => {
        if (frame.kind === 'drain' && this.#roles.get(peer) !== 'admin') {
          this.#init.logger.warn('drain refused: the peer is no admin', { peer, code: 'DENIED' })
          return
        }
        this.input(now => this.node.frame(peer, frame, now))
      },
      advertisement: (peer, advertisement) => this.input(now => this.node.gossip(peer, advertisement, now))
    }
  }

  /** Offers slots of a capability; 0 withdraws it. */
  offer(capability: string, slots: number): void {
    this.input(now => this.node.offer(capability, slots, now))
  }

  /** Makes a durable job of a submission. @throws StarlingError STORAGE_FAILED: nothing has happened then. */
  async submit(submitted: SubmittedRecord, key: { key: string; fingerprint: string } | undefined): Promise<void> {
    const { job } = submitted
    const writes: JournalWrite[] = [{ kind: 'record', job, record: submitted }]
    if (key !== undefined) writes.unshift({ kind: 'key', job, ...key })
    await this.#init.journal.commit(writes)
    this.events.emit('job.submitted', job, { capability: submitted.capability })
    this.input(now => this.node.adopt(submitted, [], now, submitted.submittedAt))
  }

  /** Runs one input, then all that follows from it. Inputs that arrive meanwhile wait their turn. */
  input<T>(act: (now: number) => T): void {
    this.#inbox.push(() => {
      act(this.#now())
    })
    this.#pump()
  }

  /** Like `input`, for an answer that is needed at once; only from outside of the engine's own effects. */
  ask<T>(act: (now: number) => T): T {
    const now = this.#now()
    const answer = act(now)
    this.#carryOut(this.node.takeOutput(now))
    this.#pump()
    return answer
  }

  /** Resolves when the job is over, or `signal` aborts. */
  untilOver(job: string, signal: AbortSignal): Promise<void> {
    const ending = this.#ending.get(job)
    const running = this.node.roots.ledger(job) !== undefined || (ending !== undefined && ending.job === undefined)
    if (!running || signal.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const waiters = this.#waiters.get(job) ?? new Set()
      this.#waiters.set(job, waiters)
      const done = () => {
        signal.removeEventListener('abort', done)
        waiters.delete(done)
        resolve()
      }
      waiters.add(done)
      signal.addEventListener('abort', done, { once: true })
    })
  }

  /**
   * Leaves the mesh: takes nothing new, gives back what has not begun, lets running tasks end for STOP_GRACE_MS (not at
   * all when `now`), has the rest done elsewhere, says goodbye. Resolves when everything of it is reaped, sent and durable.
   */
  async stop(options: { now: boolean }): Promise<void> {
    this.input(now => this.node.stop(now))
    await this.#until(() => this.node.host.idle || this.#hurried, options.now ? 0 : STOP_GRACE_MS)
    this.input(now => this.node.moveAll('the daemon is stopping', now))
    await this.#until(() => this.node.host.idle, REAP_WAIT_MS)
    this.input(now => this.node.leave(now))
    await this.#until(() => this.node.quiet, REAP_WAIT_MS)
    this.input(() => this.node.goodbye())
    await this.#outputs.idle()
    await this.#after(FAREWELL_MS)
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** A stop under way does not wait for running tasks any longer. */
  hurry(): void {
    this.#hurried = true
  }

  /**
   * A job between its end and the moment when the journal has all that is to be shown of it; `job` is undefined until
   * the end is durable, and the job counts as running so long.
   */
  ending(job: string): Ending | undefined {
    return this.#ending.get(job)
  }

  /** Ids of all jobs that `ending` knows. */
  endingIds(): string[] {
    return [...this.#ending.keys()]
  }

  nameOf(peer: string): string {
    if (peer === this.#init.network.self) return this.#init.name
    return this.node.view.get(peer)?.advertisement?.name ?? ''
  }

  #tick(): void {
    const { clock, network, watchdog } = this.#init
    this.input(now => {
      this.node.listening(network.addresses())
      this.node.tick(now, clock.wall())
      watchdog.leases(this.node.host.leases(now))
    })
    if (!this.#stopped) this.#timer = clock.after(TICK_INTERVAL_MS, () => this.#tick())
  }

  /**
   * The time of an input. The monotonic clock stands still while the machine sleeps, and leases with it: so whatever is
   * the first to happen afterwards finds them given up (R1, H15).
   */
  #now(): number {
    const { clock, logger } = this.#init
    const now = clock.now()
    const uptime = clock.uptime()
    if (uptime === undefined) return now
    const asleep = uptime - now
    const sleptMs = asleep - (this.#asleep ?? asleep)
    this.#asleep = asleep
    if (sleptMs < SLEPT_MS_MIN) return now
    logger.warn('this machine was asleep: leases are given up', { sleptMs })
    this.node.slept(now)
    return now
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      for (let act = this.#inbox.shift(); act !== undefined; act = this.#inbox.shift()) {
        act()
        this.#carryOut(this.node.takeOutput(this.#init.clock.now()))
      }
    } finally {
      this.#pumping = false
    }
  }

  #carryOut(output: NodeOutput): void {
    if (output.records.length === 0 && output.effects.length === 0) return
    const writes = output.records.map(({ job, record }): JournalWrite => ({ kind: 'record', job, record }))
    for (const effect of output.effects)
      if (effect.kind === 'announce') this.#ending.set(effect.job, { state: effect.state, job: undefined })
    this.#outputs.push(writes, () => {
      for (const effect of output.effects) this.#effect(effect)
    })
  }

  #effect(effect: NodeEffect): void {
    const { network, logger } = this.#init
    switch (effect.kind) {
      case 'send':
        return this.#send(effect)
      case 'publish':
        return network.publish(effect.advertisement)
      case 'cut':
        return network.disconnect(effect.peer, effect.reason)
      case 'learn':
        return network.learn(effect.peer, effect.addresses)
      case 'start':
        return this.#start(effect)
      case 'kill':
        return this.attempts.kill(effect)
      case 'child-settled':
        return this.attempts.childSettled(effect)
      case 'late':
        this.events.emit('task.late', taskId(effect.job, effect.path), { peerId: effect.peer })
        return
      case 'abandoned':
        logger.warn('job abandoned: its root is gone', { job: effect.job, peer: effect.root })
        this.events.emit('job.abandoned', effect.job, { rootPeerId: effect.root })
        return
      case 'announce':
        return this.#announce(effect.state)
      case 'member-changed':
        this.events.emit(`peer.${effect.to}`, effect.peer, {
          from: effect.from ?? null,
          name: this.nameOf(effect.peer)
        })
        return
      case 'stale-boot':
        return this.#fatal({ kind: 'stale-boot', incarnation: effect.incarnation })
      case 'log':
        logger[effect.level](effect.message, effect.fields)
    }
  }

  #send({ to, frame }: NodeEffect & { kind: 'send' }): void {
    const sent = this.#init.network.send(to, frame)
    // A frame that finds no link is sent anew from state when there is one again.
    if (sent && 'job' in frame) this.framesSent.set(frame.kind, (this.framesSent.get(frame.kind) ?? 0) + 1)
  }

  /** The journal may have taken its time: the lease is asked again at the very start (R1). */
  #start(effect: NodeEffect & { kind: 'start' }): void {
    const { job, obligation, task } = effect
    const leaseLeftMs = this.ask(now => this.node.leaseToStart(job, obligation, now))
    if (leaseLeftMs === undefined) return
    this.events.emit('task.started', taskId(job, task.path), {
      capability: task.capability,
      attempt: effect.attempts.at(-1)
    })
    this.attempts.start(effect, leaseLeftMs)
  }

  /**
   * The end of a job is durable: tells the waiters, then writes what is to be shown of it later. A daemon that dies in
   * between finds `announced` in the journal, and writes it then.
   */
  #announce(state: LedgerState): void {
    const { job, lastEndedAt } = state
    const { clock, journal, logger } = this.#init
    const records = this.#readRecords(state)
    const detectionMs = lastEndedAt === undefined ? undefined : Math.max(0, clock.now() - lastEndedAt)
    const summary = finishedJob(state, records, { announcedAt: clock.wall(), detectionMs }, this)
    const items = taskItems(state, records)
    this.#ending.set(job, { state, job: { ...summary, items } })
    const { verdict, tasks } = summary
    this.events.emit('job.announced', job, { verdict, detectionMs: detectionMs ?? null })
    logger.info('job over', { job, verdict, tasks: tasks.total, detectionMs })
    for (const done of [...(this.#waiters.get(job) ?? [])]) done()
    this.#waiters.delete(job)
    journal.commit([{ kind: 'finish', summary, items }]).then(
      () => this.#ending.delete(job),
      error => this.#fatal({ kind: 'journal', error })
    )
  }

  /** Records have come through other daemons: one that cannot be read is left out, and said so. */
  #readRecords(state: LedgerState): TaskRecord[] {
    const records: TaskRecord[] = []
    for (const encoded of state.records) {
      try {
        records.push(decodeRecord(encoded))
      } catch (error) {
        this.#init.logger.warn('a task record cannot be read', { job: state.job, code: 'INTERNAL', error })
      }
    }
    return records
  }

  #fatal(reason: EngineFailure): void {
    if (this.#failed) return
    this.#failed = true
    this.#init.fatal(reason)
  }

  async #until(reached: () => boolean, waitMs: number): Promise<void> {
    const end = this.#init.clock.now() + waitMs
    while (!reached() && !this.#outputs.broken && this.#init.clock.now() < end) await this.#after(STOP_POLL_MS)
  }

  #after(ms: number): Promise<void> {
    return new Promise(resolve => this.#init.clock.after(ms, resolve))
  }
}
