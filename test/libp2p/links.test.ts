import type { MessageStream } from '@libp2p/interface'
import { beforeEach, describe, expect, test } from 'vitest'
import { GateError } from '../../src/libp2p/gate-error.ts'
import { NO_NONCE } from '../../src/libp2p/gate-message.ts'
import { type Link, Links } from '../../src/libp2p/links.ts'

/** Just enough of an encrypted connection: it can be open, and it can end. */
class FakeStream extends EventTarget {
  status = 'open'
  abort(): void {
    if (this.status !== 'open') return
    this.status = 'aborted'
    this.dispatchEvent(new Event('close'))
  }
}

function link(peer: string, nonce: string, boot = 'b1'): Link {
  return {
    peer,
    nonce,
    boot,
    direction: 'inbound',
    remoteAddress: '/ip4/127.0.0.1/tcp/1',
    role: 'worker',
    notAfter: 0,
    stream: new FakeStream() as unknown as MessageStream
  }
}

function refusal(run: () => unknown): { code: string; nonce: string | undefined } | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (!(error instanceof GateError)) throw error
    return { code: error.code, nonce: error.nonce }
  }
}

describe('links', () => {
  let links: Links
  let log: string[]
  const hello = (nonce: string, boot = 'b1', replaces = NO_NONCE) => ({ boot, nonce, replaces })

  beforeEach(() => {
    log = []
    links = new Links('m', {
      opened: one => log.push(`+${one.nonce}`),
      closed: one => log.push(`-${one.nonce}`)
    })
  })

  test('a second dial of a linked peer is refused, with the name of the link', () => {
    links.claim(link('z', 'n1'))
    expect(refusal(() => links.admit('z', hello('n2')))).toEqual({ code: 'dup-open', nonce: 'n1' })
    expect(refusal(() => links.begin('z', 'n3', () => {}))).toEqual({ code: 'dup-open', nonce: 'n1' })
    expect(log).toEqual(['+n1'])
  })

  test('a link ends with its stream, and only its own end counts', () => {
    const first = link('z', 'n1')
    links.claim(first)
    first.stream.abort(new Error('gone'))
    expect(links.get('z')).toBeUndefined()
    links.claim(link('z', 'n2'))
    first.stream.dispatchEvent(new Event('close') as never)
    expect(links.get('z')?.nonce).toBe('n2')
    expect(log).toEqual(['+n1', '-n1', '+n2'])
  })

  test('a restarted peer replaces its old link', () => {
    links.claim(link('z', 'n1', 'b1'))
    links.admit('z', hello('n2', 'b2'))
    expect(log).toEqual(['+n1', '-n1'])
    expect(links.displaced).toBe(1)
  })

  test('a peer that has lost a link replaces that one, and no other', () => {
    links.claim(link('z', 'n1'))
    expect(refusal(() => links.admit('z', hello('n2', 'b1', 'n0')))).toEqual({ code: 'dup-open', nonce: 'n1' })
    links.admit('z', hello('n2', 'b1', 'n1'))
    expect(links.get('z')).toBeUndefined()
  })

  test('the name of a lost link goes into the next dial, once', () => {
    expect(links.noteCorpse('z', 'n1')).toBe(true)
    expect(links.begin('z', 'n2', () => {})).toEqual({ replaces: 'n1' })
    links.finish('z', 'n2')
    expect(links.begin('z', 'n3', () => {})).toEqual({ replaces: NO_NONCE })
  })

  test('a refusal that names the link that we have is no corpse', () => {
    links.claim(link('z', 'n1'))
    expect(links.noteCorpse('z', 'n1')).toBe(false)
  })

  test('when both sides dial, the dial of the lower id wins at both', () => {
    const cancelled: string[] = []
    links.begin('z', 'n1', error => cancelled.push(error.code))
    expect(refusal(() => links.admit('z', hello('n2')))).toEqual({ code: 'dup-pending', nonce: 'n1' })
    expect(cancelled).toEqual([])
    links.begin('a', 'n3', error => cancelled.push(error.code))
    expect(refusal(() => links.admit('a', hello('n4')))).toBeUndefined()
    expect(cancelled).toEqual(['dup-lost'])
  })

  test('a newcomer that joins is never kept out by our own dial to it, which it could only refuse', () => {
    const cancelled: string[] = []
    links.begin('z', 'n1', error => cancelled.push(error.code))
    expect(refusal(() => links.admit('z', hello('n2'), true))).toBeUndefined()
    expect(cancelled).toEqual(['dup-lost'])
  })

  test('one dial per peer says hello at a time', () => {
    links.begin('z', 'n1', () => {})
    expect(refusal(() => links.begin('z', 'n2', () => {}))).toEqual({ code: 'dup-pending', nonce: 'n1' })
    links.finish('z', 'n2')
    expect(refusal(() => links.begin('z', 'n2', () => {}))).toBeDefined()
    links.finish('z', 'n1')
    expect(refusal(() => links.begin('z', 'n2', () => {}))).toBeUndefined()
  })

  test('a link whose stream has ended before it is claimed does not stay', () => {
    const dead = link('z', 'n1')
    dead.stream.abort(new Error('gone'))
    links.claim(dead)
    expect(links.get('z')).toBeUndefined()
    expect(log).toEqual(['+n1', '-n1'])
  })
})
