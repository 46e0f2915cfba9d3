import { isIP, isIPv4, isIPv6 } from 'node:net'
import * as z from 'zod'
import { StarlingError } from '../core/errors.ts'
import {
  CAPABILITIES_MAX,
  CAPABILITY_NAME_CHARS_MAX,
  CAPABILITY_NAME_PATTERN,
  PEERS_MAX,
  SLOTS_MAX
} from '../core/limits.ts'
import { parseDuration } from './duration.ts'

/** Addresses to listen on: what an advertisement can carry. */
export const LISTEN_ADDRESSES_MAX = 16

/** Characters of a daemon's name: a host name fits, and tables stay readable. */
export const NAME_CHARS_MAX = 64

/** Program and arguments of one command; more belongs into a script. */
export const COMMAND_WORDS_MAX = 256

/** Variables that one capability hands to its command. */
export const ENVIRONMENT_MAX = 128

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Runtimes and keys of later versions: refused by name, not as a typing error. */
export const LATER_RUNTIMES: readonly string[] = ['claude', 'acp', 'codex', 'gemini', 'opencode']
export const LATER_KEYS: readonly string[] = ['models']

const name = z
  .string()
  .max(NAME_CHARS_MAX, { error: `longer than ${NAME_CHARS_MAX} characters` })
  .regex(/^[^\s\p{C}/:,]+$/u, { error: 'a name has no spaces, slashes, colons or commas, and is not empty' })

const listenAddress = z.string().refine(isListenAddress, {
  error: 'expected a multiaddr to listen on, like /ip4/0.0.0.0/tcp/4001 or /ip6/::/tcp/0'
})

const peerAddress = z.string().refine(isPeerAddress, {
  error: 'expected a multiaddr, like /ip4/192.0.2.7/tcp/4001 or /dns/host/tcp/4001, with or without /p2p/PEERID'
})

/** Names as in docker-compose: a list takes values from the daemon's environment, a map gives them. */
const environment = z
  .union([z.array(z.string()).max(ENVIRONMENT_MAX), z.record(z.string(), z.string())], {
    error: 'expected a list of variable names, or a map of names and texts'
  })
  .superRefine((value, context) => {
    const names = Array.isArray(value) ? value : Object.keys(value)
    if (names.length > ENVIRONMENT_MAX) context.addIssue(`more than ${ENVIRONMENT_MAX} variables`)
    for (const variable of names) {
      const complaint = variableComplaint(variable)
      if (complaint !== undefined) context.addIssue(complaint)
    }
  })

const timeout = z
  .union([z.string(), z.number()], { error: 'expected a duration like 30s or 10m' })
  .transform((value, context) => {
    try {
      return parseDuration(value)
    } catch (error) {
      if (!(error instanceof StarlingError)) throw error
      context.addIssue(`${error.message}; ${error.hint}`)
      return z.NEVER
    }
  })

const word = z.string().refine(text => !text.includes('\0'), { error: 'holds a NUL character' })

const capability = z.strictObject({
  runtime: z.literal('command', { error: issue => runtimeComplaint(issue.input) }),
  command: z
    .array(word)
    .min(1, { error: 'expected the program and its arguments' })
    .max(COMMAND_WORDS_MAX, { error: `more than ${COMMAND_WORDS_MAX} words` })
    .refine(words => words[0] !== '', { error: 'the program is empty' }),
  cwd: word.min(1, { error: 'expected a directory' }).optional(),
  slots: z
    .int({ error: 'expected a whole number' })
    .min(1, { error: 'a capability has at least 1 slot' })
    .max(SLOTS_MAX, { error: `a capability has at most ${SLOTS_MAX} slots` })
    .optional(),
  timeout: timeout.optional(),
  env: environment.optional()
})

const capabilityName = z
  .string()
  .max(CAPABILITY_NAME_CHARS_MAX)
  .regex(CAPABILITY_NAME_PATTERN, {
    error: `a capability is named with a-z, 0-9 and . _ / - between them, at most ${CAPABILITY_NAME_CHARS_MAX} characters`
  })

/** What one source (file, environment, flags) may say; everything is optional, nothing else is allowed. */
export const configSchema = z.strictObject({
  name: name.optional(),
  listen: z
    .array(listenAddress)
    .min(1, { error: 'expected at least one address' })
    .max(LISTEN_ADDRESSES_MAX, { error: `more than ${LISTEN_ADDRESSES_MAX} addresses` })
    .optional(),
  discovery: z
    .strictObject({
      mdns: z.boolean().optional(),
      peers: z
        .array(peerAddress)
        .max(PEERS_MAX, { error: `more than ${PEERS_MAX} addresses` })
        .optional()
    })
    .optional(),
  capabilities: z
    .record(capabilityName, capability)
    .refine(value => Object.keys(value).length <= CAPABILITIES_MAX, {
      error: `more than ${CAPABILITIES_MAX} capabilities`
    })
    .optional(),
  log: z
    .strictObject({ level: z.enum(LOG_LEVELS, { error: `expected one of ${LOG_LEVELS.join(', ')}` }).optional() })
    .optional()
})

export type ConfigValues = z.infer<typeof configSchema>

/** Keys that are valid in the map at `path`, for suggestions. */
export function validKeys(path: readonly PropertyKey[]): string[] {
  const [top, , deeper] = path
  if (top === undefined) return Object.keys(configSchema.shape)
  if (top === 'discovery') return ['mdns', 'peers']
  if (top === 'log') return ['level']
  if (top === 'capabilities' && deeper === undefined) return Object.keys(capability.shape)
  return []
}

function runtimeComplaint(input: unknown): string {
  if (input === undefined) return 'missing; expected runtime: command'
  if (typeof input === 'string' && LATER_RUNTIMES.includes(input)) {
    return `runtime ${input} is not available in this version; available: command`
  }
  return `unknown runtime ${JSON.stringify(input)}; available: command`
}

function variableComplaint(variable: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable)) return `${JSON.stringify(variable)} is no name of a variable`
  if (variable.startsWith('STARLING_')) return `${variable} is set by the daemon itself`
  return undefined
}

function isListenAddress(text: string): boolean {
  const [empty, protocol, host = '', tcp, port, ...rest] = text.split('/')
  const isHost = protocol === 'ip4' ? isIPv4(host) : protocol === 'ip6' && isIPv6(host)
  return empty === '' && isHost && tcp === 'tcp' && isPort(port) && rest.length === 0
}

function isPeerAddress(text: string): boolean {
  const [empty, protocol = '', host = '', tcp, port, p2p, id, ...rest] = text.split('/')
  const isName = ['dns', 'dns4', 'dns6'].includes(protocol) && /^[A-Za-z0-9._-]{1,253}$/.test(host)
  const isHost = isName || (protocol === 'ip4' && isIP(host) === 4) || (protocol === 'ip6' && isIP(host) === 6)
  const isPeer = p2p === undefined || (p2p === 'p2p' && id !== undefined && /^[1-9A-HJ-NP-Za-km-z]{8,64}$/.test(id))
  return empty === '' && isHost && tcp === 'tcp' && isPort(port) && port !== '0' && isPeer && rest.length === 0
}

function isPort(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,5}$/.test(text) && Number(text) <= 65_535
}
