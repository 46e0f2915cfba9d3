import { accessSync, chmodSync, constants, lstatSync, mkdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { StarlingError } from '../core/errors.ts'
import { controlSocketPath } from '../wire/places.ts'

export { type HomeLock, lockHome } from './home-lock.ts'
export { loadIdentity } from './identity.ts'

/** Where one daemon keeps its things. All paths are absolute. */
export interface Home {
  /** YAML, written by the owner; need not exist. */
  readonly config: string
  /** Directory of identity, database, lock and log. */
  readonly state: string
  readonly database: string
  readonly identity: string
  /** Directory of what may be thrown away. */
  readonly cache: string
  /** Control socket; on Windows the name of a pipe. */
  readonly socket: string
  readonly lock: string
  /** Log file of a daemon in the background. */
  readonly logs: string
  /** User who must own it all; undefined where files have no such owner. */
  readonly uid: number | undefined
  readonly platform: string
}

type Environment = Readonly<Record<string, string | undefined>>

/** Longest path of a unix socket in bytes: `sun_path` of the kernel, less the NUL at its end (unix(7), sys/un.h). */
const SOCKET_PATH_BYTES_MAX: Readonly<Record<string, number>> = { linux: 107, darwin: 103 }

/** The shortest limit of all, for systems that are not in the table. */
const SOCKET_PATH_BYTES_MAX_ELSEWHERE = 103

/** Rights that nobody but the owner may have. */
const WRITABLE_BY_OTHERS = 0o022
const OPEN_TO_OTHERS = 0o077

/**
 * Says where everything is, touching nothing: all in `STARLING_HOME`, or else where XDG puts it, and in `~/.config`,
 * `~/.local/state` and `~/.cache` where it does not say. The socket's place is the one that clients look at.
 *
 * @throws StarlingError HOME_UNUSABLE when neither `STARLING_HOME` nor `HOME` is set.
 */
export function resolveHome(env: Environment, uid: number | undefined, platform: string): Home {
  const socket = controlSocketPath(env, platform)
  const { config, state, cache } = env.STARLING_HOME ? within(resolve(env.STARLING_HOME)) : byXdg(env)
  return {
    config,
    state,
    database: join(state, 'starling.db'),
    identity: join(state, 'identity'),
    cache,
    socket: platform === 'win32' ? socket : resolve(socket),
    lock: join(state, 'lock'),
    logs: join(state, 'logs', 'starling.log'),
    uid,
    platform
  }
}

/**
 * Makes the directories (0700) and checks those that are there; our own are closed to others where they were open.
 * Idempotent.
 *
 * @throws StarlingError HOME_UNUSABLE when a directory belongs to another user, can be written by others, is a symbolic
 * link or no directory, cannot be written, or when the path of the socket is too long.
 */
export function prepareHome(home: Home): void {
  checkSocketPath(home)
  const own = [home.state, dirname(home.logs), home.cache]
  for (const directory of own) prepareDirectory(directory, home.uid, true)
  if (home.platform === 'win32') return
  const socketDirectory = dirname(home.socket)
  // STARLING_SOCKET may point into a directory that serves other things too: then it is checked only.
  const isOwn = socketDirectory.startsWith(home.state) || basename(socketDirectory) === 'starling'
  prepareDirectory(socketDirectory, home.uid, isOwn)
}

function within(directory: string): Pick<Home, 'config' | 'state' | 'cache'> {
  return { config: join(directory, 'config.yaml'), state: directory, cache: join(directory, 'cache') }
}

/** https://specifications.freedesktop.org/basedir-spec: a relative path in a variable is ignored. */
function byXdg(env: Environment): Pick<Home, 'config' | 'state' | 'cache'> {
  const place = (variable: string, ...fallBack: string[]) => {
    const value = env[variable]
    if (value?.startsWith('/')) return join(value, 'starling')
    const home = env.HOME || env.USERPROFILE
    if (home) return join(home, ...fallBack, 'starling')
    throw unusable(`neither ${variable} nor HOME is set`, 'set STARLING_HOME to a directory of your own')
  }
  return {
    config: join(place('XDG_CONFIG_HOME', '.config'), 'config.yaml'),
    state: place('XDG_STATE_HOME', '.local', 'state'),
    cache: place('XDG_CACHE_HOME', '.cache')
  }
}

function checkSocketPath({ socket, platform }: Home): void {
  if (platform === 'win32') return
  const limit = SOCKET_PATH_BYTES_MAX[platform] ?? SOCKET_PATH_BYTES_MAX_ELSEWHERE
  const length = Buffer.byteLength(socket)
  if (length <= limit) return
  throw unusable(
    `the path of the control socket is too long: ${socket} has ${length} bytes, the system allows ${limit}`,
    'set STARLING_HOME to a directory with a shorter path'
  )
}

function prepareDirectory(path: string, uid: number | undefined, isOwn: boolean): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw unusable(`cannot make the directory ${path}: ${messageOf(error)}`, `make it yourself, or ${ELSEWHERE}`, error)
  }
  const { mode, uid: owner, ...entry } = statOf(path)
  if (entry.isLink) throw unusable(`${path} is a symbolic link`, `put a directory in its place, or ${ELSEWHERE}`)
  if (uid !== undefined && owner !== uid) {
    throw unusable(
      `${path} belongs to another user (uid ${owner}, the daemon runs as ${uid})`,
      `change its owner, or ${ELSEWHERE}`
    )
  }
  if (uid !== undefined && (mode & WRITABLE_BY_OTHERS) !== 0) {
    throw unusable(
      `${path} can be written by other users (mode ${(mode & 0o777).toString(8)})`,
      `run: chmod 700 ${path}`
    )
  }
  try {
    if (uid !== undefined && isOwn && (mode & OPEN_TO_OTHERS) !== 0) chmodSync(path, 0o700)
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable(
      `${path} cannot be written: ${messageOf(error)}`,
      `check its mode and its file system, or ${ELSEWHERE}`,
      error
    )
  }
}

/** mkdir accepts a link to a directory; so the entry itself is looked at. */
function statOf(path: string): { mode: number; uid: number; isLink: boolean } {
  const stat = lstatSync(path)
  return { mode: stat.mode, uid: stat.uid, isLink: stat.isSymbolicLink() }
}

const ELSEWHERE = 'set STARLING_HOME to another directory'

function unusable(message: string, hint: string, cause?: unknown): StarlingError {
  return new StarlingError('HOME_UNUSABLE', message, { hint, cause })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
