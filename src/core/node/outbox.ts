import type { Frame, RelayedFrame } from '../frames.ts'
import type { JobId, PeerId } from '../ids.ts'
import type { MemberView } from '../membership/index.ts'
import type { NodeEffect } from './effects.ts'

export interface OutboxInit {
  readonly view: MemberView
  /** Root of a job that this daemon takes part in. */
  readonly rootOf: (job: JobId) => PeerId | undefined
}

/**
 * What leaves this daemon. Frames to itself go through a queue, never through a nested call. Obligation frames for a
 * member without a link go by the job's root (C1): it is linked with every host whose lease is alive.
 */
export class Outbox {
  readonly #init: OutboxInit
  readonly #loopback: Frame[] = []
  #effects: NodeEffect[] = []

  constructor(init: OutboxInit) {
    this.#init = init
  }

  /** Grows with everything that is put in. */
  get size(): number {
    return this.#loopback.length + this.#effects.length
  }

  push(...effects: readonly NodeEffect[]): void {
    this.#effects.push(...effects)
  }

  send(to: PeerId, frame: Frame): void {
    const { view } = this.#init
    if (to === view.self) {
      this.#loopback.push(frame)
      return
    }
    const root = isRelayed(frame) && !this.linked(to) ? this.#init.rootOf(frame.job) : undefined
    if (root === undefined || root === to || !isRelayed(frame) || !this.linked(root))
      this.push({ kind: 'send', to, frame })
    else this.send(root, { kind: 'relay', job: frame.job, from: view.self, to, frame })
  }

  /** The next frame of this daemon to itself. */
  loopback(): Frame | undefined {
    return this.#loopback.shift()
  }

  drain(): NodeEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  linked(peer: PeerId): boolean {
    return peer === this.#init.view.self || (this.#init.view.get(peer)?.linked ?? false)
  }
}

function isRelayed(frame: Frame): frame is RelayedFrame {
  switch (frame.kind) {
    case 'handoff':
    case 'settle':
    case 'settlePart':
    case 'settled':
    case 'cancel':
      return true
    default:
      return false
  }
}
