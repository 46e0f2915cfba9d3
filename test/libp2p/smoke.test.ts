import { afterEach, expect, it } from 'vitest'
import { addressOf, advertisementOf, linked, Pool, tokenOf, until } from './harness.ts'

const pool = new Pool()
afterEach(() => pool.stop())

it('joins and links', async () => {
  const alice = await pool.founder()
  const t = performance.now()
  const bob = await pool.start({ token: tokenOf(alice) })
  await bob.network.joined(5000)
  await until(() => linked(alice, bob), 'linked')
  console.log('join ms', performance.now() - t)
  expect(alice.network.send(bob.identity.peer, { kind: 'heartbeat', sequence: 7 })).toBe(true)
  await until(() => bob.seen.of('frame').length === 1, 'frame')
  const carol = await pool.member(alice, { peers: [addressOf(bob)] })
  await until(() => linked(carol, bob), 'linked')
  carol.network.publish(advertisementOf(carol))
  await until(() => bob.seen.of('advertisement').length >= 1, 'ad')
  const t1 = performance.now()
  await pool.stop()
  console.log('stop ms', performance.now() - t1)
})
