import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { type TestDaemon, until, untilMeshed, useDaemons } from './daemons.ts'

const daemons = useDaemons('test')

/** Address of a port that was free a moment ago. */
async function freeAddress(): Promise<string> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `/ip4/127.0.0.1/tcp/${address.port}`
}

async function swarmOf({ client }: TestDaemon): Promise<{ id: string; role: string }> {
  return (await client.status()).swarm
}

describe('joining at run time', () => {
  test('makes one swarm of two; again changes nothing; a used token and another swarm are refused, nothing changes', async () => {
    const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map(name => daemons.start(name)))
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error('three were started')
    expect((await swarmOf(alice)).id).not.toBe((await swarmOf(bob)).id)
    const { token } = JSON.parse((await alice.cli(['token', 'create', '--json'])).stdout) as { token: string }
    const join = await bob.cli(['join', token, '--json'])
    expect(join.code, join.stderr).toBe(0)
    expect(JSON.parse(join.stdout)).toMatchObject({ kind: 'Status', swarm: { id: (await swarmOf(alice)).id } })
    await untilMeshed([alice, bob])
    expect(await swarmOf(bob)).toMatchObject({ id: (await swarmOf(alice)).id, role: 'worker' })

    const again = await bob.cli(['join', token])
    expect(again.code, again.stderr).toBe(0)
    // Bob has used the token up: carol stays what she is.
    const own = await swarmOf(carol)
    const used = await carol.cli(['join', token])
    expect(used.code, used.stderr).toBe(7)
    expect(await swarmOf(carol)).toEqual(own)
    const other = await carol.client.createToken()
    const refused = await bob.cli(['join', other.token])
    expect(refused.code).toBe(9)
    expect(refused.stderr).toContain('STARLING_HOME')
    expect(await swarmOf(bob)).toMatchObject({ id: (await swarmOf(alice)).id })
    await untilMeshed([alice, bob])
    // An SDK worker of the daemon that has moved serves the new swarm.
    const mesh = await bob.mesh()
    await mesh.work('hello', () => 'hello from bob')
    await until('alice knows', async () => (await alice.client.peers()).some(peer => peer.capabilities.length > 0))
    const run = await alice.cli(['run', 'hello'])
    expect(run).toMatchObject({ code: 0, stdout: 'hello from bob\n' })
  }, 90_000)

  test('keeps the capabilities of workers that were connected before', async () => {
    const alice = await daemons.start('alice')
    const bob = await daemons.start('bob', { capabilities: { declared: { command: ['echo', '"declared"'] } } })
    const mesh = await bob.mesh()
    await mesh.work('served', () => 'served')
    const { token } = await alice.client.createToken()
    expect((await bob.cli(['join', token])).code).toBe(0)
    await until('alice knows both', async () =>
      (await alice.client.peers()).some(peer => peer.name === 'bob' && peer.capabilities.length === 2)
    )
    for (const name of ['declared', 'served']) {
      expect(await alice.cli(['run', name])).toMatchObject({ code: 0, stdout: `${name}\n` })
    }
  }, 60_000)
})

describe('daemons that start again without discovery', () => {
  test('find each other by the addresses that they have kept, when one of two has kept its port', async () => {
    const listen = await freeAddress()
    const [alice, bob] = await daemons.swarm(['alice', 'bob'], name => (name === 'alice' ? { listen } : {}))
    await Promise.all([alice.kill('SIGTERM'), bob.kill('SIGTERM')])
    const again = await Promise.all([
      daemons.start('bob', { home: bob.home }),
      daemons.start('alice', { home: alice.home, listen })
    ])
    expect(again.map(({ ready }) => ready.peerId)).toEqual([bob.ready.peerId, alice.ready.peerId])
    await untilMeshed(again)
  }, 90_000)

  test('learn of each other from a third, when both have new ports', async () => {
    const listen = await freeAddress()
    const all = await daemons.swarm(['alice', 'bob', 'carol'], name => (name === 'alice' ? { listen } : {}))
    const [alice, bob, carol] = all
    await Promise.all(all.map(daemon => daemon.kill('SIGKILL')))
    const again = await Promise.all([
      daemons.start('alice', { home: alice.home, listen }),
      daemons.start('bob', { home: bob.home }),
      daemons.start('carol', { home: carol.home })
    ])
    await untilMeshed(again)
  }, 90_000)
})
