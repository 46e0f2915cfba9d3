import type { JobId, Monotonic, ObligationId, PeerId } from '../ids.ts'

/** A granted slot that no hand-off has used is free again after this: a few round trips and one slow event loop. */
export const RESERVATION_TTL_MS = 2_000

/** Requests that may wait at one host for one capability: every member's every running job and a reserve. */
export const WAITING_REQUESTS_MAX = 4_096

/** An owner's request for slots, as the host keeps it. */
export interface SlotRequest {
  readonly from: PeerId
  readonly request: number
  readonly job: JobId
  readonly root: PeerId
  readonly capability: string
}

/** `slots` slots are set aside for this request from now on. */
export interface SlotGrant extends SlotRequest {
  readonly slots: number
}

interface Waiting extends SlotRequest {
  wanted: number
  /** Slots set aside, not yet used. */
  held: number
  heldUntil: Monotonic
}

/** An accepted attempt that waits for its slot, or has just been given it. */
export interface Queued {
  readonly job: JobId
  readonly obligation: ObligationId
  readonly capability: string
}

interface Capability {
  slots: number
  /** Attempts that execute and do not wait for a child. */
  busy: number
  readonly queue: Queued[]
  readonly requests: Map<string, Waiting>
}

/**
 * Slots of one host: what runs, what is set aside for whom, who waits. Late binding (Sparrow, SOSP 2013): an owner's
 * request stays here until a slot falls free, and only then the owner chooses the task for it; an idle host thereby
 * pulls work from all owners that have some, in turn.
 */
export class SlotTable {
  readonly #capabilities = new Map<string, Capability>()

  /**
   * Sets the number of slots; 0 takes the capability away. Returns the requests that are void by it. Slots
   * that were promised stay so until they are used, released or expired: a hand-off may be on its way.
   */
  offer(name: string, slots: number): SlotRequest[] {
    const known = this.#capabilities.get(name)
    if (known !== undefined) {
      known.slots = slots
      if (slots > 0) return []
      const dropped: SlotRequest[] = []
      for (const [key, waiting] of known.requests) {
        waiting.wanted = 0
        dropped.push(waiting)
        if (waiting.held === 0) known.requests.delete(key)
      }
      this.#dropUnused(name)
      return dropped
    }
    if (slots > 0) this.#capabilities.set(name, { slots, busy: 0, queue: [], requests: new Map() })
    return []
  }

  offered(): { name: string; slots: number; free: number }[] {
    const offers: { name: string; slots: number; free: number }[] = []
    for (const [name, capability] of this.#capabilities) {
      if (capability.slots > 0) offers.push({ name, slots: capability.slots, free: this.free(name) })
    }
    return offers
  }

  free(name: string): number {
    const capability = this.#capabilities.get(name)
    if (capability === undefined) return 0
    return Math.max(0, capability.slots - capability.busy - capability.queue.length - heldOf(capability))
  }

