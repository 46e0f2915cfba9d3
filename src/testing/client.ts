import { isErrorCode, StarlingError } from '../core/index.ts'
import type { Job } from '../wire/api/index.ts'
import { inputOf, type SimHost } from './host.ts'
import type { JobPlan } from './plan.ts'
import type { TaskTree } from './task-tree.ts'

/** A refused submission is tried again after so long. */
const SUBMIT_AGAIN_MS = 250

/** Refusals that pass by themselves. */
const PASSING: ReadonlySet<string> = new Set(['NO_CAPABLE_PEER', 'DAEMON_STOPPING', 'STORAGE_FAILED'])

export interface ClientWatcher {
  /** It has called its daemon, which answers by a promise. */
  called(): void
  /** The daemon has said that the job is durable. */
  acknowledged(client: Client, id: string): void
  /** The daemon has said that the job is over. */
  told(client: Client, job: Job): void
  odd(what: string): void
}

/**
 * A user of one daemon: submits one job under a key, waits for it, and comes back whenever the daemon does, until it has
 * been told the end.
 */
export class Client {
  readonly index: number
  readonly plan: JobPlan
  readonly host: SimHost
  readonly tree: TaskTree
  id: string | undefined
  cancelled = false
  /** What it was told, once. */
  outcome: Job | undefined
  readonly #watcher: ClientWatcher
  #began = false

  constructor(init: { index: number; plan: JobPlan; host: SimHost; tree: TaskTree; watcher: ClientWatcher }) {
    this.index = init.index
    this.plan = init.plan
    this.host = init.host
    this.tree = init.tree
    this.#watcher = init.watcher
  }

  get waits(): boolean {
    return this.#began && this.outcome === undefined
  }

  start(): void {
    this.#began = true
    this.connect()
  }

  /** To be called at every boot of its daemon. */
  connect(): void {
    const { life } = this.host
    if (!this.waits || life === 0) return
    this.host.enter(life, 'io', () => {
      this.#watcher.called()
      if (this.id === undefined) this.#submit(life)
      else this.#wait(life, this.id)
    })
  }

  /** False when there is nothing to cancel, or nobody to ask. */
  cancel(): boolean {
    const { host, id } = this
    const { daemon } = host
    if (id === undefined || daemon === undefined || !host.answers || this.outcome !== undefined) return false
    this.cancelled = true
    host.enter(host.life, 'io', () => {
      this.#watcher.called()
      daemon.api.cancel(id).catch((error: unknown) => this.#watcher.odd(`cancel: ${String(error)}`))
    })
    return true
  }

  #submit(life: number): void {
    const { host, plan, tree, index } = this
    const { capability, policy } = tree.shape('0')
    host.daemon?.api.submit({ ...policy, capability, input: inputOf(index), id: `key-${index}` }).then(
      ({ id }) => {
        if (host.life !== life) return
        this.#watcher.acknowledged(this, id)
        this.id = id
        this.#wait(life, id)
      },
      (error: unknown) => {
        if (host.life !== life) return
        const code = error instanceof StarlingError ? error.code : 'INTERNAL'
        if (!isErrorCode(code) || !PASSING.has(code)) this.#watcher.odd(`submit at ${plan.host}: ${String(error)}`)
        this.#again(life, code === 'STORAGE_FAILED')
      }
    )
  }

  #again(life: number, refusesAll: boolean): void {
    const { host } = this
    host.time.after(SUBMIT_AGAIN_MS, () => {
      if (host.life !== life) return
      if (!refusesAll) return this.connect()
      // The daemon refuses until it is started again, and says so: its user makes space and does that, when it is awake.
      if (!host.crash({ downMs: SUBMIT_AGAIN_MS, power: false })) this.#again(life, true)
    })
  }

  #wait(life: number, id: string): void {
    const { host } = this
    host.daemon?.api.waitForJob(id, {}).then(
      job => {
        if (host.life !== life || this.outcome !== undefined) return
        this.outcome = job
        this.#watcher.told(this, job)
      },
      (error: unknown) => {
        if (host.life === life) this.#watcher.odd(`lost: an acknowledged job is unknown: ${String(error)}`)
      }
    )
  }
}
