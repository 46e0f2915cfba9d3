/**
 * The command line `starling`: parse, ask the daemon through the SDK, print. One file per verb in `commands/`, listed
 * in `program.ts`; `output/` and `input/` hold what the verbs share. Nothing here decides anything about work: two
 * programs that ask the same daemon see the same facts.
 *
 * Human output: data on stdout; progress, verdicts and diagnostics on stderr. `--json`: one document on stdout, also for
 * errors. Exit codes come from the table of error codes, or from the verdict of a job.
 */
export { Cli, type CliStreams } from './cli.ts'
export { COMMANDS, commandTree, runCli, runCommand } from './program.ts'
