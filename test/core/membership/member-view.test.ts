import { describe, expect, test } from 'vitest'
import type { Advertisement } from '../../../src/core/frames.ts'
import { PEERS_MAX } from '../../../src/core/limits.ts'
import {
  AWARENESS_MAX,
  DEAD_AFTER_MS,
  FORGET_AFTER_MS,
  HEARTBEAT_INTERVAL_MS,
  LATE_TIMER_MS,
  type MembershipEffect,
  MemberView,
  SUSPECT_AFTER_MS
} from '../../../src/core/membership/index.ts'

const boot = (incarnation: number) => ({ incarnation, nonce: 'b0'.repeat(8) })
const advertisement = (peer: string, incarnation = 1, sequence = 1): Advertisement => {
  const nothing = { capabilities: [], running: 0, queued: 0, addresses: [], drain: 'no' } as const
  return { peer, incarnation, sequence, name: peer, version: '0', ...nothing }
}

/** A view that ticks on time. Peers in `talking` are heard at every tick. */
class Scene {
  readonly view = new MemberView('me')
  readonly out: MembershipEffect[] = []
  readonly talking = new Set<string>()
  now = 0

  link(...peers: string[]): this {
    for (const peer of peers) this.view.linkUp(peer, this.now, this.out)
    return this
  }

  advance(ms: number): this {
    const end = this.now + ms
    while (this.now < end) {
      this.now = Math.min(end, this.now + HEARTBEAT_INTERVAL_MS)
      for (const peer of this.talking) this.view.heard(peer, this.now, this.out)
      this.view.tick(this.now, this.out)
    }
    return this
  }

  state(peer: string): string | undefined {
    return this.view.get(peer)?.state
  }

  changes(peer: string): string[] {
    return this.out.flatMap(effect => (effect.kind === 'member-changed' && effect.peer === peer ? [effect.to] : []))
  }
}

/** Alice falls silent while bob and carol talk on. */
function silence(): Scene {
  const scene = new Scene().link('alice', 'bob', 'carol')
  scene.talking.add('bob').add('carol')
  return scene
}

describe('a member', () => {
  test('is alive when it is linked, suspect when it is silent, dead when it stays so, and its link is cut then', () => {
    const scene = silence()
    scene.advance(SUSPECT_AFTER_MS - 300)
    expect(scene.state('alice')).toBe('alive')
    scene.advance(HEARTBEAT_INTERVAL_MS)
    expect(scene.state('alice')).toBe('suspect')
    scene.advance(DEAD_AFTER_MS - scene.now)
    expect(scene.out).not.toContainEqual(expect.objectContaining({ kind: 'cut' }))
    scene.advance(HEARTBEAT_INTERVAL_MS)
    expect(scene.changes('alice')).toEqual(['alive', 'suspect', 'dead'])
    expect(scene.out).toContainEqual({ kind: 'cut', peer: 'alice', reason: 'silent' })
    expect(scene.changes('bob')).toEqual(['alive'])
  })

  test('that says anything is alive again', () => {
    const scene = silence()
    scene.advance(4_000)
    scene.view.heard('alice', scene.now, scene.out)
    expect(scene.changes('alice')).toEqual(['alive', 'suspect', 'alive'])
  })

  test('whose link closes is suspect at once and dead after a while', () => {
    const scene = silence()
    scene.view.linkDown('alice', 0, scene.out)
    expect(scene.state('alice')).toBe('suspect')
    scene.advance(DEAD_AFTER_MS)
    expect(scene.state('alice')).toBe('suspect')
    scene.advance(HEARTBEAT_INTERVAL_MS)
    expect(scene.state('alice')).toBe('dead')
  })

  test('that says goodbye has left: neither silence nor its last frames change that, its next link does', () => {
    const scene = silence()
    scene.view.goodbye('alice', 0, scene.out)
    scene.view.heard('alice', 1, scene.out)
    scene.view.linkDown('alice', 2, scene.out)
    scene.advance(60_000)
    expect(scene.state('alice')).toBe('left')
    scene.link('alice')
    expect(scene.changes('alice')).toEqual(['alive', 'left', 'alive'])
  })

  test('that was taken for dead is alive with the hello of a new boot', () => {
    const scene = silence()
    scene.advance(10_000)
    expect(scene.state('alice')).toBe('dead')
    scene.link('alice')
    scene.view.hello('alice', boot(2), advertisement('alice', 2), scene.now, scene.out)
    expect(scene.state('alice')).toBe('alive')
    expect(scene.view.get('alice')?.boot).toEqual(boot(2))
  })

  test('of which only gossip is heard is never alive, since nothing can be sent to it', () => {
    const scene = new Scene()
    scene.view.advertised('alice', advertisement('alice'), 0)
    expect(scene.state('alice')).toBe('suspect')
    scene.advance(10_000)
    scene.view.advertised('alice', advertisement('alice', 1, 2), scene.now)
    expect(scene.state('alice')).toBe('dead')
  })

  test('is forgotten a day after it has gone, not while it is linked', () => {
    const scene = silence()
    scene.view.linkDown('alice', 0, scene.out)
    scene.advance(10_000)
    const since = scene.view.get('alice')?.since ?? 0
    for (const [at, known] of [
      [since + FORGET_AFTER_MS, true],
      [since + FORGET_AFTER_MS + HEARTBEAT_INTERVAL_MS, false]
    ] as const) {
      scene.view.tick(at - HEARTBEAT_INTERVAL_MS, [])
      scene.view.tick(at, [])
      expect(scene.view.get('alice') !== undefined).toBe(known)
    }
    expect(scene.view.get('bob')).toBeDefined()
  })

  test('the daemon itself is no member', () => {
    const scene = new Scene().link('me')
    scene.view.hello('me', boot(1), advertisement('me'), 0, scene.out)
    expect(scene.view.members()).toEqual([])
    expect(scene.out).toEqual([])
  })
})

