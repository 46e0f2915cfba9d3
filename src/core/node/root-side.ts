import type { TaskRecord } from '../frames.ts'
import { type Boot, type JobId, type ObligationId, type PeerId, ROOT_ENGAGEMENT, sameBoot } from '../ids.ts'
import { Ledger, type LedgerRecord, type LedgerState, type SubmittedRecord } from '../termination/index.ts'

/** The jobs that were submitted to this daemon and are not over, and the newest boot known of each peer (C2). */
export class RootSide {
  readonly #init: { self: PeerId; encodeRecord: (record: TaskRecord) => Uint8Array }
  readonly #ledgers = new Map<JobId, Ledger>()
  /**
   * Not durable beyond the boots that hold grants: a boot without a grant has nothing that a copy of it could take over
   * (row `forgotten-boots` of the model).
   */
  readonly #boots = new Map<PeerId, Boot>()

  constructor(init: { self: PeerId; encodeRecord: (record: TaskRecord) => Uint8Array }) {
    this.#init = init
  }

  adopt(submitted: SubmittedRecord, history: readonly LedgerRecord[]): Ledger {
    const ledger = new Ledger(this.#init, submitted, history)
    this.#ledgers.set(submitted.job, ledger)
    for (const [peer, { boot }] of ledger.state.grants) this.isNewBoot(peer, boot)
    return ledger
  }

  ledger(job: JobId): Ledger | undefined {
    return this.#ledgers.get(job)
  }

  ledgers(): Ledger[] {
    return [...this.#ledgers.values()]
  }

  /** The ledger, when the obligation is one of the virtual root. */
  owner(job: JobId, obligation: ObligationId): Ledger | undefined {
    return obligation.startsWith(`${ROOT_ENGAGEMENT}:`) ? this.#ledgers.get(job) : undefined
  }

  /** The job is over: its state, for the last time. */
  finish(job: JobId): LedgerState | undefined {
    const state = this.#ledgers.get(job)?.state
    this.#ledgers.delete(job)
    return state
  }

  /** True when this boot is newer than any before; it is the newest from now on. */
  isNewBoot(peer: PeerId, boot: Boot): boolean {
    const known = this.#boots.get(peer)
    if (known !== undefined && boot.incarnation <= known.incarnation) return false
    this.#boots.set(peer, boot)
    return known !== undefined
  }

  /** The incarnation that makes `boot` stale, or undefined when it is the newest one of its peer. */
  staleness(peer: PeerId, boot: Boot): number | undefined {
    const known = this.#boots.get(peer)
    if (known === undefined || boot.incarnation > known.incarnation) {
      this.#boots.set(peer, boot)
      return undefined
    }
    return sameBoot(known, boot) ? undefined : known.incarnation
  }
}
