import { spawnSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync
} from 'node:fs'
import { join, relative } from 'node:path'
import type { Logger } from '../../ports/index.ts'

/**
 * Control groups (version 2) as jails: a process cannot leave its group, whatever it does to its session, its parent
 * or its environment, and one write kills all of it. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst.
 *
 * All functions are synchronous: these are files of the kernel, a call takes tens of microseconds.
 */

/**
 * Program that enters the control group whose `cgroup.procs` is its first argument and then becomes the program in its
 * further arguments. They are never read as shell text. 125: could not enter, as env(1) and timeout(1) use it.
 */
export const ENTER_SCRIPT = 'echo 0 > "$0" || exit 125; exec "$@"'

export const SHELL = '/bin/sh'

/** The first try of a shell to enter a group, on a machine under load. */
const PROBE_TIMEOUT_MS = 5_000

/**
 * Directory of the control group that this process is in; undefined when there is no version 2, it is older than
 * `cgroup.kill` (Linux 5.14), or it lies outside of what is mounted here.
 */
export function ownCgroup(): string | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]
    if (own === undefined || own.startsWith('/..')) return undefined
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      // proc_pid_mountinfo(5): fields 4 and 5 are root and mount point, " - " precedes the type.
      const [mount, type] = line.split(' - ')
      const [, , , root, point] = mount?.split(' ') ?? []
      if (!type?.startsWith('cgroup2 ') || root === undefined || point === undefined) continue
      const inside = relative(root, own)
      if (!inside.startsWith('..')) return join(point, inside)
    }
  } catch {
    // No such files: this system has no control groups.
  }
  return undefined
}

/** Whether processes of this user can be put into a new group below `parent`: tried with a real one. */
export function cgroupWritable(parent: string, probeName: string): boolean {
  const probe = join(parent, probeName)
  try {
    accessSync(join(parent, 'cgroup.procs'), constants.W_OK)
    mkdirSync(probe)
  } catch {
    // Read-only or another user's: the answer of this function.
    return false
  }
  const tried = spawnSync(SHELL, ['-c', ENTER_SCRIPT, join(probe, 'cgroup.procs'), 'true'], {
    timeout: PROBE_TIMEOUT_MS,
    stdio: 'ignore'
  })
  const usable = tried.status === 0 && existsSync(join(probe, 'cgroup.kill'))
  removeCgroup(probe)
  return usable
}

/** One group with the groups below it. */
export class Cgroup {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  get procsFile(): string {
    return join(this.#directory, 'cgroup.procs')
  }

  /** The groups below it whose names are meant; none when there is no such directory any more. */
  children(isMeant: (name: string) => boolean): Cgroup[] {
    if (!existsSync(this.#directory)) return []
    const entries = readdirSync(this.#directory, { withFileTypes: true })
    const meant = entries.filter(entry => entry.isDirectory() && isMeant(entry.name))
    return meant.map(({ name }) => new Cgroup(join(this.#directory, name)))
  }

  /** @throws the error of mkdir(2). */
  create(): void {
    mkdirSync(this.#directory, { recursive: true })
  }

  /** No living process is in it (zombies do not count). True also when it has been removed. */
  empty(): boolean {
    const events = readOrGone(join(this.#directory, 'cgroup.events'))
    return events === undefined || !events.includes('populated 1')
  }

  /** May lack processes that live in it; only `empty` says that there are none. */
  pids(): number[] {
    const pids: number[] = []
    walk(this.#directory, directory => {
      for (const line of (readOrGone(join(directory, 'cgroup.procs')) ?? '').split('\n')) {
        // 0 stands for a process of another pid namespace, which has no number here.
        if (Number(line) > 1) pids.push(Number(line))
      }
    })
    return pids
  }

  /** SIGKILL to all at once, forks in flight included. */
  kill(): void {
    try {
      writeFileSync(join(this.#directory, 'cgroup.kill'), '1')
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }

  /** Removes it with the groups below. False when something still lives in it. */
  remove(): boolean {
    return removeCgroup(this.#directory)
  }
}

/** Groups directly below `parent` whose name begins with `prefix`. */
export function cgroupsNamed(parent: string, prefix: string, logger: Logger): { name: string; cgroup: Cgroup }[] {
  try {
    return readdirSync(parent)
      .filter(name => name.startsWith(prefix))
      .map(name => ({ name, cgroup: new Cgroup(join(parent, name)) }))
  } catch (error) {
    // Absent where nothing has ever used control groups here.
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    logger[absent ? 'debug' : 'warn']('cannot list control groups', { directory: parent, error })
    return []
  }
}

function removeCgroup(directory: string): boolean {
  let removed = true
  walk(directory, each => {
    try {
      rmdirSync(each)
    } catch (error) {
      if (!isGone(error)) removed = false
    }
  })
  return removed
}

/** Calls `visit` for all groups below `directory` and last for itself. */
function walk(directory: string, visit: (directory: string) => void): void {
  let entries: { name: string; isDirectory(): boolean }[]
  try {
    entries = readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    if (isGone(error)) return
    throw error
  }
  for (const entry of entries) if (entry.isDirectory()) walk(join(directory, entry.name), visit)
  visit(directory)
}

function readOrGone(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** Removed: ENODEV is what its open files answer. Or made threaded by the task (EOPNOTSUPP): then it has no list. */
function isGone(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return error.code === 'ENOENT' || error.code === 'ENODEV' || error.code === 'EOPNOTSUPP'
}