describe('a host that is slow itself', () => {
  test('accuses nobody at a late tick, and gives everybody time', () => {
    const scene = silence()
    scene.advance(3_000)
    scene.view.tick(scene.now + HEARTBEAT_INTERVAL_MS + LATE_TIMER_MS + 1, scene.out)
    expect(scene.state('alice')).toBe('alive')
    expect(scene.view.awareness).toBe(1)
  })

  test('a tick that is late by LATE_TIMER_MS exactly is on time', () => {
    const scene = silence()
    scene.advance(3_000)
    scene.view.tick(scene.now + HEARTBEAT_INTERVAL_MS + LATE_TIMER_MS, scene.out)
    expect(scene.view.awareness).toBe(0)
    expect(scene.state('alice')).toBe('suspect')
  })

  test('is patient for longer the more often it was late, up to a bound, and recovers step by step', () => {
    const scene = new Scene().advance(HEARTBEAT_INTERVAL_MS)
    for (let late = 1; late <= AWARENESS_MAX + 3; late += 1) {
      scene.now += HEARTBEAT_INTERVAL_MS + LATE_TIMER_MS + 1
      scene.view.tick(scene.now, scene.out)
      expect(scene.view.awareness).toBe(Math.min(late, AWARENESS_MAX))
    }
    scene.advance(2 * HEARTBEAT_INTERVAL_MS)
    expect(scene.view.awareness).toBe(AWARENESS_MAX - 2)
    scene.advance(AWARENESS_MAX * HEARTBEAT_INTERVAL_MS)
    expect(scene.view.awareness).toBe(0)
  })

  test('that stood still for a minute finds everybody alive, as it left them', () => {
    const scene = silence()
    scene.advance(2_000)
    scene.now += 60_000
    scene.view.tick(scene.now, scene.out)
    scene.advance(2_000)
    expect(['alice', 'bob', 'carol'].map(peer => scene.state(peer))).toEqual(['alive', 'alive', 'alive'])
  })

  test('that hears nothing of more than half of its peers suspects none of them: it is its own link', () => {
    const scene = new Scene().link('alice', 'bob', 'carol')
    scene.talking.add('carol')
    scene.advance(SUSPECT_AFTER_MS + 1_000)
    expect(['alice', 'bob'].map(peer => scene.state(peer))).toEqual(['alive', 'alive'])
    scene.advance(2 * DEAD_AFTER_MS)
    expect(
      ['alice', 'bob'].map(peer => scene.state(peer)),
      'not for ever'
    ).toEqual(['dead', 'dead'])
  })

  test('that hears nothing of half of its peers suspects those', () => {
    const scene = new Scene().link('alice', 'bob', 'carol', 'dave')
    scene.talking.add('carol').add('dave')
    scene.advance(SUSPECT_AFTER_MS + 1_000)
    expect(['alice', 'bob'].map(peer => scene.state(peer))).toEqual(['suspect', 'suspect'])
  })
})

