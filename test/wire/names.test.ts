import { expect, test } from 'vitest'
import { mdnsServiceTag } from '../../src/wire/names.ts'

test('the service name of a swarm tells it from others', () => {
  expect(mdnsServiceTag('0123456789abcdef')).toBe('_starling-0123456789abcdef._udp.local')
})
