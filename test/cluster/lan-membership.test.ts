import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lan, pick } from './lan.ts'
import type { LanHost } from './lan-daemon.ts'
import { report } from './report.ts'
import { SKIP_CLUSTER } from './sandbox.ts'

/** Silence until a member is taken for gone (dead after 6 s), and the awareness of a busy machine on top. */
const NOTICED_MS_MAX = 30_000

/** A healed network is a mesh again within this. */
const HEALED_MS_MAX = 20_000

const HOSTS = 5

let lan: Lan
let hosts: readonly LanHost[]

describe.skipIf(SKIP_CLUSTER)('five daemons on a LAN', () => {
  beforeAll(async () => {
    lan = await Lan.create({ hosts: HOSTS, slots: 0 })
    hosts = lan.hosts
  })
  afterAll(() => lan?.stop())

  it('join by a token and then find each other by mDNS', async () => {
    await lan.upAll()
    const readyAtMs = Math.max(...hosts.map(host => host.readyAtMs))
    await lan.untilAllSeeAll()
    report('all see all after the last is ready', Date.now() - readyAtMs)
    for (const host of hosts) expect((await host.client.status()).discovery.mdns.state).toBe('ok')
  })

  it('find each other by mDNS alone after all have been away and have got other ports', async () => {
    const before = hosts.map(host => host.address)
    await Promise.all(hosts.map(host => host.client.stop()))
    await Promise.all(hosts.map(host => host.process.exited))
    await Promise.all(hosts.map(host => host.up()))
    report('all see all after a restart of all', await lan.untilAllSeeAll())
    expect(hosts.map(host => host.address).filter(address => before.includes(address))).toEqual([])
  })

  it('notice a cut cable on both sides, and are back soon after it is in again', async () => {
    const [first, ...others] = pick(lan, 3)
    await lan.cut(first)
    report('cable cut, suspect for all others', await lan.untilGone([first], others, NOTICED_MS_MAX))
    report('cable cut, then dead for all others', await lan.untilGone([first], others, NOTICED_MS_MAX, ['dead']))
    report('cable cut, then dead for the host itself', await lan.untilGone(others, [first], NOTICED_MS_MAX, ['dead']))
    expect(await lan.untilAllSeeAll(others, 1_000)).toBeLessThan(1_000)
    await lan.join(first)
    report('cable in again, all see all', await lan.untilAllSeeAll(hosts, HEALED_MS_MAX))
  })

  it('are back soon after a network card was taken out and another one with its address is put in', async () => {
    const [first, ...others] = pick(lan, 5)
    await lan.unplug(first)
    report('card out, noticed by all', await lan.untilGone([first], others, NOTICED_MS_MAX))
    await lan.plug(first)
    report('card in again, all see all', await lan.untilAllSeeAll(hosts, HEALED_MS_MAX))
    await lan.until(`mDNS of ${first.name} hears itself`, HEALED_MS_MAX, async () => {
      const { state } = (await first.client.status()).discovery.mdns
      return state === 'ok' || state
    })
  })

  it('see their own side only while the LAN is in two parts, and all again when it is one', async () => {
    const left = hosts.slice(0, 2)
    const right = hosts.slice(2)
    await lan.partition(left, right)
    report('two against three, noticed by the two', await lan.untilGone(right, left, NOTICED_MS_MAX))
    report('two against three, noticed by the three', await lan.untilGone(left, right, NOTICED_MS_MAX))
    await lan.untilAllSeeAll(left, 1_000)
    await lan.untilAllSeeAll(right, 1_000)
    await lan.heal()
    report('one LAN again, all see all', await lan.untilAllSeeAll(hosts, HEALED_MS_MAX))
  })

  it('notice a killed daemon at once, since its connections close', async () => {
    const [victim, ...others] = pick(lan, 4)
    const killedAtMs = Date.now()
    await victim.process.signal('SIGKILL')
    await lan.untilGone([victim], others, NOTICED_MS_MAX)
    const noticed = others.map(host => {
      const change = host.events.memberChanges().find(({ peer, atMs }) => peer === victim.peerId && atMs >= killedAtMs)
      return (change?.atMs ?? Number.POSITIVE_INFINITY) - killedAtMs
    })
    report('kill -9 seen by the last', Math.max(...noticed))
    await victim.up()
    report('back after kill -9 and a new start, all see all', await lan.untilAllSeeAll(hosts, HEALED_MS_MAX))
  })
})

describe.skipIf(SKIP_CLUSTER)('three daemons on a LAN without multicast', () => {
  let quiet: Lan
  beforeAll(async () => {
    quiet = await Lan.create({ hosts: 3, slots: 0 })
    await quiet.noMulticast()
  })
  afterAll(() => quiet?.stop())

  it('find each other through the one static peer that they share', async () => {
    const listen = ['/ip4/0.0.0.0/tcp/4001']
    await quiet.upAll(host => (host.number === 1 ? { listen } : { peers: ['/ip4/10.99.0.1/tcp/4001'] }))
    report('without multicast, all see all', await quiet.untilAllSeeAll())
    await Promise.all(quiet.hosts.map(host => host.client.stop()))
    await Promise.all(quiet.hosts.map(host => host.process.exited))
    await Promise.all(
      quiet.hosts.map(host => host.up(host.number === 1 ? { listen } : { peers: ['/ip4/10.99.0.1/tcp/4001'] }))
    )
    report('without multicast, all see all after a restart', await quiet.untilAllSeeAll(quiet.hosts, HEALED_MS_MAX))
  })
})