  queued(): number {
    let queued = 0
    for (const { queue } of this.#capabilities.values()) queued += queue.length
    return queued
  }

  /** Slots that are promised to owners, whose hand-offs may be on their way. */
  promised(): number {
    let promised = 0
    for (const capability of this.#capabilities.values()) promised += heldOf(capability)
    return promised
  }

  /** Adds to an owner's request. False: not offered here, or too many wait. */
  request(of: SlotRequest, count: number): boolean {
    const capability = this.#capabilities.get(of.capability)
    if (capability === undefined || capability.slots === 0) return false
    const key = keyOf(of.from, of.request)
    const waiting = capability.requests.get(key)
    if (waiting !== undefined) {
      waiting.wanted += count
      return true
    }
    if (capability.requests.size >= WAITING_REQUESTS_MAX) return false
    capability.requests.set(key, { ...of, wanted: count, held: 0, heldUntil: 0 })
    return true
  }

  /** The owner gives `slots` held slots back; with `all` it wants no more either. */
  release(from: PeerId, request: number, slots: number, all: boolean): void {
    for (const { requests } of this.#capabilities.values()) {
      const key = keyOf(from, request)
      const waiting = requests.get(key)
      if (waiting === undefined) continue
      waiting.held = Math.max(0, waiting.held - slots)
      if (all || isSpent(waiting)) requests.delete(key)
    }
    this.#dropAllUnused()
  }

  /** Its link is gone: nothing is set aside for it any more; its accepted attempts stay. */
  forget(peer: PeerId): void {
    for (const { requests } of this.#capabilities.values()) {
      for (const [key, waiting] of requests) if (waiting.from === peer) requests.delete(key)
    }
    this.#dropAllUnused()
  }

  /** Requests and queued attempts of a job are void. Returns the requests: whoever made them must be told to ask again. */
  drop(job: JobId): SlotRequest[] {
    const dropped: SlotRequest[] = []
    for (const [name, { requests, queue }] of this.#capabilities) {
      for (const [key, waiting] of requests) {
        if (waiting.job !== job) continue
        requests.delete(key)
        dropped.push(waiting)
      }
      removeAll(queue, queued => queued.job === job)
      this.#dropUnused(name)
    }
    return dropped
  }

  /** A handed-off attempt waits for its slot: the one that was set aside for `request`, if it still is. */
  enqueue(job: JobId, obligation: ObligationId, capability: string, from: PeerId, request: number): void {
    // The capability may have gone away while the hand-off travelled; then the caller gives the attempt back.
    const entry = this.#entry(capability)
    const key = keyOf(from, request)
    const waiting = entry.requests.get(key)
    if (waiting !== undefined) {
      waiting.held = Math.max(0, waiting.held - 1)
      if (isSpent(waiting)) entry.requests.delete(key)
    }
    entry.queue.push({ job, obligation, capability })
  }

  dequeue(job: JobId, obligation: ObligationId): void {
    for (const [name, { queue }] of this.#capabilities) {
      removeAll(queue, queued => queued.job === job && queued.obligation === obligation)
      this.#dropUnused(name)
    }
  }

  /** Attempts that may start now, in order of arrival; each takes a slot, which `leave` gives back. */
  startable(): Queued[] {
    const startable: Queued[] = []
    for (const capability of this.#capabilities.values()) {
      while (capability.queue.length > 0 && capability.busy < capability.slots) {
        const next = capability.queue.shift()
        if (next === undefined) break
        capability.busy += 1
        startable.push(next)
      }
    }
    return startable
  }

  /** Queued attempts of capabilities that are offered no more. */
  stranded(): Queued[] {
    const stranded: Queued[] = []
    for (const { slots, queue } of this.#capabilities.values()) if (slots === 0) stranded.push(...queue)
    return stranded
  }

  /** An attempt takes a slot again (its wait for a child is over), even when none is free: it has begun already. */
  enter(capability: string): void {
    this.#entry(capability).busy += 1
  }

  /** An attempt ended, or waits for a child. */
  leave(capability: string): void {
    const entry = this.#capabilities.get(capability)
    if (entry === undefined) return
    entry.busy = Math.max(0, entry.busy - 1)
    this.#dropUnused(capability)
  }

  /** Sets free slots aside for those who wait, one each in turn, and says so. */
  grant(now: Monotonic): SlotGrant[] {
    const grants: SlotGrant[] = []
    for (const [name, capability] of this.#capabilities) {
      let free = this.free(name)
      if (free === 0 || capability.requests.size === 0) continue
      const given = new Map<Waiting, number>()
      let progress = true
      while (free > 0 && progress) {
        progress = false
        for (const [key, waiting] of [...capability.requests]) {
          if (free === 0) break
          if (waiting.wanted === 0) continue
          waiting.wanted -= 1
          waiting.held += 1
          waiting.heldUntil = now + RESERVATION_TTL_MS
          given.set(waiting, (given.get(waiting) ?? 0) + 1)
          free -= 1
          progress = true
          // Whoever was served goes to the end of the line.
          capability.requests.delete(key)
          capability.requests.set(key, waiting)
        }
      }
      for (const [{ from, request, job, root, capability: asked }, slots] of given) {
        grants.push({ from, request, job, root, capability: asked, slots })
      }
    }
    return grants
  }

  /** Frees slots that were set aside and never used. */
  expire(now: Monotonic): void {
    for (const { requests } of this.#capabilities.values()) {
      for (const [key, waiting] of requests) {
        if (waiting.held === 0 || now < waiting.heldUntil) continue
        waiting.held = 0
        if (isSpent(waiting)) requests.delete(key)
      }
    }
    this.#dropAllUnused()
  }

  #entry(name: string): Capability {
    let entry = this.#capabilities.get(name)
    if (entry === undefined) {
      entry = { slots: 0, busy: 0, queue: [], requests: new Map() }
      this.#capabilities.set(name, entry)
    }
    return entry
  }

  /** A capability that is offered no more is forgotten with its last attempt. */
  #dropUnused(name: string): void {
    const entry = this.#capabilities.get(name)
    if (entry?.slots !== 0 || entry.busy > 0 || entry.queue.length > 0 || entry.requests.size > 0) return
    this.#capabilities.delete(name)
  }

  #dropAllUnused(): void {
    for (const name of this.#capabilities.keys()) this.#dropUnused(name)
  }
}

function isSpent(waiting: Waiting): boolean {
  return waiting.held === 0 && waiting.wanted === 0
}

function keyOf(from: PeerId, request: number): string {
  return `${from} ${request}`
}

function heldOf(capability: Capability): number {
  let held = 0
  for (const waiting of capability.requests.values()) held += waiting.held
  return held
}

function removeAll<T>(list: T[], matches: (item: T) => boolean): void {
  for (let index = list.length - 1; index >= 0; index -= 1) {
    const item = list[index]
    if (item !== undefined && matches(item)) list.splice(index, 1)
  }
}
