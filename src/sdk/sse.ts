import type { IncomingMessage } from 'node:http'
import { StarlingError } from '../wire/errors.ts'
import { DaemonNotRunningError } from './errors.ts'
import { type HttpConnection, problemError, type RequestOptions } from './http-connection.ts'

/** One message of a server-sent event stream. */
export interface StreamMessage {
  readonly id: string | undefined
  readonly data: string
}

/** Longest message: an event carries at most a task's result. The peer is the user's own daemon; this only ends nonsense. */
const MESSAGE_CHARS_MAX = 8 * 1024 * 1024

interface StreamOptions extends RequestOptions {
  /** The stream is whole only when it ends with an `end` message: DAEMON_NOT_RUNNING is thrown when it breaks off. */
  readonly endRequired?: boolean | undefined
}

/**
 * Messages of one stream in order, until it ends or `signal` aborts; leaving the loop closes its connection. A `problem`
 * message is thrown as the error that it stands for.
 */
export async function* eventStream(
  http: HttpConnection,
  path: string,
  options: StreamOptions
): AsyncGenerator<StreamMessage, void, undefined> {
  let response: IncomingMessage
  try {
    response = await http.open('GET', path, {
      ...options,
      headers: { accept: 'text/event-stream', ...options.headers }
    })
  } catch (error) {
    if (options.signal?.aborted) return
    throw error
  }
  try {
    for await (const message of messages(response)) {
      if (message.event === 'end') return
      if (message.event === 'problem') throw problemError(message.data, undefined)
      yield { id: message.id, data: message.data }
    }
  } catch (error) {
    if (options.signal?.aborted) return
    const lost = http.lost(error)
    if (options.endRequired || lost.code !== 'DAEMON_NOT_RUNNING') throw lost
    return
  } finally {
    response.destroy()
  }
  if (options.endRequired) throw new DaemonNotRunningError('the daemon went away in the middle of the stream')
}

async function* messages(response: IncomingMessage): AsyncGenerator<Fields, void, undefined> {
  response.setEncoding('utf8')
  let rest = ''
  for await (const chunk of response as AsyncIterable<string>) {
    rest += chunk
    for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
      const fields = parseFields(rest.slice(0, end))
      rest = rest.slice(end + 2)
      if (fields !== undefined) yield fields
    }
    if (rest.length > MESSAGE_CHARS_MAX) {
      throw new StarlingError('LIMIT_REACHED', `a message of the stream is longer than ${MESSAGE_CHARS_MAX} characters`)
    }
  }
}

interface Fields {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

/** Undefined for a block without data: a heartbeat. */
function parseFields(block: string): Fields | undefined {
  let event = 'message'
  let id: string | undefined
  const data: string[] = []
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const value = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    const name = line.slice(0, colon)
    if (name === 'event') event = value
    else if (name === 'id') id = value
    else if (name === 'data') data.push(value)
  }
  return data.length === 0 ? undefined : { event, id, data: data.join('\n') }
}