describe('round trips', () => {
  test('are smoothed with gain 1/8, from the first measurement on', () => {
    const scene = new Scene().link('alice')
    scene.view.heartbeat('alice', 1, 100)
    scene.view.heartbeatAck('alice', 1, 108)
    expect(scene.view.get('alice')?.rttMs).toBe(8)
    scene.view.heartbeat('alice', 2, 200)
    scene.view.heartbeatAck('alice', 2, 216)
    expect(scene.view.get('alice')?.rttMs).toBe(9)
  })

  test('are measured only by the answer to the last heartbeat, and once', () => {
    const scene = new Scene().link('alice')
    scene.view.heartbeat('alice', 1, 100)
    scene.view.heartbeat('alice', 2, 200)
    scene.view.heartbeatAck('alice', 1, 500)
    expect(scene.view.get('alice')?.rttMs).toBeUndefined()
    scene.view.heartbeatAck('alice', 2, 204)
    scene.view.heartbeatAck('alice', 2, 999)
    scene.view.heartbeatAck('stranger', 2, 999)
    expect(scene.view.get('alice')?.rttMs).toBe(4)
  })

  test('do not outlive the link: an answer over the next one is none', () => {
    const scene = new Scene().link('alice')
    scene.view.heartbeat('alice', 1, 100)
    scene.view.linkDown('alice', 150, scene.out)
    scene.link('alice')
    scene.view.heartbeatAck('alice', 1, 9_000)
    expect(scene.view.get('alice')?.rttMs).toBeUndefined()
  })
})

describe('advertisements', () => {
  const orders: [known: [number, number], next: [number, number], newer: boolean][] = [
    [[1, 1], [1, 2], true],
    [[1, 2], [1, 2], false],
    [[1, 2], [1, 1], false],
    [[1, 9], [2, 1], true],
    [[2, 1], [1, 9], false]
  ]

  test.each(orders)('after (incarnation, sequence) %j, %j is newer: %s', (known, next, newer) => {
    const scene = new Scene()
    expect(scene.view.advertised('alice', advertisement('alice', ...known), 10)).toBe(true)
    expect(scene.view.advertised('alice', advertisement('alice', ...next), 20)).toBe(newer)
    const member = scene.view.get('alice')
    const [incarnation, sequence] = newer ? next : known
    expect(member?.advertisement).toMatchObject({ incarnation, sequence })
    expect(member?.advertisedAt).toBe(newer ? 20 : 10)
  })
})

describe(`at ${PEERS_MAX} members`, () => {
  const full = (linked: number) => {
    const scene = new Scene()
    for (let index = 0; index < PEERS_MAX; index += 1) {
      scene.now = index
      scene.link(`peer${index}`)
      if (index >= linked) scene.view.linkDown(`peer${index}`, index, scene.out)
    }
    return scene
  }

  test('a new one takes the place of the one that has been gone longest', () => {
    const scene = full(10)
    scene.link('new')
    expect(scene.view.members()).toHaveLength(PEERS_MAX)
    expect(scene.view.get('new')).toBeDefined()
    expect(scene.view.get('peer10')).toBeUndefined()
    expect(scene.view.get('peer11')).toBeDefined()
  })

  test('nobody is forgotten for a new one while all are linked', () => {
    const scene = full(PEERS_MAX)
    scene.link('new')
    expect(scene.view.get('new')).toBeUndefined()
    expect(scene.view.advertised('new', advertisement('new'), scene.now)).toBe(false)
    expect(scene.view.members()).toHaveLength(PEERS_MAX)
  })
})
