import { StarlingError } from '../../core/index.ts'
import type { TaskStart } from '../../ports/index.ts'

/** Variables that a task gets from the daemon's own environment; nothing else of it, so no key of any service. */
const INHERITED = new Set(['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'USER', 'SHELL'])

/** Variables by which tasks find their daemon begin so; they are not to be configured. */
const RESERVED_PREFIX = 'STARLING_'

/** Environment of a task, in rising precedence: the daemon's (part of it), configured, the task's own. */
export function taskEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  configured: Readonly<Record<string, string>>,
  task: TaskStart,
  socket: string
): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const [name, value] of Object.entries(own)) {
    if (value !== undefined && (INHERITED.has(name) || name.startsWith('LC_'))) environment[name] = value
  }
  return {
    ...environment,
    TERM: 'dumb',
    ...configured,
    STARLING_TASK: task.taskId,
    STARLING_SOCKET: socket,
    STARLING_ATTEMPT: String(task.attempt),
    STARLING_FENCING_TOKEN: task.fencingToken,
    TRACEPARENT: task.traceparent
  }
}

/** @throws StarlingError CONFIG_INVALID for a name or value that no process can get, or a reserved name */
export function checkConfiguredEnvironment(configured: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(configured)) {
    if (name === '' || /[=\0]/.test(name) || value.includes('\0')) {
      throw new StarlingError('CONFIG_INVALID', `environment variable ${JSON.stringify(name)} has a wrong form`)
    }
    if (name.startsWith(RESERVED_PREFIX)) {
      throw new StarlingError('CONFIG_INVALID', `environment variable ${name} is reserved`, {
        hint: `choose a name that does not begin with ${RESERVED_PREFIX}`
      })
    }
  }
}
