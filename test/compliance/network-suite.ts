import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Advertisement, Frame } from '../../src/core/frames.ts'
import type { PeerId } from '../../src/core/ids.ts'
import { ROOT_ENGAGEMENT } from '../../src/core/ids.ts'
import { INPUT_BYTES_MAX } from '../../src/core/limits.ts'
import type { LinkInfo, Network, NetworkHandlers } from '../../src/ports/network.ts'

export interface NetworkSubject {
  /** A member of one and the same swarm, not started. All members that are started find each other by themselves. */
  member(): Promise<Network>
  /** Stops what is left. */
  teardown(): Promise<void>
}

type Seen =
  | { kind: 'up'; peer: PeerId; link: LinkInfo }
  | { kind: 'down'; peer: PeerId; reason: string }
  | { kind: 'frame'; peer: PeerId; frame: Frame }
  | { kind: 'advertisement'; peer: PeerId; advertisement: Advertisement }

/** What every Network does. Run it against each implementation. */
export function networkSuite(name: string, setup: () => NetworkSubject): void {
  describe(`${name} is a Network`, () => {
    let subject: NetworkSubject
    let a: Network
    let b: Network
    let seenByA: Seen[]
    let seenByB: Seen[]

    beforeEach(async () => {
      subject = setup()
      a = await subject.member()
      b = await subject.member()
      seenByA = []
      seenByB = []
    })
    afterEach(() => subject.teardown())

    const startBoth = async (): Promise<void> => {
      await a.start(record(seenByA))
      await b.start(record(seenByB))
      await until(() => linked(seenByA, b.self) && linked(seenByB, a.self))
    }

    test('before it is started it has no addresses and sends nothing', () => {
      expect(a.addresses()).toEqual([])
      expect(a.send(b.self, heartbeat(1))).toBe(false)
    })

    test('two members link once, in opposite directions, and know where the other is', async () => {
      await startBoth()
      const [up] = seenByA
      const [other] = seenByB
      if (up?.kind !== 'up' || other?.kind !== 'up') throw new Error('the first call is not linkUp')
      expect(new Set([up.link.direction, other.link.direction])).toEqual(new Set(['inbound', 'outbound']))
      expect(seenByA.filter(({ kind }) => kind === 'up')).toHaveLength(1)
      expect(a.addresses()).not.toEqual([])
      await until(() => a.known(b.self).length > 0 && b.known(a.self).length > 0)
      for (const address of [...a.addresses(), ...a.known(b.self)]) expect(address).not.toContain('/p2p/')
    })

    test('frames arrive in order, in both directions, and never before linkUp', async () => {
      const early = record(seenByA)
      early.linkUp = (peer, link) => {
        seenByA.push({ kind: 'up', peer, link })
        for (let sequence = 1; sequence <= 200; sequence += 1) expect(a.send(peer, heartbeat(sequence))).toBe(true)
      }
      await a.start(early)
      await b.start(record(seenByB))
      await until(() => framesFrom(seenByB, a.self).length === 200)
      expect(seenByB[0]?.kind).toBe('up')
      expect(framesFrom(seenByB, a.self)).toEqual(Array.from({ length: 200 }, (_, index) => heartbeat(index + 1)))
      b.send(a.self, heartbeat(7))
      await until(() => framesFrom(seenByA, b.self).length === 1)
    })

    test('the largest task input arrives whole, and its bytes belong to the receiver', async () => {
      await startBoth()
      const input = new Uint8Array(INPUT_BYTES_MAX).fill(65)
      expect(a.send(b.self, handoff(a.self, input))).toBe(true)
      input.fill(66)
      await until(() => framesFrom(seenByB, a.self).length === 1)
      const [frame] = framesFrom(seenByB, a.self)
      if (frame?.kind !== 'handoff') throw new Error('no handoff')
      expect(frame.task.input.length).toBe(INPUT_BYTES_MAX)
      expect(frame.task.input.every(byte => byte === 65)).toBe(true)
    })

    test('handlers are never called inside a call of theirs', async () => {
      let depth = 0
      let deepest = 0
      const guard = <A extends unknown[]>(run: (...args: A) => void) => {
        return (...args: A): void => {
          depth += 1
          deepest = Math.max(deepest, depth)
          run(...args)
          depth -= 1
        }
      }
      const plain = record(seenByA)
      await a.start({
        linkUp: guard((peer, link) => plain.linkUp(peer, link)),
        linkDown: guard((peer, reason) => plain.linkDown(peer, reason)),
        frame: guard((peer, frame) => {
          plain.frame(peer, frame)
          a.send(peer, frame)
          a.disconnect(peer, 'test')
        }),
        advertisement: guard((peer, advertisement) => plain.advertisement(peer, advertisement))
      })
      await b.start(record(seenByB))
      await until(() => linked(seenByB, a.self))
      b.send(a.self, heartbeat(1))
      await until(() => seenByA.some(({ kind }) => kind === 'down'))
      expect(deepest).toBe(1)
    })

    test('there is no link to an unknown peer, nor to itself', async () => {
      await startBoth()
      expect(a.send('12D3KooWUnknownUnknownUnknownUnknownUnknownUnknown11', heartbeat(1))).toBe(false)
      expect(a.send(a.self, heartbeat(1))).toBe(false)
    })

    test('disconnect is noticed at both sides, and the link comes back by itself', async () => {
      await startBoth()
      a.disconnect(b.self, 'silent')
      expect(a.send(b.self, heartbeat(1))).toBe(false)
      await until(() => count(seenByA, 'down') === 1 && count(seenByB, 'down') === 1)
      await until(() => linked(seenByA, b.self) && linked(seenByB, a.self))
      expect(a.send(b.self, heartbeat(2))).toBe(true)
      await until(() => framesFrom(seenByB, a.self).length === 1)
      expect(kindsFor(seenByB, a.self)).toEqual(['up', 'down', 'up', 'frame'])
    })

    test('an advertisement reaches the others with its proven author, and not the author', async () => {
      await startBoth()
      const advertisement = advertise(a.self, a.addresses())
      await until(() => {
        a.publish(advertisement)
        return seenByB.some(seen => seen.kind === 'advertisement' && seen.peer === a.self)
      })
      const got = seenByB.find(seen => seen.kind === 'advertisement')
      expect(got).toEqual({ kind: 'advertisement', peer: a.self, advertisement })
      expect(count(seenByA, 'advertisement')).toBe(0)
    })

    test('hints are kept, once each', async () => {
      await a.start(record(seenByA))
      a.learn(b.self, ['/ip4/127.0.0.1/tcp/9'])
      a.learn(b.self, ['/ip4/127.0.0.1/tcp/9'])
      expect(a.known(b.self)).toEqual(['/ip4/127.0.0.1/tcp/9'])
    })

    test('stop is noticed by the other side, can be repeated, and ends all calls', async () => {
      await startBoth()
      const stopped = a.stop()
      await Promise.all([stopped, a.stop()])
      const calls = seenByA.length
      expect(a.send(b.self, heartbeat(1))).toBe(false)
      await until(() => count(seenByB, 'down') === 1)
      a.publish(advertise(a.self, []))
      a.disconnect(b.self, 'late')
      await a.stop()
      expect(seenByA.length).toBe(calls)
      expect(a.addresses()).toEqual([])
    })

    test('a frame that is sent right before stop still arrives', async () => {
      await startBoth()
      a.send(b.self, { kind: 'goodbye' })
      await a.stop()
      await until(() => count(seenByB, 'down') === 1)
      expect(kindsFor(seenByB, a.self)).toEqual(['up', 'frame', 'down'])
    })
  })
}

