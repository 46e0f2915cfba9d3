/**
 * The one table of error codes, shared by the engine, the control API, the command line and the SDK.
 *
 * `status` is the HTTP status of the Problem (RFC 9457), `exit` the exit code of the command line (contract.md).
 */
export const ERROR_CODES = {
  /** Thrown when something happened that the program does not understand; always a defect. */
  INTERNAL: { status: 500, exit: 1, title: 'Internal error' },
  /** Thrown when an argument, a flag or a request body has a wrong form. */
  INVALID_INPUT: { status: 400, exit: 2, title: 'Invalid input' },
  /** Thrown when input that begins like JSON does not parse. */
  INVALID_JSON: { status: 400, exit: 2, title: 'Invalid JSON' },
  /** Thrown when a task input is longer than INPUT_BYTES_MAX. */
  INPUT_TOO_LARGE: { status: 413, exit: 2, title: 'Input too large' },
  /** Thrown when a task result is longer than RESULT_BYTES_MAX; the task fails with it. */
  RESULT_TOO_LARGE: { status: 413, exit: 2, title: 'Result too large' },
  /** Thrown when a configuration file, environment variable or flag has an unknown key or a wrong value. */
  CONFIG_INVALID: { status: 400, exit: 2, title: 'Invalid configuration' },
  /** Thrown when a directory or file of the daemon cannot be used: wrong owner, wrong mode, not readable, too long. */
  HOME_UNUSABLE: { status: 500, exit: 2, title: 'Home directory unusable' },
  /** Thrown when no job, task, peer, agent or token has the given id. */
  NOT_FOUND: { status: 404, exit: 2, title: 'Not found' },
  /** Thrown when a prefix matches more than one id. */
  AMBIGUOUS_ID: { status: 409, exit: 2, title: 'Ambiguous id' },
  /** Thrown when no daemon answers on the control socket. */
  DAEMON_NOT_RUNNING: { status: 503, exit: 3, title: 'Daemon not running' },
  /** Thrown when the daemon is stopping and takes no new work. */
  DAEMON_STOPPING: { status: 503, exit: 3, title: 'Daemon stopping' },
  /** Thrown when the body of a task failed: its own error, its exit code, its signal. */
  TASK_FAILED: { status: 422, exit: 4, title: 'Task failed' },
  /** Thrown when a task ran longer than the timeout of its capability. */
  TASK_TIMEOUT: { status: 422, exit: 4, title: 'Task timed out' },
  /** Thrown when a task had not settled by the deadline that it was submitted or spawned with. */
  DEADLINE_EXCEEDED: { status: 422, exit: 4, title: 'Deadline exceeded' },
  /** Thrown when a task was given back more often than RETURNS_MAX. */
  TASK_RETURNED: { status: 422, exit: 4, title: 'Task given back too often' },
  /** Thrown when a task was cancelled. */
  TASK_CANCELLED: { status: 422, exit: 4, title: 'Task cancelled' },
  /** Thrown when the host of a task was lost before it settled. */
  TASK_LOST: { status: 422, exit: 5, title: 'Task lost' },
  /** Thrown when no member of the pool offers the asked capability. */
  NO_CAPABLE_PEER: { status: 422, exit: 6, title: 'No peer can do it' },
  /** Thrown when the caller may not do this. */
  DENIED: { status: 403, exit: 7, title: 'Denied' },
  /** Thrown when a token is unknown, expired, used up or from another swarm. */
  TOKEN_REFUSED: { status: 403, exit: 7, title: 'Token refused' },
  /** Thrown when a wait ended before the thing that it waited for. */
  TIMED_OUT: { status: 504, exit: 8, title: 'Timed out' },
  /** Thrown when another daemon runs on the same home. */
  ALREADY_RUNNING: { status: 409, exit: 9, title: 'Already running' },
  /** Thrown when an idempotency key is used again for another submission. */
  ID_REUSED: { status: 409, exit: 9, title: 'Id used for something else' },
  /** Thrown when a task spawns after its body has ended, or while it is being cancelled. */
  TASK_ENDED: { status: 409, exit: 9, title: 'Task has ended' },
  /** Thrown when this daemon is a member of another swarm already. */
  ALREADY_MEMBER: { status: 409, exit: 9, title: 'Member of another swarm' },
  /** Thrown when a named bound is reached: depth, fan-out, obligations, waiting bytes, open sessions. */
  LIMIT_REACHED: { status: 429, exit: 9, title: 'Limit reached' },
  /** Thrown when the disk refuses a write; nothing was acknowledged. */
  STORAGE_FAILED: { status: 507, exit: 1, title: 'Storage failed' }
} as const satisfies Record<string, { status: number; exit: number; title: string }>

export type ErrorCode = keyof typeof ERROR_CODES

/** An error with identity: compare `code`, never the message. `hint` says what to do next. */
export class StarlingError extends Error {
  override readonly name = 'StarlingError'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code)
}
