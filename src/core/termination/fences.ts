import type { FencedPeer, PendingFence } from '../frames.ts'
import { type Engagement, type FenceId, type PeerId, ROOT_ENGAGEMENT } from '../ids.ts'
import type { Vertex } from './vertex.ts'

/**
 * The engagements that are fenced in one job, as one daemon knows them. A peer's engagements only grow, so one number
 * per peer says it all (C8).
 */
export class Fences {
  readonly #upTo = new Map<PeerId, Engagement>()
  readonly #unanswered = new Map<FenceId, PeerId>()

  constructor(fenced: readonly FencedPeer[] = []) {
    for (const { peer, upTo } of fenced) this.#upTo.set(peer, upTo)
  }

  /** A fence is named by the engagement that it fences. */
  add({ fence, peer }: PendingFence): void {
    this.#upTo.set(peer, Math.max(fence, this.#upTo.get(peer) ?? 0))
    this.#unanswered.set(fence, peer)
  }

  covers(peer: PeerId, engagement: Engagement): boolean {
    return engagement !== ROOT_ENGAGEMENT && engagement <= (this.#upTo.get(peer) ?? 0)
  }

  list(): FencedPeer[] {
    return [...this.#upTo].map(([peer, upTo]) => ({ peer, upTo }))
  }

  /** Fences under which no vertex is left, each once; they are asked again when the root repeats them. */
  answerable(vertices: Iterable<Vertex>): FenceId[] {
    if (this.#unanswered.size === 0) return []
    const orphaned = new Set<FenceId>()
    for (const { owner, ownerEngagement } of vertices) {
      for (const [fence, peer] of this.#unanswered) {
        if (owner === peer && ownerEngagement !== ROOT_ENGAGEMENT && ownerEngagement <= fence) orphaned.add(fence)
      }
    }
    const clear = [...this.#unanswered.keys()].filter(fence => !orphaned.has(fence))
    for (const fence of clear) this.#unanswered.delete(fence)
    return clear
  }
}
