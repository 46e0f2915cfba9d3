import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync
} from 'node:fs'
import { dirname } from 'node:path'
import { StarlingError } from '../core/errors.ts'
import type { Home } from './home.ts'

/** Bytes of an Ed25519 seed (RFC 8032, 5.1.5). */
export const SEED_BYTES = 32

/** Longest file that is read: a seed in hexadecimal and an end of line. */
const IDENTITY_BYTES_MAX = 2 * SEED_BYTES + 2

/**
 * The Ed25519 seed of this daemon: 64 hexadecimal digits in a file of mode 0600, made at the first start. A file that
 * is there is never overwritten, and of several that make it at one time all get the same seed.
 *
 * @throws StarlingError HOME_UNUSABLE when the file is open to others, belongs to another user, or is no identity.
 */
export function loadIdentity(home: Home): Uint8Array {
  try {
    return readIdentity(home) ?? createIdentity(home)
  } catch (error) {
    if (error instanceof StarlingError) throw error
    throw unusable(`cannot read or make the identity ${home.identity}: ${String(error)}`, 'check the directory', error)
  }
}

function readIdentity({ identity, uid }: Home): Uint8Array | undefined {
  const file = openIdentity(identity)
  if (file === undefined) return undefined
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) throw unusable(`${identity} is no file`, 'move it away')
    if (uid !== undefined && stat.uid !== uid) {
      throw unusable(`${identity} belongs to another user (uid ${stat.uid})`, 'change its owner')
    }
    if (uid !== undefined && (stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8)
      throw unusable(
        `${identity} is open to other users (mode ${mode})`,
        `if nobody has copied it, run: chmod 600 ${identity}`
      )
    }
    const text = stat.size > IDENTITY_BYTES_MAX ? '' : readFileSync(file, 'latin1').trim()
    if (/^[0-9a-f]{64}$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'))
    throw unusable(
      `${identity} is damaged`,
      'restore it from a backup; without it this host is a new peer: then move the file away'
    )
  } finally {
    closeSync(file)
  }
}

function openIdentity(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP') throw unusable(`${path} is a symbolic link`, 'put the file itself in its place')
    throw error
  }
}

/** The file appears under its name only when it is complete and on disk; link, unlike rename, overwrites nothing. */
function createIdentity(home: Home): Uint8Array {
  const seed = randomBytes(SEED_BYTES)
  const temporary = `${home.identity}.${randomBytes(8).toString('hex')}.tmp`
  const file = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(file, `${seed.toString('hex')}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  try {
    linkSync(temporary, home.identity)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    const winner = readIdentity(home)
    if (winner === undefined) throw error
    return winner
  } finally {
    unlinkSync(temporary)
    syncDirectory(dirname(home.identity))
  }
  return new Uint8Array(seed)
}

/** Makes the names in a directory durable; Windows has no such call, and does it by itself. */
function syncDirectory(path: string): void {
  if (process.platform === 'win32') return
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

function unusable(message: string, hint: string, cause?: unknown): StarlingError {
  return new StarlingError('HOME_UNUSABLE', message, { hint, cause })
}
