import { chmodSync, closeSync, existsSync, fsyncSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import { StarlingError } from '../core/errors.ts'
import type { Logger } from '../ports/logger.ts'
import { WAL_BYTES_MAX } from './limits.ts'
import { APPLICATION_ID, MIGRATIONS } from './schema.ts'

/** SQLite's primary result codes (https://www.sqlite.org/rescode.html) that lead to an answer of their own. */
const SQLITE_BUSY = 5
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

/**
 * The one connection to the file: transactions, and the memory of a failure.
 *
 * After the first failed write no other is tried before a restart: after a failed fsync the kernel may have dropped
 * the pages and call the next one a success, so a retry proves nothing (https://wiki.postgresql.org/wiki/Fsync_Errors).
 * Reads go on.
 */
export class Database {
  readonly #connection: DatabaseSync
  readonly #logger: Logger
  readonly #path: string
  #failure: StarlingError | undefined
  #closed = false

  /**
   * Opens or makes the file (0600) and brings its schema up to date. The file stays locked until `close`, or the end
   * of the process.
   *
   * @throws StarlingError HOME_UNUSABLE when the file is damaged, foreign or from a newer version; ALREADY_RUNNING when
   * another process has it open; STORAGE_FAILED when the disk refuses.
   */
  constructor(path: string, logger: Logger) {
    this.#path = path
    this.#logger = logger
    try {
      makeFile(path)
      this.#connection = new DatabaseSync(path)
    } catch (error) {
      throw openError(path, error)
    }
    try {
      configure(this.#connection)
      migrate(this.#connection, path)
    } catch (error) {
      this.#connection.close()
      throw openError(path, error)
    }
  }

  /** @throws StarlingError STORAGE_FAILED when the schema is not what it should be. */
  prepare(sql: string): StatementSync {
    return this.read(() => this.#connection.prepare(sql))
  }

  /** Why nothing can be written any more; undefined while all is well. */
  failure(): StarlingError | undefined {
    if (this.#closed) return new StarlingError('STORAGE_FAILED', `the database ${this.#path} is closed`)
    return this.#failure
  }

  /**
   * Runs `body` as one transaction: durable (fsync) when it returns, without any effect when it throws. Never nested.
   * A StarlingError thrown by `body` passes through and is no failure of the storage.
   *
   * @throws StarlingError STORAGE_FAILED, now and at every later call.
   */
  write<T>(body: () => T): T {
    const failure = this.failure()
    if (failure !== undefined) throw failure
    try {
      this.#connection.exec('BEGIN IMMEDIATE')
      const value = body()
      this.#connection.exec('COMMIT')
      return value
    } catch (error) {
      this.#rollback()
      if (error instanceof StarlingError) throw error
      this.#failure = this.#storageError('cannot write to', error)
      throw this.#failure
    }
  }

  /** @throws StarlingError STORAGE_FAILED when the file cannot be read; writes are not affected by it. */
  read<T>(body: () => T): T {
    if (this.#closed) throw new StarlingError('STORAGE_FAILED', `the database ${this.#path} is closed`)
    try {
      return body()
    } catch (error) {
      throw error instanceof StarlingError ? error : this.#storageError('cannot read from', error)
    }
  }

  /** Rows of a statement that nothing else uses, read as they are asked for. @throws as `read` does. */
  *iterate(statement: StatementSync): Iterable<Record<string, SQLOutputValue>> {
    const rows = this.read(() => statement.iterate())
    for (;;) {
      const next = this.read(() => rows.next())
      if (next.done) return
      yield next.value
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#connection.close()
  }

  #rollback(): void {
    if (!this.#connection.isTransaction) return
    try {
      this.#connection.exec('ROLLBACK')
    } catch (error) {
      this.#logger.error('rollback failed', { code: 'STORAGE_FAILED', path: this.#path, error })
    }
  }

  #storageError(what: string, cause: unknown): StarlingError {
    const text = cause instanceof Error ? cause.message : String(cause)
    const error = new StarlingError('STORAGE_FAILED', `${what} the database ${this.#path}: ${text}`, {
      hint: 'check the disk (space, quota, errors in the kernel log), then restart the daemon',
      cause
    })
    this.#logger.error('storage failed', { code: error.code, path: this.#path, error: text })
    return error
  }
}

/** SQLite gives its log files the mode of the database, which holds secrets; so the mode is set before it opens them. */
function makeFile(path: string): void {
  const isNew = !existsSync(path)
  if (!isNew) return chmodSync(path, 0o600)
  closeSync(openSync(path, 'wx', 0o600))
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

function configure(connection: DatabaseSync): void {
  // Exclusive: a second process is refused, and no shared memory file is needed, which some mounts cannot give.
  connection.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  connection.exec(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`)
}

function migrate(connection: DatabaseSync, path: string): void {
  const version = pragma(connection, 'user_version')
  const foreign =
    version === 0
      ? connection.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() !== undefined
      : pragma(connection, 'application_id') !== APPLICATION_ID
  if (foreign) {
    throw new StarlingError('HOME_UNUSABLE', `${path} belongs to another program`, {
      hint: 'move it away, or set STARLING_HOME to another directory'
    })
  }
  if (version > MIGRATIONS.length) {
    throw new StarlingError('HOME_UNUSABLE', `${path} was written by a newer version of starling (schema ${version})`, {
      hint: 'install that version again, or set STARLING_HOME to another directory'
    })
  }
  if (version === MIGRATIONS.length) return
  connection.exec('BEGIN IMMEDIATE')
  for (const step of MIGRATIONS.slice(version)) connection.exec(step)
  connection.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`)
}

function pragma(connection: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return Number(connection.prepare(`PRAGMA ${name}`).get()?.[name])
}

function openError(path: string, cause: unknown): StarlingError {
  if (cause instanceof StarlingError) return cause
  const text = cause instanceof Error ? cause.message : String(cause)
  const code = primaryCode(cause)
  if (code === SQLITE_BUSY) {
    return new StarlingError('ALREADY_RUNNING', `another process has ${path} open`, {
      hint: 'stop it, or set STARLING_HOME to another directory',
      cause
    })
  }
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    return new StarlingError('HOME_UNUSABLE', `${path} is damaged: ${text}`, {
      hint: 'restore it from a backup, or move it away: membership and unfinished jobs in it are then lost',
      cause
    })
  }
  return new StarlingError('STORAGE_FAILED', `cannot open ${path}: ${text}`, {
    hint: 'check the disk and the rights of the directory',
    cause
  })
}

function primaryCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined
  return error.errcode & 0xff
}
