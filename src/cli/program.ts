import { Command, CommanderError } from 'commander'
import { StarlingError } from '../wire/errors.ts'
import { Cli } from './cli.ts'
import { asStarlingError, printProblem } from './output/problem.ts'
import { programVersion } from './version.ts'

/** What a file in `commands/` exports. */
export interface CommandModule {
  /** Adds the command to the program. Its action leaves the exit code in `cli`, and throws a StarlingError. */
  register(program: Command, cli: Cli): void
}

/** All commands, in the order of the help text. Only the one that is called is loaded: each file costs start time. */
export const COMMANDS: Readonly<Record<string, () => Promise<CommandModule>>> = {
  up: () => import('./commands/up.ts'),
  down: () => import('./commands/down.ts'),
  status: () => import('./commands/status.ts'),
  peers: () => import('./commands/peers.ts'),
  drain: () => import('./commands/drain.ts'),
  agents: () => import('./commands/agents.ts'),
  run: () => import('./commands/run.ts'),
  submit: () => import('./commands/submit.ts'),
  wait: () => import('./commands/wait.ts'),
  jobs: () => import('./commands/jobs.ts'),
  job: () => import('./commands/job.ts'),
  cancel: () => import('./commands/cancel.ts'),
  spawn: () => import('./commands/spawn.ts'),
  logs: () => import('./commands/logs.ts'),
  events: () => import('./commands/events.ts'),
  token: () => import('./commands/token.ts'),
  join: () => import('./commands/join.ts'),
  doctor: () => import('./commands/doctor.ts'),
  demo: () => import('./commands/demo.ts'),
  sim: () => import('./commands/sim.ts'),
  version: () => import('./commands/version.ts'),
  completion: () => import('./commands/completion.ts'),
  __complete: () => import('./commands/complete.ts')
}

const EXAMPLES = `
Examples:
  starling up                            start the daemon on this machine
  starling token create                  let another machine in
  starling peers                         who is there, and what they can do
  starling run lint '{"dir": "src"}'     hand in a job and wait for its result
  starling submit index . --id nightly   hand in a job once, whatever happens
  starling job ID                        who did what, and why there
`

/** Runs one command line, without the program's name; leaves the exit code in `process.exitCode` and ends the process. */
export async function runCli(argv: readonly string[]): Promise<void> {
  const cli = new Cli({ stdout: process.stdout, stderr: process.stderr, stdin: process.stdin }, process.env)
  process.exitCode = await runCommand(cli, argv)
  await cli.terminal.flush()
  // A library may keep a socket or a timer; nothing that counts is open any more.
  process.exit()
}

/** Runs one command line without its program's name. Never throws: errors are printed. @returns the exit code */
export async function runCommand(cli: Cli, argv: readonly string[]): Promise<number> {
  try {
    const program = await commandTree(cli, argv[0])
    if (argv.length === 0) program.outputHelp()
    else await program.parseAsync(argv, { from: 'user' })
    return cli.exitCode
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      if (thrown.exitCode === 0) return 0
      // Help instead of a command, written by commander already.
      if (thrown.code === 'commander.help') return 2
    }
    const error = thrown instanceof CommanderError ? usageError(thrown, argv) : asStarlingError(thrown)
    return printProblem(cli.terminal, error, wantsJson(argv))
  }
}

/** The program with the command `verb`; with all commands when `verb` is none, for help, suggestions and completion. */
export async function commandTree(cli: Cli, verb: string | undefined): Promise<Command> {
  const program = new Command('starling')
    .description('One pool out of the AI agents and workers on your machines.')
    .version(programVersion(), '-V, --version', 'print the version of the program')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .configureOutput({
      writeOut: text => cli.terminal.raw(text),
      writeErr: text => cli.terminal.note(text.trimEnd()),
      outputError: () => {}
    })
  const one = verb === undefined || !Object.hasOwn(COMMANDS, verb) ? undefined : COMMANDS[verb]
  const loaders = one === undefined ? Object.values(COMMANDS) : [one]
  for (const module of await Promise.all(loaders.map(load => load()))) module.register(program, cli)
  return program
}

function usageError(error: CommanderError, argv: readonly string[]): StarlingError {
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n')
  const verb = argv[0] !== undefined && Object.hasOwn(COMMANDS, argv[0]) ? `${argv[0]} ` : ''
  return new StarlingError('INVALID_INPUT', message, {
    hint: suggestion?.replace(/^\((.*)\)$/, '$1') ?? `see: starling ${verb}--help`
  })
}

/** Whether JSON was asked for, read from the bare arguments because they may be what is wrong. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end < 0 ? undefined : end).includes('--json')
}
