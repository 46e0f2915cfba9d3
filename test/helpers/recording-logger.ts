import type { Logger } from '../../src/ports/logger.ts'

export interface LoggedLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly component: string
  readonly message: string
  readonly fields: Record<string, unknown>
}

/** A logger that keeps its lines, those of its children included. */
export function recordingLogger(lines: LoggedLine[] = [], component = ''): Logger & { readonly lines: LoggedLine[] } {
  const log =
    (level: LoggedLine['level']) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, component, message, fields })
    }
  return {
    lines,
    error: log('error'),
    warn: log('warn'),
    info: log('info'),
    debug: log('debug'),
    child: name => recordingLogger(lines, name)
  }
}
