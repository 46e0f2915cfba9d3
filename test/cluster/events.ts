import type { DaemonClient, Event, Peer } from '../../src/sdk/index.ts'
import { StarlingError } from '../../src/sdk/index.ts'

/** Pause before the stream of a daemon that is away is opened again. */
const REOPEN_MS = 100

/** A change of what one daemon thinks of another, with the time at which it happened there. */
export interface MemberChange {
  /** Peer id of the other. */
  readonly peer: string
  readonly state: Peer['state']
  /** Wall clock. */
  readonly atMs: number
}

/** Reads all events of a daemon from its first one on, so that times are its own and nobody has to poll for them. */
export class EventRecorder {
  readonly #events: Event[] = []
  readonly #stop = new AbortController()

  constructor(client: DaemonClient) {
    void this.#read(client)
  }

  get events(): readonly Event[] {
    return this.#events
  }

  memberChanges(): MemberChange[] {
    return this.#events.flatMap(({ type, subject = '', time }) => {
      const state = /^starling\.peer\.(alive|suspect|dead|left)$/.exec(type)?.[1] as Peer['state'] | undefined
      return state === undefined ? [] : [{ peer: subject, state, atMs: Date.parse(time) }]
    })
  }

  stop(): void {
    this.#stop.abort()
  }

  /** Never rejects; the stream breaks off when the daemon goes away. */
  async #read(client: DaemonClient): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const last = this.#events.at(-1)
      try {
        for await (const event of client.events({ sinceId: last?.id ?? '0', signal })) this.#events.push(event)
      } catch (error) {
        if (!(error instanceof StarlingError) && !signal.aborted) throw error
      }
      await new Promise(resolve => setTimeout(resolve, REOPEN_MS))
    }
  }
}
