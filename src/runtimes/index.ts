/**
 * Adapters that run attempts of tasks: `command` starts a process for each, `function` hands them to SDK workers. Beside
 * them the jails that hold processes, and what all runtimes share: how attempts end and how their logs are bounded.
 *
 * A daemon makes one `processJails` and one `functionRuntime`, calls `reapLeftovers` before it takes work, and when it
 * stops closes the jails after all runtimes.
 */
export { LOG_CHARS_MAX, LOG_LINE_CHARS_MAX, LOG_LINES_PER_SECOND_MAX } from './attempt-log.ts'
export {
  ARGUMENT_BYTES_MAX,
  type ArgvTemplate,
  COMMAND_ARGUMENTS_MAX,
  type CommandRuntimeInit,
  commandRuntime,
  fillArgv,
  type Placeholder,
  parseArgvTemplate,
  type TemplateArgument
} from './command/index.ts'
export {
  ABORT_GRACE_MS,
  type FunctionRuntimes,
  FunctionWorkers,
  type FunctionWorkersInit,
  functionRuntime,
  WORKERS_MAX
} from './function/index.ts'
export {
  JAIL_VARIABLE,
  type JailKind,
  KILL_GRACE_MS,
  ProcessJails,
  type ProcessJailsInit,
  processJails,
  type ReapLeftoversInit,
  reapLeftovers
} from './jail/index.ts'
