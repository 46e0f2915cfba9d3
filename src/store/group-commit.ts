import { StarlingError } from '../core/errors.ts'
import type { Database } from './database.ts'
import { GROUP_WRITES_MAX, PENDING_BYTES_MAX } from './limits.ts'

/** One `commit` call on its way to the disk. */
export interface PendingCommit {
  /** Number of writes and encoded bytes, for the bounds. */
  readonly writes: number
  readonly bytes: number
  /** True when `apply` may be called. */
  ready(): boolean
  /** Does a slice of the encoding that is left, a few milliseconds. */
  prepare(): void
  /** Executes the statements; called inside a transaction. */
  apply(): void
}

interface Waiting {
  readonly commit: PendingCommit
  readonly resolve: () => void
  readonly reject: (error: StarlingError) => void
}

/**
 * Makes one transaction, and one fsync, of all commits of a turn of the event loop.
 *
 * The transaction runs in `setImmediate`, after all sockets that are readable in this turn were served: with
 * microtasks each socket would pay for its own fsync. Meanwhile the next commits gather, so groups grow with load.
 *
 * Invariant: commits become durable in the order of `add`, none before an earlier one, none after a failed one.
 */
export class GroupCommit {
  readonly #database: Database
  readonly #waiting: Waiting[] = []
  #bytes = 0
  #immediate: NodeJS.Immediate | undefined

  constructor(database: Database) {
    this.#database = database
  }

  /**
   * Resolves when `commit` is durable. At PENDING_BYTES_MAX the transaction is made before this returns.
   * Rejects with STORAGE_FAILED when this or an earlier commit failed.
   */
  add(commit: PendingCommit): Promise<void> {
    const failure = this.#database.failure()
    if (failure !== undefined) return Promise.reject(failure)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ commit, resolve, reject })
    this.#bytes += commit.bytes
    if (this.#bytes >= PENDING_BYTES_MAX) this.flush()
    else this.#schedule()
    return promise
  }

  /** Makes everything durable that waits, now. */
  flush(): void {
    while (this.#waiting.length > 0) {
      for (const { commit } of this.#waiting) while (!commit.ready()) commit.prepare()
      this.#transact()
    }
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined
      this.#turn()
    })
  }

  #turn(): void {
    const first = this.#waiting[0]?.commit
    if (first === undefined) return
    if (first.ready()) this.#transact()
    else first.prepare()
    if (this.#waiting.length > 0) this.#schedule()
  }

  #transact(): void {
    const group = this.#take()
    try {
      this.#database.write(() => {
        for (const { commit } of group) commit.apply()
      })
    } catch (error) {
      const failure = this.#database.failure() ?? storageFailed(error)
      for (const { reject } of group) reject(failure)
      for (const { reject } of this.#waiting.splice(0)) reject(failure)
      this.#bytes = 0
      return
    }
    for (const { resolve } of group) resolve()
  }

  /** Commits from the front that are ready, GROUP_WRITES_MAX writes at most, but one commit at least. */
  #take(): Waiting[] {
    let count = 0
    let writes = 0
    for (const { commit } of this.#waiting) {
      if (!commit.ready() || (count > 0 && writes + commit.writes > GROUP_WRITES_MAX)) break
      count += 1
      writes += commit.writes
      this.#bytes -= commit.bytes
    }
    return this.#waiting.splice(0, count)
  }
}

function storageFailed(cause: unknown): StarlingError {
  return cause instanceof StarlingError ? cause : new StarlingError('STORAGE_FAILED', String(cause), { cause })
}
