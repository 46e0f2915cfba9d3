import { randomBytes } from 'node:crypto'
import type { StarlingError } from '../core/errors.ts'
import type { Boot } from '../core/ids.ts'
import type { Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import { Database } from './database.ts'
import { SqliteJournal, type StoredJournal } from './journal.ts'
import { SqliteMembership, type StoredMembership } from './membership.ts'

export interface StoreInit {
  /** The file; its directory exists and is nobody else's. SQLite keeps its write-ahead log beside it. */
  readonly path: string
  readonly logger: Logger
  readonly clock: Clock
}

/** What a daemon must not forget. All parts share one file, and a write that fails in one stops the writes of all. */
export interface Store {
  readonly journal: StoredJournal
  readonly membership: StoredMembership
  readonly meta: Meta
  /** Why nothing can be written any more; undefined while all is well. Only a restart clears it. */
  failure(): StarlingError | undefined
  /** Makes durable what waits, then closes the file. Idempotent. */
  close(): void
}

export interface Meta {
  /**
   * Begins a new life: an incarnation above all earlier ones of this file and above `above`, durable when it returns,
   * with a random nonce. @throws StarlingError STORAGE_FAILED
   */
  nextBoot(above?: number): Boot
}

/** @throws StarlingError HOME_UNUSABLE, ALREADY_RUNNING, STORAGE_FAILED: see `Database`. */
export function openStore(init: StoreInit): Store {
  const logger = init.logger.child('store')
  const database = new Database(init.path, logger)
  try {
    const journal = new SqliteJournal(database, logger)
    const membership = new SqliteMembership(database, init.clock)
    const store = { journal, membership, meta: meta(database), failure: () => database.failure() }
    logger.debug('store opened', { path: init.path })
    return { ...store, close: () => closeBoth(journal, database) }
  } catch (error) {
    database.close()
    throw error
  }
}

function closeBoth(journal: StoredJournal, database: Database): void {
  journal.close()
  database.close()
}

function meta(database: Database): Meta {
  const raise = database.prepare('UPDATE boot SET incarnation = max(incarnation, ?) + 1 RETURNING incarnation')
  return {
    nextBoot(above = 0) {
      const row = database.write(() => raise.get(above))
      return { incarnation: Number(row?.incarnation), nonce: randomBytes(8).toString('hex') }
    }
  }
}
