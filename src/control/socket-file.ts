import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { StarlingError } from '../wire/errors.ts'
import { PROBE_MS_MAX } from './limits.ts'

/** Umask while the socket is bound: nobody but the owner gets a bit, not even between bind and chmod. */
const PRIVATE_UMASK = 0o077

/**
 * Binds `server` to a unix socket with mode 0600, after removing the socket file of a daemon that is gone. The caller
 * holds the lock of the home, so that no second daemon does the same at the same time.
 *
 * @throws StarlingError HOME_UNUSABLE when the directory is open to others or something else is in the way,
 *   ALREADY_RUNNING when a daemon answers there.
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  if (process.platform !== 'win32') {
    checkDirectory(dirname(path))
    await removeStale(path)
  }
  const listening = new Promise<void>((resolve, reject) => {
    server.once('listening', resolve)
    server.once('error', reject)
  })
  bind(server, path)
  try {
    await listening
  } catch (error) {
    throw new StarlingError('HOME_UNUSABLE', `the control socket ${path} cannot be made: ${messageOf(error)}`, {
      hint: 'set STARLING_HOME to a directory of your own with a short path',
      cause: error
    })
  }
}

/** The kernel makes the file inside `listen`, which is synchronous, so that the umask covers exactly that. */
function bind(server: Server, path: string): void {
  if (process.platform === 'win32') {
    server.listen(path)
    return
  }
  const before = process.umask(PRIVATE_UMASK)
  try {
    server.listen(path)
  } finally {
    process.umask(before)
  }
  if (server.listening) chmodSync(path, 0o600)
}

function checkDirectory(directory: string): void {
  const stat = lstatSync(directory, { throwIfNoEntry: false })
  const owned = process.getuid === undefined || stat?.uid === process.getuid()
  if (stat?.isDirectory() && owned && (stat.mode & 0o077) === 0) return
  throw new StarlingError(
    'HOME_UNUSABLE',
    `the directory ${directory} of the control socket is missing or not private`,
    {
      hint: `it must be a directory of your own that nobody else can enter: chmod 700 ${directory}`
    }
  )
}

async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) {
    throw new StarlingError('HOME_UNUSABLE', `${path} is in the way of the control socket`, {
      hint: 'move that file away, or set STARLING_HOME to another directory'
    })
  }
  if (await answers(path)) {
    throw new StarlingError('ALREADY_RUNNING', `a daemon answers on ${path}`, {
      hint: 'stop it with: starling down, or set STARLING_HOME for a second one'
    })
  }
  // Only the file that was probed is removed, not one that has taken its place since.
  if (lstatSync(path, { throwIfNoEntry: false })?.ino === stat.ino) unlinkSync(path)
}

/** Whether a process accepts connections at the socket. Anything but a refusal counts as one: it may only be busy. */
function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(path)
    const done = (alive: boolean) => {
      probe.destroy()
      resolve(alive)
    }
    probe.setTimeout(PROBE_MS_MAX, () => done(true))
    probe.once('connect', () => done(true))
    probe.once('error', (error: NodeJS.ErrnoException) => {
      done(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT')
    })
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
