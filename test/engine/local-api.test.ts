import { beforeEach, describe, expect, test } from 'vitest'
import { agentSchema, type LogLine, peerSchema } from '../../src/wire/api/index.ts'
import { EnginePool, type PoolHost, WALL_AT_ZERO_MS } from '../helpers/engine-pool.ts'
import { ALICE, BOB, CAROL } from '../helpers/termination-fixtures.ts'

let pool: EnginePool
let alice: PoolHost
let bob: PoolHost

beforeEach(async () => {
  pool = await EnginePool.start({
    hosts: [
      { name: 'bob', peer: BOB, offers: { work: 1 } },
      { name: 'carol', peer: CAROL },
      { name: 'alice', peer: ALICE }
    ],
    bodies: {
      work: async body => {
        body.log('begins')
        await body.sleep(5_000)
        body.log('ends')
      }
    },
    latencyMs: 3
  })
  alice = pool.host('alice')
  bob = pool.host('bob')
})

/** A job whose only task runs at bob. */
async function running(): Promise<string> {
  const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
  await pool.until(() => pool.running(id).length === 1)
  await pool.advance(1_500)
  return id
}

function read(host: PoolHost, wanted: string, follow: boolean) {
  const lines: LogLine[] = []
  const end = new AbortController()
  const done = (async () => {
    for await (const line of host.api.logs(wanted, { follow, signal: end.signal })) lines.push(line)
  })()
  return { lines, done, text: () => lines.map(({ line }) => line) }
}

describe('the peers that a daemon knows', () => {
  test('are itself first, then the others by name, with what they offer and how old that is', async () => {
    await running()
    await pool.advance(2_000)
    const peers = alice.api.peers().map(peer => peerSchema.parse(peer))
    expect(peers.map(({ name, self, state }) => `${name} ${self} ${state}`)).toEqual([
      'alice true alive',
      'bob false alive',
      'carol false alive'
    ])
    const asOf = (peer: string) => WALL_AT_ZERO_MS + (alice.engine.node.view.get(peer)?.advertisedAt ?? Number.NaN)
    expect(peers[0]).toMatchObject({ peerId: ALICE, role: 'worker', rttMs: null, capabilities: [] })
    expect(peers[1]).toMatchObject({
      peerId: BOB,
      capabilities: [{ name: 'work', slots: 1, free: 0 }],
      load: { running: 1, queued: 0 },
      rttMs: 6,
      asOf: new Date(asOf(BOB)).toISOString()
    })
    expect(peers[1]?.addresses).toEqual(bob.network.addresses())
  })

  test('are shown as they are: suspect, then dead, when nothing is heard of them', async () => {
    pool.hub.isolate(BOB, { silent: true })
    const states = new Set<string>()
    await pool.until(() => {
      const state = alice.api.peers().find(({ peerId }) => peerId === BOB)?.state ?? ''
      states.add(state)
      return state === 'dead'
    })
    expect([...states]).toEqual(['alive', 'suspect', 'dead'])
    await pool.advance(1)
    expect(alice.told('peer.dead')).toMatchObject([{ subject: BOB, data: { from: 'suspect', name: 'bob' } }])
    expect(alice.told('peer.unlinked')).toMatchObject([{ subject: BOB, data: { reason: 'silent' } }])
  })
})

describe('agents and logs', () => {
  test('are those of the host where the task runs', async () => {
    const id = await running()
    expect(alice.api.agents()).toEqual([])
    const [agent, ...more] = bob.api.agents().map(one => agentSchema.parse(one))
    expect(more).toEqual([])
    expect(agent).toMatchObject({
      peerId: BOB,
      runtime: 'command',
      capability: 'work',
      taskId: `${id}.0`,
      state: 'working'
    })
    expect(() => alice.api.logs(`${id}.0`, { follow: false, signal: new AbortController().signal })).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND', hint: expect.any(String) })
    )
  })

  test('are found by task, by the beginning of its id, and by agent, and followed to the end', async () => {
    const id = await running()
    const agent = bob.api.agents()[0]?.id ?? ''
    const now = read(bob, `${id}.0`, false)
    await now.done
    expect(now.text()).toEqual(['begins'])
    const following = [`${id}.0`, id.slice(0, 8), agent].map(wanted => read(bob, wanted, true))
    await pool.when(Promise.all(following.map(({ done }) => done)))
    expect(following.map(({ text }) => text())).toEqual(Array(3).fill(['begins', 'ends']))
  })
})

describe('an engine that cannot go on', () => {
  test('because its home is a copy says which start it must be newer than', async () => {
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => pool.running(id).length === 1)
    // Bob's home is restored from an older copy: alice has met a later start of it.
    bob.crash()
    bob.restart(bob.journal)
    await pool.advance(1_000)
    await pool.until(() => alice.api.peers().find(({ peerId }) => peerId === BOB)?.state === 'alive')
    bob.crash()
    bob.incarnation = 0
    bob.restart(bob.journal)
    await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => bob.failures.length > 0)
    await pool.advance(10_000)
    expect(bob.failures).toEqual([{ kind: 'stale-boot', incarnation: 2 }])
  })
})

describe('a record that cannot be read', () => {
  test('is left out of the job, with a line in the log', async () => {
    const send = bob.network.send.bind(bob.network)
    bob.network.send = (to, frame) => {
      const broken = frame.kind === 'settle' ? { ...frame, records: [...frame.records, new Uint8Array([255])] } : frame
      return send(to, broken)
    }
    const id = await running()
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job).toMatchObject({ verdict: 'completed', tasks: { total: 1 } })
    expect(alice.logger.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        message: 'a task record cannot be read',
        fields: expect.objectContaining({ job: id })
      })
    )
  })
})
