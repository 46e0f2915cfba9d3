import type { Mutant } from './mutant.ts'

const TREE = 'core/termination/engaged-tree.ts'
const PARTICIPANT = 'core/termination/participant.ts'
const LEDGER = 'core/termination/ledger.ts'
const STATE = 'core/termination/ledger-state.ts'
const DISPATCH = 'core/node/frame-dispatch.ts'

/** The rules of termination.md 1.6 and their amendments, one by one. */
export const PROTOCOL_MUTANTS: readonly Mutant[] = [
  {
    name: 'a hand-off is remembered only while its attempt lives',
    cure: 'seen',
    edits: [
      {
        file: TREE,
        find: 'if (this.#seen.has(frame.obligation)) {',
        replace: 'if (this.#vertices.has(frame.obligation)) {'
      }
    ]
  },
  {
    name: 'frames are taken by whatever engagement there is',
    cure: 'toEng',
    edits: [
      {
        file: PARTICIPANT,
        find: 'return tree?.engagement === wanted ? tree : undefined',
        replace: 'return wanted < 0 ? undefined : tree'
      }
    ]
  },
  {
    name: 'a lease never ends by itself',
    cure: 'lease self-kill',
    edits: [
      { file: PARTICIPANT, find: '&& at.now >= this.#leaseUntil)', replace: '&& at.now >= this.#leaseUntil + 1e12)' }
    ]
  },
  {
    name: 'a fence is told once: neither grants nor renewals nor new links repeat it',
    cure: 'pending fences in GRANT (R5)',
    edits: [
      {
        file: PARTICIPANT,
        find: 'for (const fence of pending) this.#tree?.fence(fence, at)',
        replace: 'pending.length'
      },
      {
        file: LEDGER,
        find: 'if (peer === undefined || peer === waited) this.#sendFence({ fence, peer: lost, cause }, waited, engagement, at)',
        replace: 'if (waited === cause) this.#sendFence({ fence, peer: lost, cause }, waited, engagement, at)'
      }
    ]
  },
  {
    name: 'a grant does not name the fences of the past',
    cure: 'fenced[] in GRANT',
    edits: [{ file: LEDGER, find: 'const fenced = this.#state.fences.list()', replace: 'const fenced: never[] = []' }]
  },
  {
    name: 'no fence barrier before the announcement',
    cure: 'fence barrier (I3)',
    edits: [
      {
        file: LEDGER,
        find: 'this.#state.obligation !== undefined || this.#state.openFences.size > 0) return\n    const engaged',
        replace: 'this.#state.obligation !== undefined) return\n    const engaged'
      }
    ]
  },
  {
    name: 'a fence goes on waiting for a host that is lost itself',
    cure: 'drop q from other fences (I7)',
    edits: [
      { file: STATE, find: 'for (const open of this.openFences.values()) open.waiting.delete(peer)', replace: '' }
    ]
  },
  {
    name: 'a fence waits for nobody',
    cure: 'waiting := all other grants (I7)',
    edits: [
      {
        file: STATE,
        find: 'const waiting = new Map([...this.grants].map(([other, { engagement }]) => [other, engagement] as const))',
        replace: 'const waiting = new Map()'
      }
    ]
  },
  {
    name: 'a loss is reported while its bodies live',
    cure: 'wait-for-reap (R2)',
    edits: [
      {
        file: PARTICIPANT,
        find: 'if (this.#dying.size === 0) this.#lostMax = this.#losing',
        replace: 'this.#lostMax = this.#losing'
      },
      {
        file: PARTICIPANT,
        find: "if (this.live(at) !== undefined || this.#state !== 'open' || this.#dying.size > 0) return",
        replace: "if (this.live(at) !== undefined || this.#state !== 'open') return"
      }
    ]
  },
  {
    name: 'a queued body is started though the lease is over',
    cure: 'R1 on timers',
    edits: [
      {
        file: 'core/node/slot-service.ts',
        find: 'const tree = host.participant(job)?.live(at)\n      const vertex',
        replace: 'const tree = host.participant(job)?.peek()\n      const vertex'
      },
      {
        file: 'core/node/mesh-node.ts',
        find: 'const executing = participant?.live(at)?.vertex(obligation)?.executing ?? false',
        replace: 'const executing = participant?.peek()?.vertex(obligation)?.executing ?? false'
      }
    ]
  },
  {
    name: 'a hand-off to another engagement is answered as returned',
    cure: 'R3',
    edits: [
      {
        file: DISPATCH,
        find: 'host.join(frame.job, frame.root).liveFor(frame.toEngagement, at)?.handoff(from, frame, at)',
        replace: `const tree = host.join(frame.job, frame.root).liveFor(frame.toEngagement, at)
    if (tree !== undefined) tree.handoff(from, frame, at)
    else {
      const nothing = { result: new Uint8Array(0), error: { code: 'TASK_RETURNED', message: '' }, parts: 0, records: [], endedAgoMs: 0 }
      const nack = { kind: 'settle', job: frame.job, obligation: frame.obligation, outcome: 'returned', ...nothing } as const
      at.out.push({ kind: 'send', to: from, frame: nack })
    }`
      }
    ]
  },
  {
    name: 'an ENGAGE of an older boot fences the newer one',
    cure: 'R4, C2',
    edits: [{ file: DISPATCH, find: 'if (newest !== undefined) {', replace: 'if (newest === -1) {' }]
  },
  {
    name: 'a grant for an earlier boot is taken',
    cure: 'C2 (boot nonce)',
    edits: [
      {
        file: PARTICIPANT,
        find: "if (from !== this.root || this.#state !== 'open' || !sameBoot(frame.boot, this.#init.boot)) return",
        replace: "if (from !== this.root || this.#state !== 'open') return"
      },
      // A second defence: what was asked by an earlier boot was asked before this one's first question.
      { file: PARTICIPANT, find: 'if (frame.sentAt < this.#firstAskedAt) return', replace: '' }
    ]
  },
  {
    name: 'a cancelling owner issues again',
    cure: 'C4',
    edits: [
      {
        file: TREE,
        find: "if (vertex.state === 'cancelling') this.#writeOff(vertex, obligation, 'cancelled', CANCELLED_ERROR, at)\n    else if (obligation.expired)",
        replace: 'if (obligation.expired)'
      }
    ]
  },
  {
    name: 'exclusive children begin while a fence is open',
    cure: 'C5 (permit)',
    edits: [
      {
        file: LEDGER,
        find: ':`) || this.#state.openFences.size > 0) return',
        replace: ':`)) return'
      }
    ]
  },
  {
    name: 'the fencing token counts from one at every owner',
    cure: 'C6, H6',
    edits: [
      {
        file: 'core/termination/obligation.ts',
        find: 'attempts: [...ownerAttempts, 1]',
        replace: 'attempts: [...ownerAttempts.map(() => 1), 1]'
      }
    ]
  },
  {
    name: 'the end is judged between closing an old fence and opening the new one',
    cure: 'C7, H7',
    edits: [
      {
        file: LEDGER,
        find: '    const fence = grant.engagement\n',
        replace: `    const fence = grant.engagement
    for (const open of this.#state.openFences.values()) open.waiting.delete(peer)
    for (const [id, open] of this.#state.openFences) if (open.waiting.size === 0) this.#state.openFences.delete(id)
    this.#close(at)
`
      }
    ]
  },
  {
    name: 'names of attempts are used again after a restart',
    cure: 'C7 (I8)',
    edits: [
      {
        file: STATE,
        find: "this.#sequence = Math.max(this.#sequence, Number(id.split(':')[1] ?? 0))",
        replace: 'if (id === "") this.#sequence = 0'
      }
    ]
  },
  {
    name: 'a fence is answered though orphans live',
    cure: 'C8, H8',
    edits: [
      {
        file: 'core/termination/fences.ts',
        find: 'const clear = [...this.#unanswered.keys()].filter(fence => !orphaned.has(fence))',
        replace: 'const clear = [...this.#unanswered.keys()]'
      }
    ]
  },
  {
    name: 'orphans are not cancelled',
    cure: 'FENCE: cancel',
    edits: [
      {
        file: TREE,
        find: "this.#cancelVertex(vertex, CANCELLED, 'its owner was lost', at)",
        replace: ''
      }
    ]
  },
  {
    name: 'a delayed grant revives an engagement that was lost',
    cure: 'C8 (lostMax)',
    edits: [
      { file: PARTICIPANT, find: 'if (frame.engagement <= Math.max(this.#lostMax, this.#losing)) return', replace: '' },
      // A second defence, for a host that was asleep.
      { file: PARTICIPANT, find: 'this.#firstAskedAt = Number.POSITIVE_INFINITY', replace: '' }
    ]
  },
  {
    name: 'a settle is sent once and forgotten',
    cure: 'C9, H9',
    edits: [{ file: TREE, find: 'this.#settles.set(kept.id, kept)', replace: '' }]
  },
  {
    name: 'a lost host never costs a task its tries',
    cure: 'C11, H12',
    edits: [
      {
        file: 'core/termination/obligation.ts',
        find: 'return past.lost < LOSSES_MAX',
        replace: 'return past.lost >= 0'
      },
      {
        file: LEDGER,
        find: "const tooMany = why === 'lost' && this.#state.lostEngagements >= LOST_ENGAGEMENTS_MAX",
        replace: 'const tooMany = false'
      }
    ]
  },
  {
    name: 'LEAVE is sent before the bodies are gone',
    cure: 'C12',
    edits: [
      {
        file: PARTICIPANT,
        find: "this.#selfFence('the daemon is stopping', at, false)\n    if (this.#dying.size === 0) this.#left(at)",
        replace: "this.#selfFence('the daemon is stopping', at, false)\n    this.#left(at)"
      },
      // The engine waits as well, as long as it may.
      { file: 'engine/engine.ts', find: 'await this.#until(() => this.node.host.idle, REAP_WAIT_MS)', replace: '' }
    ]
  }
]
