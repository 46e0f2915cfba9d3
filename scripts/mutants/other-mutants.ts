import type { Mutant } from './mutant.ts'

const TREE = 'core/termination/engaged-tree.ts'
const PARTICIPANT = 'core/termination/participant.ts'
const LEDGER = 'core/termination/ledger.ts'
const STATE = 'core/termination/ledger-state.ts'

/** The core of Dijkstra-Scholten, leases, journal and placement; and the world that the protocol relies on. */
export const OTHER_MUTANTS: readonly Mutant[] = [
  {
    name: 'a task settles before its children',
    cure: 'I2',
    edits: [
      {
        file: TREE,
        find: 'if (vertex.executing || vertex.obligations.size > 0) return\n    if (vertex.state',
        replace: 'if (vertex.executing) return\n    if (vertex.state'
      }
    ]
  },
  {
    name: 'a task settles before its body is gone',
    cure: 'I2 (body)',
    edits: [
      {
        file: TREE,
        find: 'if (vertex.executing || vertex.obligations.size > 0) return\n    if (vertex.state',
        replace: 'if (vertex.obligations.size > 0) return\n    if (vertex.state'
      }
    ]
  },
  {
    name: 'orphans are accepted after the fence',
    cure: 'HANDOFF of a fenced owner',
    edits: [{ file: TREE, find: 'if (this.#fences.covers(from, frame.ownerEngagement)) return', replace: '' }]
  },
  {
    name: 'a task is bound to a fenced engagement',
    cure: 'RESERVED of a fenced host',
    edits: [
      { file: TREE, find: 'if (this.#fences.covers(binding.to, binding.toEngagement)) return false', replace: '' }
    ]
  },
  {
    name: 'a cancel that comes before its hand-off leaves no tombstone',
    cure: 'CANCEL of an unknown attempt',
    edits: [
      {
        file: TREE,
        find: 'this.#seen.add(frame.obligation)\n    const { obligation: id, ownerEngagement } = frame',
        replace: 'const { obligation: id, ownerEngagement } = frame'
      }
    ]
  },
  {
    name: 'a cancel is sent once',
    cure: 'CANCEL is sent again',
    edits: [
      {
        file: TREE,
        find: "if (vertex.state === 'cancelling' || obligation.expired) this.#owned.sendCancel(obligation, at)\n        else",
        replace: "if (vertex.state === 'cancelling' || obligation.expired) continue\n        else"
      },
      {
        file: LEDGER,
        find: 'if (this.#state.cancelRequested || this.#state.obligation?.expired) this.#sendCancel(at)\n      else',
        replace: 'if (this.#state.cancelRequested || this.#state.obligation?.expired) return\n      else'
      }
    ]
  },
  {
    name: 'a hand-off is sent once',
    cure: 'HANDOFF is sent again',
    edits: [
      {
        file: TREE,
        find: 'else if (peer !== undefined || !linked(to)) this.#owned.sendHandoff(obligation, at)',
        replace: 'else linked(to)'
      },
      { file: LEDGER, find: 'else if (peer !== undefined) this.#handoff(at)', replace: '' }
    ]
  },
  {
    name: 'the lease runs from the receipt of the renewal',
    cure: 'lease from sending',
    edits: [
      {
        file: PARTICIPANT,
        find: 'this.#leaseUntil = Math.max(this.#leaseUntil, sentAt + LEASE_MS)',
        replace: 'this.#leaseUntil = Math.max(this.#leaseUntil, at.now + LEASE_MS)'
      }
    ]
  },
  {
    name: 'the root takes a lease for over when the host does',
    cure: 'margins of the expiry (I6)',
    edits: [
      {
        file: 'core/termination/timing.ts',
        find: 'LEASE_EXPIRY_MS = LEASE_MS * (1 + 3 * CLOCK_DRIFT) + KILL_GRACE_MS + LEASE_MARGIN_MS',
        replace: 'LEASE_EXPIRY_MS = LEASE_MS'
      }
    ]
  },
  {
    name: 'the root never takes a lease for over',
    cure: 'expiry of silent grants',
    edits: [
      {
        file: LEDGER,
        find: "if (at.now >= expiresAt) this.#openFence(peer, 'lost', at)",
        replace: "if (at.now >= expiresAt + 1e12) this.#openFence(peer, 'lost', at)"
      }
    ]
  },
  {
    name: 'after a restart the root does not wait for silent grants',
    cure: 'H11 (restart)',
    edits: [
      {
        file: LEDGER,
        find: 'for (const peer of this.#state.grants.keys()) this.#expiresAt.set(peer, at.now + LEASE_EXPIRY_MS)',
        replace: ''
      }
    ]
  },
  {
    name: 'engagements count anew after a restart',
    cure: 'engCounter in the journal',
    edits: [
      {
        file: STATE,
        find: 'this.engagementCounter = Math.max(this.engagementCounter, record.engagement)',
        replace: 'this.engagementCounter = this.grants.size + 1'
      }
    ]
  },
  {
    name: 'effects do not wait for the journal',
    cure: 'C7 (durable before visible), H11',
    edits: [
      {
        file: 'engine/output-queue.ts',
        find: 'this.#waiting.push({ written, effects })',
        replace: 'this.#waiting.push({ written: undefined, effects })'
      }
    ]
  },
  {
    name: 'a submission is acknowledged before it is durable',
    cure: 'acknowledged means durable',
    edits: [
      {
        file: 'engine/engine.ts',
        find: 'await this.#init.journal.commit(writes)',
        replace: 'this.#init.journal.commit(writes)'
      }
    ]
  },
  {
    name: 'the key of a submission is not kept',
    cure: 'idempotent submission',
    edits: [
      {
        file: 'engine/engine.ts',
        find: "if (key !== undefined) writes.unshift({ kind: 'key', job, ...key })",
        replace: 'key?.key'
      }
    ]
  },
  {
    name: 'an announced job is carried on after a restart',
    cure: 'announced in the journal',
    edits: [
      {
        file: 'engine/engine.ts',
        find: "if (damaged.has(job) || history.some(({ kind }) => kind === 'announced')) {",
        replace: 'if (damaged.has(job)) {'
      },
      {
        file: STATE,
        find: "case 'announced':\n        this.announced = true",
        replace: "case 'announced':\n        this.announced ||= false"
      }
    ]
  },
  {
    name: 'a body is started without a last look at its lease',
    cure: 'C3, H14',
    edits: [
      {
        file: 'engine/engine.ts',
        find: 'if (leaseLeftMs === undefined) return\n',
        replace: ''
      },
      {
        file: 'engine/engine.ts',
        find: 'this.attempts.start(effect, leaseLeftMs)',
        replace: 'this.attempts.start(effect, leaseLeftMs ?? 6_000)'
      }
    ]
  },
  {
    name: 'sleep is not noticed',
    cure: 'C3, H15',
    edits: [{ file: 'engine/engine.ts', find: 'this.node.slept(now)', replace: 'this.node.stopping' }]
  },
  {
    name: 'the watchdog outside of the daemon is not there',
    cure: 'external watchdog (A4)',
    edits: [
      {
        file: 'testing/bodies.ts',
        find: 'if (this.#watching || this.#living.size === 0) return',
        replace: 'return'
      }
    ]
  },
  {
    name: 'a daemon boots while bodies of the last boot live',
    cure: 'C3, H3',
    edits: [
      {
        file: 'testing/host.ts',
        find: 'if (this.#runtimes.length > 0) return this.time.after(BOOT_AGAIN_MS, () => this.boot())',
        replace: ''
      }
    ]
  },
  {
    name: 'requests for slots end in silence with their engagement',
    cure: 'BUSY at the end of an engagement',
    edits: [
      {
        file: 'core/placement/slot-table.ts',
        find: 'requests.delete(key)\n        dropped.push(waiting)',
        replace: 'requests.delete(key)'
      }
    ]
  },
  {
    name: 'RESERVED is taken for an answer to another job',
    cure: 'RESERVED names its job',
    edits: [
      {
        file: 'core/placement/placer.ts',
        find: 'group.job !== job || asked?.request !== request',
        replace: 'asked?.request !== request'
      }
    ]
  },
  {
    name: 'the root relays nothing',
    cure: 'C1 (relay), H1',
    edits: [
      {
        file: 'core/node/mesh-node.ts',
        find: 'if (this.roots.ledger(job) !== undefined && this.#linked(to)) this.#send(to, { ...relay, from })',
        replace: 'this.roots.ledger(job)'
      }
    ]
  },
  {
    name: 'a fence is opened for a host that lives',
    cure: 'C1, H1 (I6)',
    edits: [
      {
        file: LEDGER,
        find: "if (at.now >= expiresAt) this.#openFence(peer, 'lost', at)",
        replace: "if (at.now >= expiresAt - 2_500) this.#openFence(peer, 'lost', at)"
      }
    ]
  }
]
