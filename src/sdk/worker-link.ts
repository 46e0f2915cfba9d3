import type { Logger } from '../ports/logger.ts'
import { SLOTS_MAX } from '../wire/api/limits.ts'
import { StarlingError } from '../wire/errors.ts'
import type { WorkHandler } from './attempt.ts'
import { DAEMON_SILENCE_MS_MAX, WorkerSession } from './worker-session.ts'

/** First pause before a lost session is opened again; it doubles up to the last. A restart takes about a second. */
const RECONNECT_FIRST_MS = 50
const RECONNECT_LAST_MS = 5_000

export interface WorkerLinkInit {
  readonly socketPath: string
  readonly logger: Logger
  /** @default DAEMON_SILENCE_MS_MAX */
  readonly silenceMs?: number | undefined
}

interface Registration {
  readonly handler: WorkHandler
  readonly slots: number
}

/**
 * What this process serves, kept registered at the daemon: when the session is lost, a new one is opened, with growing
 * pauses and for ever, and everything is registered again. Attempts never outlive their session.
 */
export class WorkerLink {
  readonly #init: WorkerLinkInit
  readonly #registrations = new Map<string, Registration>()
  #session: WorkerSession | undefined
  #opening: Promise<WorkerSession> | undefined
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor(init: WorkerLinkInit) {
    this.#init = init
  }

  /**
   * Serves `capability`; resolves when the daemon has it. @throws StarlingError INVALID_INPUT, LIMIT_REACHED,
   * CONFIG_INVALID (declared with another runtime), DAEMON_NOT_RUNNING: then it is not served.
   */
  async work(capability: string, handler: WorkHandler, slots: number): Promise<void> {
    if (!Number.isSafeInteger(slots) || slots < 1 || slots > SLOTS_MAX) {
      throw new StarlingError('INVALID_INPUT', `slots must be a whole number from 1 to ${SLOTS_MAX}`)
    }
    if (this.#registrations.has(capability)) {
      throw new StarlingError('INVALID_INPUT', `this process serves ${capability} already`)
    }
    this.#registrations.set(capability, { handler, slots })
    try {
      const session = await this.#connect()
      await session.work(capability, slots)
    } catch (error) {
      this.#registrations.delete(capability)
      throw error
    }
  }

  /** Ends the session and never opens another. Running handlers get their signal aborted. Idempotent. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#session?.close('this mesh is closed')
  }

  #connect(): Promise<WorkerSession> {
    if (this.#closed) return Promise.reject(new StarlingError('DAEMON_NOT_RUNNING', 'this mesh is closed'))
    if (this.#session?.alive) return Promise.resolve(this.#session)
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #open(): Promise<WorkerSession> {
    const session = await WorkerSession.open({
      socketPath: this.#init.socketPath,
      logger: this.#init.logger,
      silenceMs: this.#init.silenceMs ?? DAEMON_SILENCE_MS_MAX,
      handler: capability => this.#registrations.get(capability)?.handler,
      closed: (lost, reason) => this.#onClosed(lost, reason)
    })
    this.#session = session
    if (this.#closed) session.close('this mesh is closed')
    return session
  }

  #onClosed(session: WorkerSession, reason: string): void {
    if (this.#session !== session || this.#closed) return
    this.#session = undefined
    this.#init.logger.warn('session with the daemon is lost', { code: 'DAEMON_NOT_RUNNING', reason })
    this.#reconnect(RECONNECT_FIRST_MS)
  }

  #reconnect(delayMs: number): void {
    if (this.#closed || this.#registrations.size === 0) return
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      this.#connect()
        .then(session => this.#register(session))
        .catch((error: unknown) => {
          this.#init.logger.debug('daemon is not back yet', { error })
          this.#reconnect(Math.min(2 * delayMs, RECONNECT_LAST_MS))
        })
    }, delayMs)
  }

  /** A capability that the daemon refuses now is given up; the loss of the session is not the capability's fault. */
  async #register(session: WorkerSession): Promise<void> {
    for (const [capability, { slots }] of [...this.#registrations]) {
      try {
        await session.work(capability, slots)
      } catch (error) {
        if (!session.alive) return
        this.#registrations.delete(capability)
        this.#init.logger.error('daemon refuses a capability after its restart', { capability, error })
      }
    }
    this.#init.logger.info('daemon is back', { capabilities: this.#registrations.size })
  }
}
