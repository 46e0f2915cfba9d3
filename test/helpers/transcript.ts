import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Frame } from '../../src/core/frames.ts'
import type { NodeEffect } from '../../src/core/node/index.ts'
import { decodeRecord } from '../../src/wire/frame-codec.ts'
import type { NodeCluster } from './node-cluster.ts'

const NAMES = ['alice', 'bob', 'carol', 'dave']

/** Frames of the background, which would hide the job. */
const HIDDEN = new Set<Frame['kind']>(['heartbeat', 'heartbeatAck', 'hello', 'peers'])

/**
 * Writes down, one line each, what hosts say to each other (when it arrives) and what they do, in words of the protocol.
 * Times are milliseconds since `begin`. What a daemon says to itself never leaves it and is not shown.
 */
export class Transcript {
  readonly #lines: string[] = []
  readonly #cluster: NodeCluster
  readonly #begin: number
  readonly #quietRenewals = new Set<string>()

  constructor(cluster: NodeCluster) {
    this.#cluster = cluster
    this.#begin = cluster.now
    cluster.watcher = {
      frame: (from, to, frame) => this.#frame(from, to, frame),
      effect: (peer, effect) => this.#effect(peer, effect),
      bodyEnded: (peer, path, how) => this.#line(this.#name(peer), `body of ${path} is gone: ${how}`)
    }
  }

  /** Something that the test does: a fault, a wish of the user. */
  note(what: string): void {
    this.#line('***', what)
  }

  text(title: string, story: string): string {
    return `# ${title}\n#\n${story.replace(/^/gm, '# ')}\n\n${this.#lines.join('\n')}\n`
  }

  #name(peer: string): string {
    return NAMES[this.#cluster.hosts.findIndex(host => host.peer === peer)] ?? peer
  }

  #line(who: string, what: string): void {
    const at = `${(this.#cluster.now - this.#begin).toFixed(0)}`.padStart(6)
    this.#lines.push(`${at}  ${who.padEnd(14)}  ${what}`.trimEnd())
  }

  #frame(from: string, to: string, frame: Frame): void {
    if (HIDDEN.has(frame.kind)) return
    if (frame.kind === 'renew' || frame.kind === 'renewed') {
      // Every second the same: only the first of each pair, and those that say something, are worth a line.
      const pair = `${frame.kind} ${from} ${to}`
      const news =
        frame.kind === 'renewed' &&
        [...frame.lost, ...frame.done, ...frame.items.flatMap(i => i.pendingFences)].length > 0
      if (this.#quietRenewals.has(pair) && !news) return
      this.#quietRenewals.add(pair)
    }
    this.#line(`${this.#name(from)} > ${this.#name(to)}`, `${frame.kind.padEnd(9)} ${this.#fields(frame)}`)
  }

  #effect(peer: string, effect: NodeEffect): void {
    const who = this.#name(peer)
    if (effect.kind === 'start')
      this.#line(who, `starts ${effect.task.path} as ${effect.obligation}, attempt ${effect.attempts.join('.')}`)
    if (effect.kind === 'kill') this.#line(who, `kills ${effect.obligation}: ${effect.reason}`)
    if (effect.kind === 'child-settled')
      this.#line(who, `tells ${effect.parent} that ${effect.path} is ${effect.outcome}`)
    if (effect.kind === 'member-changed') this.#line(who, `sees ${this.#name(effect.peer)} ${effect.to}`)
    if (effect.kind !== 'announce') return
    const { records, cancelRequested } = effect.state
    const tasks = records
      .map(decodeRecord)
      .map(({ path, outcome, peer: host }) => `${path} ${outcome} (${this.#name(host)})`)
    this.#line(who, `ANNOUNCES the end${cancelRequested ? ', cancelled' : ''}: ${tasks.join(', ')}`)
  }

  #fields(frame: Frame): string {
    const say = (values: Record<string, unknown>) =>
      Object.entries(values)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ')
    const fences = (list: readonly { fence: number; peer: string }[]) =>
      list.map(f => `${f.fence} of ${this.#name(f.peer)}`).join(', ')
    switch (frame.kind) {
      case 'engage':
        return say({ lost: frame.lost, boot: frame.boot.incarnation })
      case 'grant': {
        const fenced = frame.fenced.map(({ peer, upTo }) => `${this.#name(peer)} up to ${upTo}`).join(', ')
        return say({ engagement: frame.engagement, fenced: `[${fenced}]`, pending: `[${fences(frame.pendingFences)}]` })
      }
      case 'renew':
        return frame.items.map(({ engagement, running, queued }) => say({ engagement, running, queued })).join('; ')
      case 'renewed': {
        const items = frame.items.map(({ engagement, pendingFences }) =>
          say({ engagement, pending: `[${fences(pendingFences)}]` })
        )
        return [...items, ...frame.lost.map(() => 'lost'), ...frame.done.map(() => 'done')].join('; ')
      }
      case 'leave':
        return say({ engagement: frame.engagement })
      case 'fence':
        return say({ fence: frame.fence, peer: this.#name(frame.peer), yourEngagement: frame.yourEngagement })
      case 'fenced':
        return say({ fence: frame.fence, engagement: frame.engagement })
      case 'reserve':
        return say({ request: frame.request, count: frame.count, capability: frame.capability })
      case 'reserved':
        return say({ request: frame.request, slots: frame.slots, engagement: frame.engagement })
      case 'release':
        return say({ request: frame.request, slots: frame.slots, all: frame.all })
      case 'busy':
        return say({ request: frame.request })
      case 'handoff': {
        const { obligation, toEngagement, ownerEngagement, attempts } = frame
        return say({ obligation, task: frame.task.path, toEngagement, ownerEngagement, attempts })
      }
      case 'settle': {
        const records = frame.records.map(decodeRecord).map(({ path, outcome }) => `${path} ${outcome}`)
        return say({ obligation: frame.obligation, outcome: frame.outcome, records: `[${records.join(', ')}]` })
      }
      case 'settled':
        return say({ obligation: frame.obligation })
      case 'cancel':
        return say({ obligation: frame.obligation, toEngagement: frame.toEngagement })
      default:
        return ''
    }
  }
}

const REWRITE = process.env.STARLING_REWRITE_TRANSCRIPTS === '1'

/** Text of the golden transcript, after rewriting it with `actual` when STARLING_REWRITE_TRANSCRIPTS=1. */
export function golden(name: string, actual?: string): string {
  const file = fileURLToPath(new URL(`../transcripts/${name}.txt`, import.meta.url))
  if (REWRITE && actual !== undefined) writeFileSync(file, actual)
  return readFileSync(file, 'utf8')
}
