import type { Argument, Command, Option } from 'commander'

/** Where the words for a value come from: asked of the daemon, files, fixed words, or nowhere. */
export type Words =
  | { readonly kind: 'ask'; readonly what: 'peers' | 'jobs' | 'tasks' | 'capabilities' }
  | { readonly kind: 'files' }
  | { readonly kind: 'fixed'; readonly words: readonly string[] }
  | { readonly kind: 'none' }

export interface CompletionFlag {
  readonly flag: string
  readonly description: string
  /** Undefined when the flag takes no value. */
  readonly value: Words | undefined
}

/** One command as a shell needs to know it. `argument` is about the first word that is no flag. */
export interface CompletionCommand {
  readonly name: string
  readonly description: string
  readonly flags: readonly CompletionFlag[]
  readonly argument: Words
}

/** Values that a shell can ask for, by the name of the argument or flag that takes them. */
const ASKED: Readonly<Record<string, Words>> = {
  job: { kind: 'ask', what: 'jobs' },
  task: { kind: 'ask', what: 'tasks' },
  capability: { kind: 'ask', what: 'capabilities' },
  peer: { kind: 'ask', what: 'peers' },
  '--on': { kind: 'ask', what: 'peers' },
  '--socket': { kind: 'files' }
}

const NONE: Words = { kind: 'none' }

/** The commands of the program, without the hidden ones. A command with subcommands takes flags of all of them. */
export function completionModel(program: Command): CompletionCommand[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .filter(command => command.name() !== 'help')
    .map(command => {
      const { commands } = command
      const flags = [command, ...commands].flatMap(each => each.options.filter(option => !option.hidden).map(flag))
      return {
        name: command.name(),
        description: command.description(),
        flags: [...flags, { flag: '--help', description: 'show the help of this command', value: undefined }],
        argument:
          commands.length > 0
            ? { kind: 'fixed', words: commands.map(each => each.name()) }
            : words(command.registeredArguments[0])
      }
    })
}

function flag(option: Option): CompletionFlag {
  const name = option.long ?? option.short ?? ''
  const takesValue = option.required || option.optional
  return { flag: name, description: option.description, value: takesValue ? (ASKED[name] ?? NONE) : undefined }
}

function words(argument: Argument | undefined): Words {
  if (argument?.argChoices !== undefined) return { kind: 'fixed', words: argument.argChoices }
  return ASKED[argument?.name() ?? ''] ?? NONE
}
