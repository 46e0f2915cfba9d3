import { StarlingError } from '../core/errors.ts'

/** Variables that say where a daemon lives. An empty value counts as unset. */
export interface PlacesEnvironment {
  readonly STARLING_SOCKET?: string | undefined
  readonly STARLING_HOME?: string | undefined
  readonly XDG_RUNTIME_DIR?: string | undefined
  readonly XDG_STATE_HOME?: string | undefined
  readonly HOME?: string | undefined
  readonly USERNAME?: string | undefined
}

/**
 * Path of the control socket: the same rule for the daemon that makes it and for the programs that look for it.
 * `STARLING_SOCKET`, else in `STARLING_HOME`, else in `XDG_RUNTIME_DIR`, else under the state directory. A relative
 * `XDG_*` path is ignored, as its specification demands. On Windows it is the name of a pipe.
 *
 * @throws StarlingError HOME_UNUSABLE when the variables name no place at all.
 */
export function controlSocketPath(env: PlacesEnvironment, platform: string = 'linux'): string {
  if (env.STARLING_SOCKET) return env.STARLING_SOCKET
  if (platform === 'win32') return pipeName(env)
  if (env.STARLING_HOME) return `${withoutSlash(env.STARLING_HOME)}/run/starling.sock`
  const runtime = absolute(env.XDG_RUNTIME_DIR)
  if (runtime !== undefined) return `${runtime}/starling/starling.sock`
  const state = absolute(env.XDG_STATE_HOME) ?? (env.HOME ? `${withoutSlash(env.HOME)}/.local/state` : undefined)
  if (state !== undefined) return `${state}/starling/run/starling.sock`
  throw new StarlingError('HOME_UNUSABLE', 'there is no place for the control socket: HOME is not set', {
    hint: 'set STARLING_HOME to a directory of your own'
  })
}

/** Pipes live in one flat name space: the home, or else the user, makes the name its own. */
function pipeName(env: PlacesEnvironment): string {
  const owner = env.STARLING_HOME || env.USERNAME || 'default'
  return `\\\\.\\pipe\\starling-${owner.replace(/[^A-Za-z0-9.-]+/g, '-')}`
}

function absolute(path: string | undefined): string | undefined {
  return path?.startsWith('/') ? withoutSlash(path) : undefined
}

function withoutSlash(path: string): string {
  return path.replace(/(?<=.)\/+$/, '')
}
