import type { LedgerRecord } from '../core/index.ts'

interface Audited {
  readonly grants: Map<string, number>
  /** Fences that are open, with the engagements that have yet to answer. */
  readonly open: Map<number, Map<string, number>>
  owed: boolean
  announced: boolean
}

/**
 * Reads the journals of all roots, as they are written, and says where a record breaks an invariant (termination.md
 * 1.6.6). A second, simpler fold beside `LedgerState`, so that a mistake there shows.
 */
export class JournalAudit {
  readonly #jobs = new Map<string, Audited>()

  /** Problems of this record, in the order in which it was made. */
  record(job: string, record: LedgerRecord): string[] {
    const state = this.#jobs.get(job) ?? { grants: new Map(), open: new Map(), owed: true, announced: false }
    this.#jobs.set(job, state)
    const problems: string[] = []
    if (state.announced && record.kind !== 'submitted') problems.push(`I9: ${record.kind} after the announcement`)
    switch (record.kind) {
      case 'granted':
        if (state.grants.has(record.peer)) problems.push(`I7: ${record.peer} was granted anew without a fence`)
        state.grants.set(record.peer, record.engagement)
        break
      case 'fence-opened': {
        state.grants.delete(record.peer)
        for (const waiting of state.open.values()) waiting.delete(record.peer)
        state.open.set(record.fence, new Map(state.grants))
        break
      }
      case 'fence-answered':
        state.open.get(record.fence)?.delete(record.peer)
        break
      case 'settled':
        if (!state.owed) problems.push('S1: the root task settled twice')
        state.owed = false
        break
      case 'announced': {
        state.announced = true
        const open = [...state.open].filter(([, waiting]) => waiting.size > 0)
        for (const [fence, waiting] of open)
          problems.push(`I7: announced while fence ${fence} waits for ${[...waiting.keys()]}`)
        break
      }
      default:
    }
    return problems
  }
}
