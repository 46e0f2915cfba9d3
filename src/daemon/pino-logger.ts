import { type Logger as Pino, pino } from 'pino'
import type { Logger } from '../ports/logger.ts'
import type { LogLevel } from './config-schema.ts'
import { type LogDestination, streamDestination } from './log-destination.ts'
import { redactFields, redactText } from './log-redaction.ts'

export interface LoggerInit {
  /** Lines below it are not made at all. */
  readonly level: LogLevel
  /** @default stderr */
  readonly destination?: LogDestination | undefined
}

/**
 * Logs JSON lines `{ time, level, component?, message, ...fields }`. Secrets are taken out, byte arrays are shown by
 * their length, texts and nesting are bounded. Never throws.
 */
export function pinoLogger(init: LoggerInit): Logger {
  const root = pino(
    {
      level: init.level,
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) }
    },
    init.destination ?? standardError()
  )
  return wrap(root)
}

let sharedStandardError: LogDestination | undefined

/** One for all loggers of the process: each would listen to the stream. */
function standardError(): LogDestination {
  sharedStandardError ??= streamDestination(process.stderr)
  return sharedStandardError
}

function wrap(target: Pino): Logger {
  const log = (level: 'error' | 'warn' | 'info' | 'debug') => (message: string, fields?: Record<string, unknown>) => {
    if (target.isLevelEnabled(level))
      target[level](fields === undefined ? {} : redactFields(fields), redactText(message))
  }
  return {
    error: log('error'),
    warn: log('warn'),
    info: log('info'),
    debug: log('debug'),
    child: component => wrap(target.child({ component }))
  }
}
