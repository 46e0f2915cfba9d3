import { StarlingError } from '../../core/index.ts'

/** Arguments of one command; far below what systems take, far above what people write. */
export const COMMAND_ARGUMENTS_MAX = 1_000

/** One argument after its placeholders are filled: Linux takes 128 KiB with the final NUL (MAX_ARG_STRLEN). */
export const ARGUMENT_BYTES_MAX = 128 * 1024 - 1

/** `{input}` or `{input.key.key}`; keys are anything without dots and braces. */
const PLACEHOLDER = /\{input((?:\.[^.{}]+)*)\}/g

/** What begins like a placeholder; found in the text between placeholders it is a mistake. */
const NEARLY_PLACEHOLDER = /\{input(?![A-Za-z0-9_-])/

/** A command whose arguments take values from the input of a task. */
export interface ArgvTemplate {
  readonly program: string
  readonly arguments: readonly TemplateArgument[]
}

/** Pieces of one argument in order. */
export type TemplateArgument = readonly (string | Placeholder)[]

export interface Placeholder {
  /** Keys from the input down; empty for the input itself. */
  readonly path: readonly string[]
}

/**
 * Reads a configured command: its program, then its arguments.
 * @throws StarlingError CONFIG_INVALID
 */
export function parseArgvTemplate(command: readonly string[]): ArgvTemplate {
  const [program, ...rest] = command
  if (program === undefined || program === '') throw invalid('a command needs a program as its first item')
  if (command.length > COMMAND_ARGUMENTS_MAX) throw invalid(`a command has at most ${COMMAND_ARGUMENTS_MAX} items`)
  if (command.some(item => item.includes('\0'))) throw invalid('a command may not hold NUL characters')
  if (NEARLY_PLACEHOLDER.test(program)) {
    throw invalid('the program of a command may not come from the input', 'name the program, use {input...} after it')
  }
  return { program, arguments: rest.map(parseArgument) }
}

/**
 * The arguments for one input: as many as the template has, whatever the values hold. Each value is inserted as it is,
 * without quotes, and is never read again: neither by a shell nor for placeholders.
 *
 * A value may begin with `-`, and programs may take it for an option: put `--` before such a placeholder.
 * @throws StarlingError INVALID_INPUT when a value is missing, is no string, number or boolean, holds NUL or is too long
 */
export function fillArgv(template: ArgvTemplate, input: unknown): string[] {
  return template.arguments.map(pieces => {
    const argument = pieces.map(piece => (typeof piece === 'string' ? piece : valueAt(input, piece))).join('')
    if (Buffer.byteLength(argument) > ARGUMENT_BYTES_MAX) {
      throw new StarlingError('INVALID_INPUT', `an argument would be longer than ${ARGUMENT_BYTES_MAX} bytes`, {
        hint: 'read the input from stdin instead of a placeholder'
      })
    }
    return argument
  })
}

function parseArgument(argument: string): TemplateArgument {
  const pieces: (string | Placeholder)[] = []
  let end = 0
  for (const match of argument.matchAll(PLACEHOLDER)) {
    if (match.index > end) pieces.push(argument.slice(end, match.index))
    pieces.push({ path: (match[1] ?? '').split('.').slice(1) })
    end = match.index + match[0].length
  }
  if (end < argument.length) pieces.push(argument.slice(end))
  if (pieces.some(piece => typeof piece === 'string' && NEARLY_PLACEHOLDER.test(piece))) {
    throw invalid(`${JSON.stringify(argument)} has a malformed placeholder`, 'write {input} or {input.key}')
  }
  return pieces
}

function valueAt(input: unknown, { path }: Placeholder): string {
  const name = `{${['input', ...path].join('.')}}`
  let value = input
  for (const key of path) {
    // Own properties only: `constructor` or `length` of whatever it is are no input.
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) throw missing(name)
    if (Array.isArray(value) && !/^\d+$/.test(key)) throw missing(name)
    value = Reflect.get(value, key)
  }
  if (value === undefined) throw missing(name)
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw new StarlingError('INVALID_INPUT', `the value for ${name} is no string, number or boolean`)
  }
  const text = String(value)
  if (text.includes('\0')) throw new StarlingError('INVALID_INPUT', `the value for ${name} holds a NUL character`)
  if (!text.isWellFormed()) throw new StarlingError('INVALID_INPUT', `the value for ${name} is no well-formed Unicode`)
  return text
}

function missing(name: string): StarlingError {
  return new StarlingError('INVALID_INPUT', `the input has no value for ${name}`)
}

function invalid(message: string, hint?: string): StarlingError {
  return new StarlingError('CONFIG_INVALID', message, { hint })
}
