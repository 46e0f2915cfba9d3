import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Host, linked, mesh, TestSwarm, until } from './lan-fixture.ts'

describe('on a LAN', () => {
  let swarm: TestSwarm
  let hosts: Host[]
  let other: ChildProcess | undefined

  beforeEach(() => {
    mesh('up', 3)
    swarm = new TestSwarm()
    hosts = []
  })
  afterEach(async () => {
    other?.kill('SIGKILL')
    other = undefined
    await Promise.all(hosts.map(host => host.stop()))
    mesh('heal')
    mesh('down')
  })

  const start = (k: number, settings = swarm.member()): Host => {
    const host = new Host(k, settings)
    hosts.push(host)
    return host
  }

  test('members find each other by mDNS alone, and never dial the loopback of another one', async () => {
    const [a, b, c] = [start(1), start(2), start(3)]
    await until(() => linked(a, b, c), 'the whole mesh')
    for (const host of [a, b, c]) {
      await host.mdns('ok')
      const { discovery, counters } = await host.state()
      expect(discovery.refused).toEqual({})
      expect(counters.displacedLinks).toBe(0)
      expect(host.count('up')).toBe(2)
    }
    a.command('publish 1')
    await until(() => b.count('advertisement', a) > 0 && c.count('advertisement', a) > 0, 'the advertisement')
  })

  test('a token without addresses is enough to join', async () => {
    const [issuer, newcomer] = swarm.issuerAndNewcomer()
    const [a, b] = [start(1, issuer), start(2, newcomer)]
    await until(() => linked(a, b), 'the first link')
  })

  test('two swarms do not see each other', async () => {
    const foreign = new TestSwarm()
    const [a, b, c] = [start(1), start(2), start(3, foreign.member())]
    await until(() => linked(a, b), 'the link')
    await c.mdns('ok')
    const { discovery, counters } = await c.state()
    expect(discovery.unreachable).toEqual([])
    expect(counters.dials).toBe(0)
  })

  test('a network card that comes back with the same address does not leave a host deaf', async () => {
    const [a, b] = [start(1), start(2)]
    await until(() => linked(a, b), 'the link')
    await b.mdns('ok')
    mesh('unplug', 2)
    for (const [host, peer] of [
      [a, b],
      [b, a]
    ] as const) {
      host.command(`disconnect ${peer.peer}`)
      await until(() => !host.linked(peer), 'the end of the link')
    }
    mesh('plug', 2)
    await until(() => linked(a, b), 'the link to be back')
    const c = start(3)
    await until(() => linked(a, b, c), 'the newcomer to be linked with all')
    expect((await b.state()).counters.mdnsRestarts).toBeGreaterThan(0)
  })

  test('a host that was cut off is back within twenty seconds, however long it was', async () => {
    const [a, b, c] = [start(1), start(2), start(3)]
    await until(() => linked(a, b, c), 'the whole mesh')
    mesh('silence', 3)
    for (const [host, peer] of [
      [a, c],
      [b, c],
      [c, a],
      [c, b]
    ] as const)
      host.command(`disconnect ${peer.peer}`)
    await until(() => !a.linked(c) && !b.linked(c) && !c.linked(a) && !c.linked(b), 'the end of its links')
    // Several dials in vain: long enough for connections that are being made to be dead, too.
    const { dials } = (await c.state()).counters
    for (let more = 0; more < 4; ) more = (await c.state()).counters.dials - dials
    mesh('unsilence', 3)
    await until(() => linked(a, b, c), 'the whole mesh again', 20_000)
  })

  test('a port that is taken by a program that does not share it is reported as failed', async () => {
    other = taker(1)
    let bound = false
    other.stdout?.once('data', () => {
      bound = true
    })
    await until(() => bound, 'the other program')
    const a = start(1)
    const mdns = await a.mdns('failed')
    expect(mdns.detail).toContain('5353')
  })

  test('queries that are not heard are reported as silent, and as ok when they are heard again', async () => {
    inside(1, 'nft', 'add', 'table', 'inet', 'deaf')
    inside(1, 'nft', 'add', 'chain', 'inet', 'deaf', 'in', '{ type filter hook input priority 0; }')
    inside(1, 'nft', 'add', 'rule', 'inet', 'deaf', 'in', 'udp', 'dport', '5353', 'drop')
    const a = start(1)
    expect((await a.mdns('silent')).detail).toMatch(/not heard|no query heard/)
    await until(() => a.lines.length > 0, 'a start')
    inside(1, 'nft', 'delete', 'table', 'inet', 'deaf')
    await a.mdns('ok')
  })
})

function inside(k: number, ...command: string[]): void {
  execFileSync('ip', ['netns', 'exec', `h${k}`, ...command], { stdio: 'ignore' })
}

/** A program on host K that holds UDP port 5353 for itself. */
function taker(k: number): ChildProcess {
  const script = "require('dgram').createSocket('udp4').bind(5353, '0.0.0.0', () => console.log('bound'))"
  return spawn('ip', ['netns', 'exec', `h${k}`, process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
}