function record(seen: Seen[]): NetworkHandlers {
  return {
    linkUp: (peer, link) => void seen.push({ kind: 'up', peer, link }),
    linkDown: (peer, reason) => void seen.push({ kind: 'down', peer, reason }),
    frame: (peer, frame) => void seen.push({ kind: 'frame', peer, frame }),
    advertisement: (peer, advertisement) => void seen.push({ kind: 'advertisement', peer, advertisement })
  }
}

function until(condition: () => boolean): Promise<void> {
  return vi.waitFor(() => expect(condition()).toBe(true), { timeout: 10_000, interval: 5 })
}

function count(seen: readonly Seen[], kind: Seen['kind']): number {
  return seen.filter(one => one.kind === kind).length
}

function kindsFor(seen: readonly Seen[], peer: PeerId): Seen['kind'][] {
  return seen.filter(one => one.peer === peer).map(({ kind }) => kind)
}

function linked(seen: readonly Seen[], peer: PeerId): boolean {
  const last = seen.filter(one => one.peer === peer && (one.kind === 'up' || one.kind === 'down')).at(-1)
  return last?.kind === 'up'
}

function framesFrom(seen: readonly Seen[], peer: PeerId): Frame[] {
  return seen.flatMap(one => (one.kind === 'frame' && one.peer === peer ? [one.frame] : []))
}

function heartbeat(sequence: number): Frame {
  return { kind: 'heartbeat', sequence }
}

function handoff(root: PeerId, input: Uint8Array): Frame {
  return {
    kind: 'handoff',
    job: 'a'.repeat(26),
    obligation: '0:1',
    toEngagement: 1,
    ownerEngagement: ROOT_ENGAGEMENT,
    root,
    request: 1,
    task: { path: '0', capability: 'lint', input, traceparent: '' },
    attempts: [1]
  }
}

function advertise(peer: PeerId, addresses: string[]): Advertisement {
  return {
    peer,
    incarnation: 1,
    sequence: 1,
    name: 'alice',
    version: '0.1.0',
    capabilities: [{ name: 'lint', slots: 2, free: 1 }],
    running: 1,
    queued: 0,
    addresses,
    drain: 'no'
  }
}
