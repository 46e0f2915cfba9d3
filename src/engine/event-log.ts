import type { Clock } from '../ports/index.ts'
import type { Event } from '../wire/api/index.ts'

/** Events kept for readers that come late or fall behind; a busy job makes some hundred a second. */
export const EVENTS_KEPT_MAX = 10_000

/** What happens on this daemon, numbered without gaps; each reader keeps its own place. */
export class EventLog {
  readonly #source: string
  readonly #clock: Clock
  readonly #events: Event[] = []
  readonly #wakers = new Set<() => void>()
  #next = 1

  /** `source`: CloudEvents source of all events, unique to this boot of this daemon. */
  constructor(source: string, clock: Clock) {
    this.#source = source
    this.#clock = clock
  }

  /** `type` without its prefix: "job.announced". */
  emit(type: string, subject: string, data: unknown): void {
    const time = new Date(this.#clock.wall()).toISOString()
    const id = String(this.#next)
    this.#next += 1
    this.#events.push({ specversion: '1.0', id, source: this.#source, type: `starling.${type}`, time, subject, data })
    if (this.#events.length > EVENTS_KEPT_MAX) this.#events.shift()
    for (const wake of this.#wakers) wake()
    this.#wakers.clear()
  }

  /** Events after `sinceId` (undefined: from now on), then live ones until `signal` aborts. Never throws. */
  async *read(sinceId: string | undefined, signal: AbortSignal): AsyncGenerator<Event> {
    let next =
      sinceId === undefined ? this.#next : Math.min(this.#next, Math.max(1, Number.parseInt(sinceId, 10) + 1 || 1))
    while (!signal.aborted) {
      const oldest = this.#next - this.#events.length
      if (next < oldest) {
        yield this.#gap(next, oldest)
        next = oldest
      }
      const event = this.#events[next - oldest]
      if (event === undefined) {
        await this.#woken(signal)
        continue
      }
      next += 1
      yield event
    }
  }

  /** Says that events `from`..`to` - 1 are no longer kept. Its id is that of the last missing one. */
  #gap(from: number, to: number): Event {
    const time = new Date(this.#clock.wall()).toISOString()
    const data = { missing: to - from }
    return { specversion: '1.0', id: String(to - 1), source: this.#source, type: 'starling.events.gap', time, data }
  }

  #woken(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        signal.removeEventListener('abort', wake)
        this.#wakers.delete(wake)
        resolve()
      }
      signal.addEventListener('abort', wake, { once: true })
      this.#wakers.add(wake)
    })
  }
}
