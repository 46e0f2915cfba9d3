import { createHash } from 'node:crypto'
import {
  boundDecision,
  type Considered,
  DEFAULT_POLICY,
  INPUT_BYTES_MAX,
  type PeerId,
  RUNNING_JOBS_MAX,
  StarlingError,
  type SubmittedRecord,
  type TaskPolicy,
  TEXT_QUOTES_BYTES,
  WAITING_INPUT_BYTES_MAX
} from '../core/index.ts'
import type { Clock, Journal, Random } from '../ports/index.ts'
import type { Placement, PolicyRequest, SubmitRequest } from '../wire/api/index.ts'
import type { Engine } from './engine.ts'
import { placementView } from './job-views.ts'
import { toBytes } from './json-bytes.ts'
import { resolveId } from './resolve-id.ts'

export interface SubmissionsInit {
  readonly engine: Engine
  readonly journal: Pick<Journal, 'jobByKey'>
  readonly clock: Clock
  readonly random: Random
}

interface Checked {
  readonly capability: string
  readonly input: Uint8Array
  readonly on: PeerId | undefined
  readonly candidates: readonly Considered[]
}

/** Turns requests into jobs: checks them, makes them idempotent, explains where they would go. */
export class Submissions {
  readonly #init: SubmissionsInit
  /** Submissions under a key that are being written now. */
  readonly #pending = new Map<string, { fingerprint: string; job: Promise<string> }>()
  /** Jobs that are being written now: they count as running. */
  readonly #writing = { jobs: 0, inputBytes: 0 }

  constructor(init: SubmissionsInit) {
    this.#init = init
  }

  async submit(request: SubmitRequest): Promise<{ id: string; existing: boolean }> {
    const { journal } = this.#init
    const input = inputBytes(request.input)
    if (request.id === undefined) {
      return { id: await this.#create(this.#check(request, input), request, undefined), existing: false }
    }
    const key = request.id
    const fingerprint = fingerprintOf(request, input)
    const known = journal.jobByKey(key) ?? this.#pending.get(key)
    if (known !== undefined) {
      if (known.fingerprint === fingerprint) return { id: await known.job, existing: true }
      throw new StarlingError('ID_REUSED', `the id "${key}" was used for another submission`, {
        hint: 'use another --id, or submit the same capability, input and peer again'
      })
    }
    const job = this.#create(this.#check(request, input), request, { key, fingerprint })
    this.#pending.set(key, { fingerprint, job })
    try {
      return { id: await job, existing: false }
    } finally {
      this.#pending.delete(key)
    }
  }

  plan(request: SubmitRequest): Placement {
    const { candidates } = this.#check(request, inputBytes(request.input))
    const able = candidates.filter(({ eligible }) => eligible)
    const [first] = able.filter(({ free }) => (free ?? 0) > 0)
    if (first === undefined) {
      const reason = `all slots of ${able.length} able peers are taken: it would wait here for the first one to fall free`
      return placementView({ chosen: null, reason, candidates, waitedMs: null })
    }
    const local = candidates.find(({ peer, free }) => peer === this.#init.engine.node.view.self && (free ?? 0) > 0)
    const chosen = local?.eligible === true ? local : [...able].sort((a, b) => (b.free ?? 0) - (a.free ?? 0))[0]
    const peer = (chosen ?? first).peer
    const why = 'the likely one: two hosts are asked, and the first with a free slot gets it'
    return placementView({ ...boundDecision(peer, candidates, [], 0), reason: why, waitedMs: null })
  }

  async #create(
    checked: Checked,
    request: SubmitRequest,
    key: { key: string; fingerprint: string } | undefined
  ): Promise<string> {
    const { engine, clock, random } = this.#init
    const job = random.id()
    const { capability, input, on } = checked
    const traceparent = request.traceparent ?? ''
    const policy = policyOf(request)
    const submitted: SubmittedRecord = {
      kind: 'submitted',
      job,
      capability,
      input,
      on,
      traceparent,
      policy,
      submittedAt: clock.wall()
    }
    this.#writing.jobs += 1
    this.#writing.inputBytes += input.length
    try {
      await engine.submit(submitted, key)
    } finally {
      this.#writing.jobs -= 1
      this.#writing.inputBytes -= input.length
    }
    return job
  }

  #check(request: SubmitRequest, input: Uint8Array): Checked {
    const { engine, clock } = this.#init
    const { node } = engine
    const { capability } = request
    if (node.stopping)
      throw new StarlingError('DAEMON_STOPPING', 'this daemon is stopping', { hint: 'submit to another one' })
    const ledgers = node.roots.ledgers()
    const running = ledgers.length + this.#writing.jobs
    const waiting = ledgers.reduce(
      (sum, { state }) => sum + (state.obligation?.task.input.length ?? 0),
      this.#writing.inputBytes
    )
    if (running >= RUNNING_JOBS_MAX || waiting + input.length > WAITING_INPUT_BYTES_MAX) {
      const message = `${running} jobs with ${waiting} bytes of input are running here already`
      throw new StarlingError('LIMIT_REACHED', message, { hint: 'wait for some of them, or submit at another daemon' })
    }
    const on = request.on === undefined ? undefined : this.peer(request.on)
    const candidates = node.consider(capability, on, clock.now())
    const offered = candidates.some(({ free, peer }) => free !== null && (on === undefined || peer === on))
    if (!offered) this.#refuse(capability, on)
    return { capability, input, on, candidates }
  }

