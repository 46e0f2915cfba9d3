import { StarlingError } from '../wire/errors.ts'

/** Thrown when no daemon answers on the control socket, or when it goes away before it has answered. */
export class DaemonNotRunningError extends StarlingError {
  constructor(message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super('DAEMON_NOT_RUNNING', message, { hint: 'start it with: starling up', ...options })
  }
}
