import type { ServerResponse } from 'node:http'
import type { Logger } from '../ports/logger.ts'
import { type ControlTiming, STREAM_FIRST_ITEM_MS } from './limits.ts'
import { problem } from './problem.ts'

export interface EventStreamInit<T> extends Reader {
  readonly items: AsyncIterable<T>
  /** Id of an item, by which a reader resumes. */
  readonly id: ((item: T) => string) | undefined
}

/** Who reads a stream, and how long it may take. */
interface Reader {
  readonly outgoing: ServerResponse
  /** Aborts when the reader is gone or the server stops. Then the stream ends without its `end` message. */
  readonly signal: AbortSignal
  readonly timing: ControlTiming
  readonly logger: Logger
  readonly requestId: string
}

/**
 * Sends items as server-sent events until they end (`event: end`), fail (`event: problem`), or the reader is gone. The
 * next item is asked for when the reader has taken the last one, so that at most one waits here; a reader that takes
 * nothing for `streamStallMs` is cut. Rejects only before anything was sent.
 */
export async function sendEventStream<T>(init: EventStreamInit<T>): Promise<void> {
  const { outgoing, signal } = init
  const iterator = init.items[Symbol.asyncIterator]()
  const gone = whenAborted(signal)
  let next = iterator.next()
  await Promise.race([next, gone, pause(STREAM_FIRST_ITEM_MS)])
  if (signal.aborted) return close(init, iterator)
  outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  outgoing.write(': open\n\n')
  const heartbeat = setInterval(() => {
    if (!outgoing.writableNeedDrain) outgoing.write(': alive\n\n')
  }, init.timing.streamHeartbeatMs)
  try {
    for (;;) {
      const result = await Promise.race([next, gone])
      if (result === undefined) break
      if (result.done) {
        outgoing.write('event: end\ndata: {}\n\n')
        break
      }
      if (!outgoing.write(encode(result.value, init.id)) && !(await drained(init))) break
      next = iterator.next()
    }
  } catch (error) {
    const value = problem(error, init.requestId)
    init.logger.warn('event stream failed', { code: value.code, requestId: init.requestId, error })
    outgoing.write(`event: problem\ndata: ${JSON.stringify(value)}\n\n`)
  } finally {
    clearInterval(heartbeat)
    close(init, iterator)
  }
}

function encode<T>(item: T, id: ((item: T) => string) | undefined): string {
  const line = id === undefined ? '' : `id: ${id(item)}\n`
  return `${line}data: ${JSON.stringify(item)}\n\n`
}

/** Resolves with true when the reader has taken what was sent; false when it is gone or was cut for taking too long. */
function drained(reader: Reader): Promise<boolean> {
  const { outgoing, signal } = reader
  return new Promise(resolve => {
    const settle = (taken: boolean) => {
      clearTimeout(timer)
      outgoing.off('drain', onDrain)
      signal.removeEventListener('abort', onGone)
      resolve(taken)
    }
    const onDrain = () => settle(true)
    const onGone = () => settle(false)
    const timer = setTimeout(() => {
      reader.logger.warn('reader of a stream is too slow and was cut', {
        code: 'LIMIT_REACHED',
        requestId: reader.requestId,
        stallMs: reader.timing.streamStallMs
      })
      outgoing.destroy()
      settle(false)
    }, reader.timing.streamStallMs)
    outgoing.once('drain', onDrain)
    signal.addEventListener('abort', onGone, { once: true })
    if (signal.aborted) settle(false)
  })
}

function close(reader: Reader, iterator: AsyncIterator<unknown>): void {
  reader.outgoing.end()
  iterator.return?.().catch((error: unknown) => {
    reader.logger.warn('source of a stream did not close', { requestId: reader.requestId, error })
  })
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined)
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