  #refuse(capability: string, on: PeerId | undefined): never {
    const { node } = this.#init.engine
    const known = [...node.knownCapabilities()].sort()
    const there = known.length === 0 ? 'Nothing is offered now.' : `Offered now: ${known.join(', ')}.`
    const who = on === undefined ? 'No peer offers' : `${this.#init.engine.nameOf(on) || on} does not offer`
    throw new StarlingError('NO_CAPABLE_PEER', `${who} "${capability}". ${there}`, {
      hint: 'declare it in the configuration of a host, or start an SDK worker that serves it'
    })
  }

  /** A peer by name, id or unique prefix. @throws StarlingError NOT_FOUND, AMBIGUOUS_ID */
  peer(wanted: string): PeerId {
    const { node, nameOf } = this.#init.engine
    const peers = [node.view.self, ...node.view.members().map(({ peer }) => peer)]
    const named = peers.filter(peer => nameOf.call(this.#init.engine, peer) === wanted)
    const [only] = named
    if (only === undefined) return resolveId('peer', wanted, peers)
    if (named.length > 1) {
      throw new StarlingError('AMBIGUOUS_ID', `${named.length} peers have the name "${wanted}": ${named.join(', ')}`, {
        hint: 'give an id, or enough of its beginning'
      })
    }
    return only
  }
}

/**
 * An input as JSON text. The quotes of a plain text do not count, so that 1 MiB of text is 1 MiB.
 * @throws StarlingError INPUT_TOO_LARGE
 */
export function inputBytes(input: unknown): Uint8Array {
  const bytes = toBytes(input)
  const length = bytes.length - (typeof input === 'string' ? TEXT_QUOTES_BYTES : 0)
  if (length > INPUT_BYTES_MAX) {
    const message = `the input is ${length} bytes long as JSON; the limit is ${INPUT_BYTES_MAX}`
    throw new StarlingError('INPUT_TOO_LARGE', message, { hint: 'pass a path or a reference instead of the content' })
  }
  return bytes
}

/** Undefined when nothing was asked for. */
export function policyOf({ exclusive, retry, deadlineMs }: PolicyRequest): TaskPolicy | undefined {
  if (exclusive === undefined && retry === undefined && deadlineMs === undefined) return undefined
  return {
    exclusive: exclusive ?? DEFAULT_POLICY.exclusive,
    attemptsMax: retry?.attempts ?? DEFAULT_POLICY.attemptsMax,
    backoffMs: retry?.backoffMs ?? DEFAULT_POLICY.backoffMs,
    deadlineMs: deadlineMs ?? DEFAULT_POLICY.deadlineMs
  }
}

/** What makes two submissions the same. */
function fingerprintOf(request: SubmitRequest, input: Uint8Array): string {
  const { capability, on } = request
  const head = JSON.stringify([capability, on ?? null, policyOf(request) ?? null])
  return createHash('sha256').update(head).update('\0').update(input).digest('hex')
}
