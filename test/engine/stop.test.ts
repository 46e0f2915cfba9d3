import { describe, expect, test } from 'vitest'
import { REAP_WAIT_MS, STOP_GRACE_MS } from '../../src/engine/engine.ts'
import { codeOf, EnginePool } from '../helpers/engine-pool.ts'
import type { Behaviour } from '../helpers/scripted-runtime.ts'
import { ALICE, BOB, CAROL } from '../helpers/termination-fixtures.ts'

/** Alice submits; bob, who will stop, has one slot, and so has carol. */
async function start(work: Behaviour) {
  const pool = await EnginePool.start({
    hosts: [
      { name: 'alice', peer: ALICE },
      { name: 'bob', peer: BOB, offers: { work: 1 } },
      { name: 'carol', peer: CAROL, offers: { work: 1 } }
    ],
    bodies: { work }
  })
  return { pool, alice: pool.host('alice'), bob: pool.host('bob'), carol: pool.host('carol') }
}

const POLL_MS = 50
const FAREWELL_MS = 100

describe('a daemon that stops', () => {
  test('when nothing runs on it leaves at once, and the others see it go', async () => {
    const { pool, alice, bob, carol } = await start(() => null)
    const begun = pool.time.now
    await pool.when(bob.engine.stop({ now: false }))
    expect(pool.time.now - begun).toBe(FAREWELL_MS)
    for (const { engine, events } of [alice, carol]) {
      expect(engine.node.view.get(BOB)?.state).toBe('left')
      expect(events.at(-1)).toMatchObject({
        type: 'starling.peer.left',
        subject: BOB,
        data: { from: 'alive', name: 'bob' }
      })
    }
  })

  test('says nothing more after it, not even a heartbeat', async () => {
    const { pool, alice, bob } = await start(() => null)
    await pool.when(bob.engine.stop({ now: false }))
    const said = bob.sent.length
    await pool.when(bob.network.stop())
    await pool.advance(30_000)
    expect(bob.sent).toHaveLength(said)
    expect(alice.engine.node.view.get(BOB)?.state).toBe('left')
    expect(alice.told('peer.left')).toHaveLength(1)
  })

  test('lets what runs come to its end', async () => {
    const { pool, alice, bob } = await start(body => body.sleep(STOP_GRACE_MS - 500).then(() => body.host))
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'bob' }))
    await pool.until(() => pool.running(id).length === 1)
    const begun = pool.time.now
    const stopped = bob.engine.stop({ now: false })
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed', result: 'bob' })
    await pool.when(stopped)
    expect(pool.time.now - begun).toBeLessThan(STOP_GRACE_MS + POLL_MS)
    expect(pool.executions).toMatchObject([{ killedFor: [], end: { kind: 'completed' } }])
  })

  test('gives back at once what has been handed to it and has not begun', async () => {
    const { pool, alice, bob, carol } = await start(body => body.host)
    carol.engine.offer('work', 0)
    await pool.advance(2_000)
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => alice.sent.some(({ to, frame }) => to === BOB && frame.kind === 'handoff'))
    expect(pool.executions).toEqual([])
    const stopped = bob.engine.stop({ now: false })
    carol.engine.offer('work', 1)
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed', result: 'carol' })
    expect(alice.api.job(id, true).items).toMatchObject([{ attempt: 2, peerId: CAROL }])
    await pool.when(stopped)
  })

  test('lets go what waits for a slot of it', async () => {
    const { pool, alice, bob } = await start(body => body.sleep(3_000).then(() => body.host))
    const jobs = []
    for (const on of ['bob', 'carol', undefined])
      jobs.push(await pool.when(alice.api.submit({ capability: 'work', on })))
    await pool.until(() => pool.executions.length === 2)
    const stopped = bob.engine.stop({ now: false })
    await pool.advance(200)
    expect(bob.api.peers()[0]).toMatchObject({ self: true, drain: 'draining', capabilities: [{ free: 0 }] })
    expect(alice.sent.filter(({ to, frame }) => to === BOB && frame.kind === 'reserve')).not.toEqual([])
    expect(await pool.when(alice.api.waitForJob(jobs[2]?.id ?? '', {}))).toMatchObject({ result: 'carol' })
    await pool.when(stopped)
  })

  test('kills after its grace what has not ended, and has it done elsewhere', async () => {
    const { pool, alice, bob, carol } = await start(async body => {
      if (body.host === 'bob') await body.sleep(60_000)
      return body.host
    })
    carol.engine.offer('work', 0)
    await pool.advance(2_000)
    const { id } = await pool.when(alice.api.submit({ capability: 'work' }))
    await pool.until(() => pool.executions.length === 1)
    carol.engine.offer('work', 1)
    const [only] = pool.executions
    const begun = pool.time.now
    await pool.when(bob.engine.stop({ now: false }))
    expect(only).toMatchObject({ host: 'bob', killedFor: ['the daemon is stopping'], end: { kind: 'killed' } })
    expect((only?.endedAt ?? 0) - begun).toBe(STOP_GRACE_MS)
    const job = await pool.when(alice.api.waitForJob(id, {}))
    expect(job).toMatchObject({ verdict: 'completed', result: 'carol', tasks: { total: 1, lost: 0 } })
  })

  test.each([
    ['told to stop now', { now: true }, 0],
    ['hurried', { now: false }, 1_000]
  ])('kills at once when it is %s', async (_, options, hurryAfterMs) => {
    const { pool, alice, bob } = await start(body => body.sleep(60_000))
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'bob' }))
    await pool.until(() => pool.running(id).length === 1)
    const begun = pool.time.now
    const stopped = bob.engine.stop(options)
    await pool.advance(hurryAfterMs)
    if (!options.now) bob.engine.hurry()
    await pool.when(stopped)
    const took = pool.time.now - begun - hurryAfterMs
    expect(took).toBeLessThanOrEqual(FAREWELL_MS + 4 * POLL_MS)
    expect(pool.executions[0]).toMatchObject({ host: 'bob', end: { kind: 'killed' } })
  })

  test('leaves in a bounded time when a body cannot be killed, and nobody takes its task for done', async () => {
    const { pool, alice, bob } = await start(async body => {
      body.reapMs = Number.POSITIVE_INFINITY
      await body.sleep(60_000)
    })
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'bob' }))
    await pool.until(() => pool.running(id).length === 1)
    const begun = pool.time.now
    await pool.when(bob.engine.stop({ now: false }))
    const most = STOP_GRACE_MS + 2 * REAP_WAIT_MS + FAREWELL_MS
    expect(pool.time.now - begun).toBeLessThanOrEqual(most + 3 * POLL_MS)
    await pool.when(bob.network.stop())
    expect(await pool.when(alice.api.waitForJob(id, {}))).toMatchObject({ verdict: 'incomplete', lost: [`${id}.0`] })
  })

  test('takes nothing new meanwhile', async () => {
    const { pool, alice, bob } = await start(body => body.sleep(3_000).then(() => body.host))
    const { id } = await pool.when(alice.api.submit({ capability: 'work', on: 'bob' }))
    await pool.until(() => pool.running(id).length === 1)
    const stopped = bob.engine.stop({ now: false })
    const next = await pool.when(alice.api.submit({ capability: 'work' }))
    expect(await codeOf(bob.api.submit({ capability: 'work' }))).toBe('DAEMON_STOPPING')
    await pool.when(stopped)
    expect(await pool.when(alice.api.waitForJob(next.id, {}))).toMatchObject({ result: 'carol' })
  })

  test('keeps the jobs that were submitted to it for its next start', async () => {
    const { pool, bob } = await start(body => body.sleep(20_000).then(() => body.host))
    const { id } = await pool.when(bob.api.submit({ capability: 'work', on: 'carol' }))
    await pool.until(() => pool.running(id).length === 1)
    await pool.when(bob.engine.stop({ now: false }))
    expect(pool.running(id)).toMatchObject([{ host: 'carol' }])
    await pool.when(bob.network.stop())
    bob.restart(bob.journal)
    expect(await pool.when(bob.api.waitForJob(id, {}))).toMatchObject({ verdict: 'completed', result: 'carol' })
    expect(pool.executions).toHaveLength(1)
  })
})
