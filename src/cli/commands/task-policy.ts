import type { Command } from 'commander'
import { ATTEMPTS_MAX, BACKOFF_MS_MAX } from '../../wire/api/limits.ts'
import type { PolicyRequest } from '../../wire/api/schemas.ts'
import { StarlingError } from '../../wire/errors.ts'
import { parseCount, parseDuration } from '../input/duration.ts'
import { duration } from '../output/text.ts'

/** Flags that `run`, `submit` and `spawn` share: what is done about a task that fails, is lost or takes too long. */
export interface PolicyOptions {
  readonly retry?: string
  readonly backoff?: string
  readonly deadline?: string
  readonly exclusive?: true
}

/** Declares the flags on a command that makes a task. */
export function policyFlags(command: Command): Command {
  return command
    .option('--retry <attempts>', 'try so often in all when it fails (default: 1)')
    .option('--backoff <duration>', 'wait before the second attempt, twice as long before each later one (default: 1s)')
    .option('--deadline <duration>', 'it fails when it is not over after so long, all attempts and children included')
    .option('--exclusive', 'when its host is lost, try again only once it can run there no more')
}

/** What is sent to the daemon; only what was asked for. @throws StarlingError INVALID_INPUT */
export function policyRequest(options: PolicyOptions): PolicyRequest {
  const { retry, backoff, deadline, exclusive } = options
  if (backoff !== undefined && retry === undefined) {
    throw new StarlingError('INVALID_INPUT', '--backoff is the wait between attempts: it needs --retry', {
      hint: `write for example --retry 3 --backoff ${backoff}`
    })
  }
  return {
    ...(exclusive === undefined ? {} : { exclusive }),
    ...(retry === undefined
      ? {}
      : {
          retry: {
            attempts: parseCount(retry, '--retry', 1, ATTEMPTS_MAX),
            ...(backoff === undefined ? {} : { backoffMs: backoffMs(backoff) })
          }
        }),
    ...(deadline === undefined ? {} : { deadlineMs: parseDuration(deadline, '--deadline') })
  }
}

function backoffMs(text: string): number {
  const ms = parseDuration(text, '--backoff')
  if (ms <= BACKOFF_MS_MAX) return ms
  throw new StarlingError('INVALID_INPUT', `--backoff ${text} is longer than ${duration(BACKOFF_MS_MAX)}`)
}
