import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as timeout } from 'node:timers/promises'
import type { Ready } from '../wire/api/schemas.ts'
import { type ErrorCode, isErrorCode, StarlingError } from '../wire/errors.ts'

/** Longest wait for a background daemon to be ready: longer than the daemon itself tries to join. */
export const UP_WAIT_MS = 45_000

/** A log longer than this is put aside at the next start; one older log is kept. */
export const LOG_BYTES_MAX = 10 * 1024 * 1024

/** Characters of the end of the log that are shown when the daemon dies without having said why. */
const LOG_TAIL_CHARS = 2_000

/** What the background process says over its channel, exactly once. */
export type DetachedReport =
  | { readonly kind: 'ready'; readonly ready: Ready }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly hint?: string | undefined }

export interface DetachedInit {
  /** Arguments of node: its flags, the script, the arguments of the script. */
  readonly argv: readonly string[]
  /** Sent over the channel rather than as flags: a token has no place in the list of processes. */
  readonly options: object
  /** Gets stdout and stderr of the process; made 0600, in a directory made 0700. */
  readonly logPath: string
  readonly env: NodeJS.ProcessEnv
  /** @default UP_WAIT_MS */
  readonly waitMs?: number
}

/**
 * Starts a daemon in a session of its own and waits until it is ready. It outlives this process.
 *
 * @throws StarlingError what the daemon failed with; INTERNAL when it died without a word; TIMED_OUT when it is neither
 * ready nor dead (it goes on).
 */
export async function startDetached(init: DetachedInit): Promise<Ready> {
  const log = openLog(init.logPath)
  const child = spawn(process.execPath, init.argv, {
    detached: true,
    env: init.env,
    stdio: ['ignore', log, log, 'ipc']
  })
  closeSync(log)
  try {
    child.send(init.options, () => {
      // A process that has died already cannot be told anything; its end is reported below.
    })
    return readyOf(await firstReport(child, init))
  } finally {
    if (child.connected) child.disconnect()
    child.unref()
  }
}

/** The other end: what `startDetached` sent. Only in a process that it has started. */
export async function detachedOptions<T extends object>(): Promise<T> {
  const [options] = await once(process, 'message')
  return options as T
}

/** Says how the start went, and closes the channel. Resolves when it is said, or when nobody listens any more. */
export async function reportDetached(report: DetachedReport): Promise<void> {
  if (!process.connected) return
  await new Promise<void>(resolve => process.send?.(report, undefined, {}, () => resolve()))
  if (process.connected) process.disconnect()
}

async function firstReport(child: ChildProcess, init: DetachedInit): Promise<DetachedReport> {
  const waitMs = init.waitMs ?? UP_WAIT_MS
  const settled = new AbortController()
  const { signal } = settled
  try {
    return await Promise.race([
      once(child, 'message', { signal }).then(([report]) => report as DetachedReport),
      died(child, signal).then(({ code, signalName }) => {
        throw diedFirst(code, signalName, init.logPath)
      }),
      timeout(waitMs, undefined, { signal }).then(() => {
        throw new StarlingError('TIMED_OUT', `the daemon (pid ${child.pid}) is not ready after ${waitMs / 1_000} s`, {
          hint: `it goes on starting; see: starling status, and its log ${init.logPath}`
        })
      })
    ])
  } finally {
    settled.abort()
  }
}

/** Resolves when the process is gone and its channel is read to the end: a last message comes before. */
async function died(
  child: ChildProcess,
  signal: AbortSignal
): Promise<{ code: number | null; signalName: string | null }> {
  await once(child, 'disconnect', { signal })
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit', { signal })
  return { code: child.exitCode, signalName: child.signalCode }
}

function readyOf(report: DetachedReport): Ready {
  if (report.kind === 'ready') return report.ready
  throw new StarlingError(isErrorCode(report.code) ? report.code : 'INTERNAL', report.message, { hint: report.hint })
}

function diedFirst(code: number | null, signalName: string | null, logPath: string): StarlingError {
  const how = code === null ? `signal ${signalName}` : `exit code ${code}`
  const tail = readFileSync(logPath, 'utf8').slice(-LOG_TAIL_CHARS).trim()
  return new StarlingError('INTERNAL', `the daemon ended with ${how} before it was ready${tail && `:\n${tail}`}`, {
    hint: `its log is ${logPath}`
  })
}

function openLog(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(path, `${path}.1`)
    return openSync(path, 'a', 0o600)
  } catch (cause) {
    throw new StarlingError('HOME_UNUSABLE', `the log ${path} cannot be written: ${(cause as Error).message}`, {
      hint: 'set STARLING_HOME to a directory of your own',
      cause
    })
  }
}
