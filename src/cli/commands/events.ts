import type { Command } from 'commander'
import type { DaemonClient } from '../../sdk/daemon-client.ts'
import type { Event } from '../../wire/api/schemas.ts'
import { StarlingError } from '../../wire/errors.ts'
import type { Cli } from '../cli.ts'
import { type ClientOptions, clientCommand } from '../client-command.ts'
import type { Terminal } from '../output/terminal.ts'

/** Without --follow: longest wait for the first kept event, since a busy daemon may need a while to open the stream. */
const EVENTS_FIRST_MS = 1_000

/** Without --follow: kept events come in one go; when none has come for so long after the last, there are no more. */
const EVENTS_IDLE_MS = 300

/** The id before all events: `--since` it means everything that is kept. */
const BEFORE_ALL = '0'

interface EventsOptions extends ClientOptions {
  readonly follow?: true
  readonly since?: string
}

export function register(program: Command, cli: Cli): void {
  clientCommand(program, 'events', 'print what has happened on this machine and in its swarm')
    .option('-f, --follow', 'go on until Ctrl-C; without --since only what happens from now on')
    .option('--since <id>', 'only events after this one')
    .action(async (options: EventsOptions) => {
      if (options.since !== undefined && !/^\d+$/.test(options.since)) {
        throw new StarlingError('INVALID_INPUT', `--since takes the id of an event, a number, not "${options.since}"`)
      }
      await cli.withClient(options, client =>
        cli.printStream<Event>(
          signal =>
            options.follow
              ? client.events({ sinceId: options.since, signal })
              : keptEvents(client, options.since ?? BEFORE_ALL, signal),
          event => (options.json ? cli.terminal.jsonLine('Event', event) : printEvent(cli.terminal, event))
        )
      )
    })
}

async function* keptEvents(client: DaemonClient, sinceId: string, signal: AbortSignal): AsyncGenerator<Event> {
  const idle = new AbortController()
  let timer = setTimeout(() => idle.abort(), EVENTS_FIRST_MS)
  try {
    for await (const event of client.events({ sinceId, signal: AbortSignal.any([signal, idle.signal]) })) {
      clearTimeout(timer)
      timer = setTimeout(() => idle.abort(), EVENTS_IDLE_MS)
      yield event
    }
  } finally {
    clearTimeout(timer)
  }
}

function printEvent(terminal: Terminal, event: Event): void {
  const data = event.data === undefined || event.data === null ? '' : ` ${JSON.stringify(event.data)}`
  const subject = event.subject === undefined ? '' : ` ${event.subject}`
  terminal.out(
    `${event.id} ${terminal.style('dim', event.time)} ${terminal.style('bold', event.type)}${subject}${data}`
  )
}
