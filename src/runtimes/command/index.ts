/** Runtime `command`: a process per attempt, as the host's owner has configured it. */
export {
  ARGUMENT_BYTES_MAX,
  type ArgvTemplate,
  COMMAND_ARGUMENTS_MAX,
  fillArgv,
  type Placeholder,
  parseArgvTemplate,
  type TemplateArgument
} from './argv-template.ts'
export { type CommandRuntimeInit, commandRuntime } from './command-runtime.ts'
