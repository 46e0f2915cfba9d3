import { availableParallelism, hostname } from 'node:os'
import { dirname, resolve } from 'node:path'
import { SLOTS_MAX } from '../core/limits.ts'
import { type Environment, readEnvironment } from './config-environment.ts'
import { readConfigFile } from './config-file.ts'
import { describeIssues, refuse } from './config-problems.ts'
import { type ConfigValues, configSchema, type LogLevel, NAME_CHARS_MAX } from './config-schema.ts'

export type { Environment } from './config-environment.ts'
export type { LogLevel } from './config-schema.ts'
export { parseDuration } from './duration.ts'

/** What a daemon is told by its owner, complete and frozen. */
export interface Config {
  /** Shown to people; not unique. */
  readonly name: string
  /** Multiaddrs. */
  readonly listen: readonly string[]
  readonly discovery: {
    readonly mdns: boolean
    /** Multiaddrs that are tried as well. */
    readonly peers: readonly string[]
  }
  readonly capabilities: readonly CommandCapability[]
  readonly log: { readonly level: LogLevel }
}

/** A capability that is served by starting a command for each task. */
export interface CommandCapability {
  readonly name: string
  readonly runtime: 'command'
  /** Program and arguments; never a shell. */
  readonly command: readonly string[]
  /** Absolute; undefined: that of the daemon. In the file relative to the file. */
  readonly cwd: string | undefined
  readonly slots: number
  /** Undefined: no timeout. */
  readonly timeoutMs: number | undefined
  /** Variables beside the clean environment. */
  readonly env: Readonly<Record<string, string>>
}

/** What the command line says; the strongest source. */
export interface ConfigFlags {
  readonly name?: string | undefined
  readonly listen?: readonly string[] | undefined
  readonly peers?: readonly string[] | undefined
  readonly mdns?: boolean | undefined
}

export interface ConfigSources {
  /** The YAML file; it need not exist. */
  readonly path: string
  readonly env: Environment
  readonly flags?: ConfigFlags | undefined
}

type Locate = (path: readonly PropertyKey[]) => string

/**
 * Defaults < file < environment (`STARLING_*`) < flags; a list in a stronger source replaces the weaker one.
 *
 * @throws StarlingError CONFIG_INVALID naming every unknown key or wrong value with its file, line and column, its
 * variable, or its flag.
 */
export function loadConfig(sources: ConfigSources): Config {
  const file = readConfigFile(sources.path)
  const environment = readEnvironment(sources.env)
  const problems: string[] = []
  const check = (values: unknown, locate: Locate): ConfigValues => {
    const result = configSchema.safeParse(values)
    if (result.success) return result.data
    problems.push(...describeIssues(result.error.issues, values, locate))
    return {}
  }
  const layers = [
    file?.values === undefined ? {} : check(file.values, file.locate),
    check(environment.values, environment.locate),
    check(flagValues(sources.flags ?? {}), locateFlag)
  ]
  problems.push(...environment.problems)
  refuse(problems)
  return deepFreeze(complete(layers, sources))
}

function complete(layers: readonly ConfigValues[], sources: ConfigSources): Config {
  const merged: ConfigValues = Object.assign({}, ...layers.map(defined))
  const discovery: ConfigValues['discovery'] = Object.assign({}, ...layers.map(layer => defined(layer.discovery ?? {})))
  const level = layers.findLast(layer => layer.log?.level !== undefined)?.log?.level
  return {
    name: merged.name ?? defaultName(),
    listen: merged.listen ?? ['/ip4/0.0.0.0/tcp/0'],
    discovery: { mdns: discovery?.mdns ?? true, peers: discovery?.peers ?? [] },
    capabilities: Object.entries(merged.capabilities ?? {}).map(([name, capability]) => ({
      name,
      runtime: capability.runtime,
      command: capability.command,
      cwd: capability.cwd === undefined ? undefined : resolve(dirname(sources.path), capability.cwd),
      slots: capability.slots ?? Math.min(availableParallelism(), SLOTS_MAX),
      timeoutMs: capability.timeout,
      env: taskEnvironment(capability.env ?? {}, sources.env)
    })),
    log: { level: level ?? 'info' }
  }
}

/** A listed variable that the daemon does not have is left out. */
function taskEnvironment(wanted: readonly string[] | Record<string, string>, own: Environment): Record<string, string> {
  if (!Array.isArray(wanted)) return { ...(wanted as Record<string, string>) }
  return Object.fromEntries(wanted.flatMap(name => (own[name] === undefined ? [] : [[name, own[name]]])))
}

function flagValues(flags: ConfigFlags): Record<string, unknown> {
  const discovery = defined({ mdns: flags.mdns, peers: flags.peers })
  return defined({
    name: flags.name,
    listen: flags.listen,
    discovery: Object.keys(discovery).length === 0 ? undefined : discovery
  })
}

function locateFlag(path: readonly PropertyKey[]): string {
  if (path[0] === 'discovery') return path[1] === 'peers' ? 'flag --peer' : 'flag --no-mdns'
  return `flag --${String(path[0])}`
}

/** Host names may hold what names may not. */
function defaultName(): string {
  const name = hostname()
    .replace(/[\s\p{C}/:,]+/gu, '-')
    .slice(0, NAME_CHARS_MAX)
  return name === '' ? 'unnamed' : name
}

function defined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
