/**
 * Structured log. `fields` hold ids (peer, job, task, code) so that lines can be searched; the message is constant text.
 * error: an operator must act. warn: something went wrong and was handled. info: life cycle. debug: everything else.
 */
export interface Logger {
  error(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
  info(message: string, fields?: Record<string, unknown>): void
  debug(message: string, fields?: Record<string, unknown>): void
  /** A logger whose lines carry `component`. */
  child(component: string): Logger
}

export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLogger
}
