import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { StarlingError } from '../core/errors.ts'
import type { Home } from './home.ts'

/** The right to be the daemon of a home; it ends with the process at the latest. */
export interface HomeLock {
  /** Gives the home free. Idempotent. */
  release(): void
}

/** How long a process that was refused waits for the winner to have written its id, and how often it looks. */
const PID_WAIT_MS = 1_000
const PID_POLL_MS = 10

/** Never notified: waiting on it is the synchronous sleep that Node has no call for. */
const SLEEPER = new Int32Array(new SharedArrayBuffer(4))

/** SQLite's code for a lock that somebody else has. */
const SQLITE_BUSY = 5

/** Handles of held locks: one that was garbage-collected would be closed, and its lock be gone. */
const HELD = new Set<DatabaseSync>()

/**
 * Takes the home, or is refused: of any number of processes that try at one time exactly one gets it, and when it dies,
 * however it dies, the next attempt succeeds. Synchronous; a refusal may block for PID_WAIT_MS while the winner has not
 * yet said who it is.
 *
 * Node has no flock, so the lock is SQLite's: an open write transaction on an empty file, which is a POSIX record lock
 * that the kernel drops with the process and that no child inherits. Nothing is ever written into the file (a journal
 * that was left behind would have to be rolled back under a stronger lock, for which starters could block each other).
 * Beware: POSIX locks are lost when the process opens and closes the file by any other way.
 *
 * @throws StarlingError ALREADY_RUNNING naming the pid; HOME_UNUSABLE when the file cannot be used.
 */
export function lockHome(home: Home): HomeLock {
  const database = take(home)
  if (database === undefined) throw alreadyRunning(home)
  HELD.add(database)
  const pidFile = pidPath(home)
  writeFileSync(`${pidFile}.tmp`, `${process.pid}\n`, { mode: 0o600 })
  renameSync(`${pidFile}.tmp`, pidFile)
  return {
    release() {
      if (!HELD.delete(database)) return
      rmSync(pidFile, { force: true })
      database.close()
    }
  }
}

function take(home: Home): DatabaseSync | undefined {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(home.lock, { timeout: 0 })
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE')
    return database
  } catch (error) {
    database?.close()
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return undefined
    throw new StarlingError('HOME_UNUSABLE', `cannot lock ${home.lock}: ${String(error)}`, {
      hint: 'remove the file if no daemon runs; a file system without locks cannot hold a home: set STARLING_HOME to another one',
      cause: error
    })
  }
}

function alreadyRunning(home: Home): StarlingError {
  const pid = holder(home)
  const who = pid === undefined ? 'another process that is just starting or stopping' : `pid ${pid}`
  return new StarlingError('ALREADY_RUNNING', `a daemon runs on ${home.state} already (${who})`, {
    hint: 'look at it with: starling status; stop it with: starling down'
  })
}

/** The id in the side file, once it is that of a living process: a dead one was left by an earlier daemon. */
function holder(home: Home): number | undefined {
  const end = performance.now() + PID_WAIT_MS
  for (;;) {
    const pid = readPid(pidPath(home))
    if (pid !== undefined && isAlive(pid)) return pid
    if (performance.now() >= end) return undefined
    Atomics.wait(SLEEPER, 0, 0, PID_POLL_MS)
  }
}

function pidPath(home: Home): string {
  return `${home.lock}.pid`
}

function readPid(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'latin1').trim()
    return /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is there, but somebody else's.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
