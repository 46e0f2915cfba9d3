import { describe, expect, test } from 'vitest'
import { dialOrder, parseAddress, requireAddress } from '../../src/libp2p/addresses.ts'

const here = { own: new Set(['10.0.0.1', '127.0.0.1']), onlyLoopback: false, trusted: new Set<string>() }

describe('addresses', () => {
  test('are read with and without a peer id', () => {
    const peer = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'
    expect(parseAddress(`/ip4/10.0.0.1/tcp/4001/p2p/${peer}`)).toEqual({
      address: '/ip4/10.0.0.1/tcp/4001',
      peer,
      host: '10.0.0.1'
    })
    expect(parseAddress('/dns4/host.lan/tcp/4001')?.peer).toBeUndefined()
  })

  test.each([
    'hello',
    '10.0.0.1:4001',
    '/ip4/10.0.0.1',
    '/ip4/10.0.0.1/udp/4001',
    '/ip4/10.0.0.1/tcp/4001/ws',
    '/ip4/999.0.0.1/tcp/4001',
    '/unix/tmp/socket',
    `/dns4/${'a'.repeat(400)}/tcp/1`
  ])('%s is none', text => {
    expect(parseAddress(text)).toBeUndefined()
    expect(() => requireAddress(text, 'listen')).toThrowError(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  test('the loopback of another host is never dialled', () => {
    expect(dialOrder(['/ip4/127.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/1'], here)).toEqual(['/ip4/10.0.0.2/tcp/1'])
    expect(dialOrder(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1'], here)).toEqual([])
  })

  test('the loopback of a peer on this host comes last', () => {
    expect(dialOrder(['/ip4/127.0.0.1/tcp/1', '/ip4/10.0.0.1/tcp/1'], here)).toEqual([
      '/ip4/10.0.0.1/tcp/1',
      '/ip4/127.0.0.1/tcp/1'
    ])
  })

  test('loopback is dialled when this daemon has nothing else, or when the user said so', () => {
    const loopback = '/ip4/127.0.0.1/tcp/1'
    expect(dialOrder([loopback], { ...here, onlyLoopback: true })).toEqual([loopback])
    expect(dialOrder([loopback, '/ip4/10.0.0.2/tcp/1'], { ...here, trusted: new Set([loopback]) })).toEqual([
      '/ip4/10.0.0.2/tcp/1',
      loopback
    ])
  })
})
