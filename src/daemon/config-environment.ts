import { nearest } from './nearest.ts'

export type Environment = Readonly<Record<string, string | undefined>>

type Parse = (text: string) => unknown

const text: Parse = value => value
const list: Parse = value =>
  value
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '')
/** Anything else stays text, so that the schema refuses it. */
const flag: Parse = value => ({ true: true, '1': true, false: false, '0': false })[value] ?? value

/** Variables that set a key of the configuration. */
const VARIABLES: Readonly<Record<string, { readonly path: readonly string[]; readonly parse: Parse }>> = {
  STARLING_NAME: { path: ['name'], parse: text },
  STARLING_LISTEN: { path: ['listen'], parse: list },
  STARLING_DISCOVERY_MDNS: { path: ['discovery', 'mdns'], parse: flag },
  STARLING_DISCOVERY_PEERS: { path: ['discovery', 'peers'], parse: list },
  STARLING_LOG_LEVEL: { path: ['log', 'level'], parse: text }
}

/** Variables with another meaning: where the home is, and what a task gets, which may itself start a daemon. */
const OTHER_VARIABLES: readonly string[] = [
  'STARLING_HOME',
  'STARLING_SOCKET',
  'STARLING_TASK',
  'STARLING_ATTEMPT',
  'STARLING_FENCING_TOKEN',
  'STARLING_JAIL'
]

export interface EnvironmentValues {
  readonly values: Record<string, unknown>
  /** Name of the variable that set the key at `path`. */
  locate(path: readonly PropertyKey[]): string
  /** One line per `STARLING_*` variable that means nothing. */
  readonly problems: readonly string[]
}

/** Reads the `STARLING_*` variables. An empty value counts as unset; lists are separated by commas. */
export function readEnvironment(environment: Environment): EnvironmentValues {
  const values: Record<string, unknown> = {}
  const problems: string[] = []
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith('STARLING_') || value === undefined) continue
    const known = Object.hasOwn(VARIABLES, variable) ? VARIABLES[variable] : undefined
    if (known === undefined && !OTHER_VARIABLES.includes(variable)) problems.push(unknownVariable(variable))
    if (known !== undefined && value !== '') assign(values, known.path, known.parse(value))
  }
  return { values, problems, locate: path => `environment variable ${variableOf(path)}` }
}

function unknownVariable(variable: string): string {
  const meant = nearest(variable, Object.keys(VARIABLES))
  return `unknown environment variable ${variable}${meant === undefined ? '' : `; did you mean ${meant}?`}`
}

function variableOf(path: readonly PropertyKey[]): string {
  const known = Object.entries(VARIABLES).find(([, { path: own }]) => own.every((step, index) => step === path[index]))
  return known?.[0] ?? path.join('.')
}

function assign(values: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first = '', second] = path
  values[first] = second === undefined ? value : { ...(values[first] as object | undefined), [second]: value }
}
