import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Peer } from '../../src/wire/api/schemas.ts'
import { peerSchema } from '../../src/wire/api/schemas.ts'
import { ALICE_ID, BOB_ID, peerDocument } from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { startCli } from '../helpers/cli-process.ts'
import { type FakeDaemonServer, fakeDaemonServer, fakeProblem } from '../helpers/fake-daemon-server.ts'

let daemon: FakeDaemonServer
beforeEach(async () => {
  daemon = await fakeDaemonServer({ 'POST /v1/peers/*/drain': { status: 202, body: peerDocument() } })
})
afterEach(async () => {
  vi.useRealTimers()
  await daemon.close()
})

function starling(...args: string[]) {
  return runCliHere(args, { env: { STARLING_SOCKET: daemon.socketPath } })
}

/** What the daemon says of bob, look by look; the last one for ever. */
function bobIs(...states: Partial<Peer>[]): { looks: number } {
  const seen = { looks: 0 }
  const alice = peerDocument({ peerId: ALICE_ID, name: 'alice', self: true, drain: 'drained' })
  daemon.routes['GET /v1/peers'] = () => {
    const bob = peerDocument(states[Math.min(seen.looks, states.length - 1)])
    seen.looks += 1
    return { body: { items: [alice, bob] } }
  }
  return seen
}

const draining = (running: number, queued: number): Partial<Peer> => ({ drain: 'draining', load: { running, queued } })

describe('drain', () => {
  it('waits until the peer holds no work, and shows on stderr what is left', async () => {
    const seen = bobIs({}, draining(2, 1), draining(1, 0), { drain: 'drained', load: { running: 0, queued: 0 } })
    const { code, stdout, stderr } = await starling('drain', 'bob')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'bob is drained: it holds no work\n' })
    expect(stderr).toMatch(/^bob has been asked to take no new work\n/)
    expect(seen.looks).toBe(4)
    expect(daemon.requests[0]).toEqual({ route: 'POST /v1/peers/bob/drain', query: '', body: {} })
  })

  it('says at once how much runs and waits there when it drains already', async () => {
    daemon.routes['POST /v1/peers/*/drain'] = { status: 202, body: peerDocument(draining(3, 2)) }
    bobIs({ drain: 'drained' })
    expect((await starling('drain', 'bob')).stderr).toBe('bob takes no new work; 3 tasks running, 2 queued\n')
  })

  it('sends the deadline, and prints the peer as one document with --json', async () => {
    bobIs(draining(1, 0), { drain: 'drained' })
    const { code, stdout } = await starling('drain', BOB_ID.slice(0, 20), '--deadline', '1.5s', '--json')
    expect(code).toBe(0)
    const printed = JSON.parse(stdout)
    expect(printed.kind).toBe('Peer')
    expect(peerSchema.parse(printed)).toEqual(peerDocument({ drain: 'drained' }))
    expect(daemon.requests[0]).toMatchObject({
      route: `POST /v1/peers/${BOB_ID.slice(0, 20)}/drain`,
      body: { deadlineMs: 1_500 }
    })
  })

  it('only asks with --no-wait', async () => {
    expect(await starling('drain', 'bob', '--no-wait')).toEqual({
      code: 0,
      signal: null,
      stdout: 'bob takes no new work\n',
      stderr: ''
    })
    expect(JSON.parse((await starling('drain', 'bob', '--no-wait', '--json')).stdout).kind).toBe('Peer')
    expect(daemon.requests.map(({ route }) => route)).toEqual(new Array(2).fill('POST /v1/peers/bob/drain'))
  })

  it('is ended with --end, at once', async () => {
    expect(await starling('drain', 'bob', '--end')).toMatchObject({
      code: 0,
      stdout: 'bob takes work again\n',
      stderr: ''
    })
    expect(daemon.requests).toMatchObject([{ body: { end: true } }])
  })

  it('reaches peers whose names have letters of other alphabets', async () => {
    await starling('drain', 'žofie', '--no-wait')
    expect(daemon.requests[0]?.route).toBe('POST /v1/peers/%C5%BEofie/drain')
  })

  it('is content with a peer that has been stopped meanwhile', async () => {
    bobIs(draining(1, 0), { ...draining(1, 0), state: 'left' })
    expect(await starling('drain', 'bob')).toMatchObject({
      code: 0,
      stdout: 'bob has been stopped: it holds no work\n'
    })
  })

  it.each<[string, Partial<Peer>[], RegExp]>([
    [
      'dies',
      [draining(1, 0), { ...draining(1, 0), state: 'dead' }],
      /bob does not answer any more\nhint: .*other hosts/
    ],
    [
      'takes work again',
      [draining(1, 0), { drain: 'no' }],
      /bob takes work again.*\nhint: ask again: starling drain bob/
    ]
  ])('fails with what to do when the peer %s', async (_, states, message) => {
    bobIs(...states)
    const { code, stdout, stderr } = await starling('drain', 'bob')
    expect({ code, stdout }).toEqual({ code: 8, stdout: '' })
    expect(stderr).toMatch(message)
  })

  it('fails when the peer does not answer that it drains', async () => {
    vi.useFakeTimers({ toFake: ['performance'], now: 0 })
    const seen = bobIs({})
    const run = starling('drain', 'bob')
    await vi.waitFor(() => expect(seen.looks).toBeGreaterThan(0))
    vi.advanceTimersByTime(11_000)
    const { code, stderr } = await run
    expect(code).toBe(8)
    expect(stderr).toContain('does not say that it drains\nhint: ')
    expect(stderr).toContain('run it on bob itself')
  })

  it.each([
    ['nobody', 2, fakeProblem('NOT_FOUND', 'there is no peer "bob"', 'list them with: starling peers')],
    ['a peer without a link', 2, fakeProblem('NOT_FOUND', 'there is no link to bob', 'run it on bob itself')],
    [
      'others by a host that is no admin',
      7,
      fakeProblem('DENIED', 'only an admin may drain bob', 'run it on bob itself')
    ]
  ])('refuses to drain %s, exit %i', async (_, exit, problem) => {
    daemon.routes['POST /v1/peers/*/drain'] = problem
    const { code, stderr } = await starling('drain', 'bob')
    expect(code).toBe(exit)
    expect(stderr).toMatch(/^error: .*\nhint: .*starling peers|run it on bob itself\n$/)
  })

  it.each([
    [['--end', '--deadline', '1s'], /--end/],
    [['--end', '--no-wait'], /--end/],
    [['--deadline', '30'], /30s/],
    [['--deadline', '40d'], /out of range/]
  ])('refuses %j without asking anybody', async (flags, message) => {
    const { code, stderr } = await starling('drain', 'bob', ...flags)
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
    expect(daemon.requests).toEqual([])
  })

  it('leaves the peer draining at Ctrl-C, and says so', async () => {
    const seen = bobIs(draining(1, 0))
    const run = startCli(['drain', 'bob'], { env: { STARLING_SOCKET: daemon.socketPath } })
    await vi.waitFor(() => expect(seen.looks).toBeGreaterThan(0), { timeout: 20_000 })
    run.child.kill('SIGINT')
    const { code, stdout, stderr } = await run.ended
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
    expect(stderr).toContain('interrupted: bob goes on draining\n')
    expect(stderr).toContain('starling drain bob --end')
    expect(daemon.requests.filter(({ route }) => route.startsWith('POST'))).toHaveLength(1)
  })

  it('shows examples in its help', async () => {
    const { code, stdout } = await starling('drain', '--help')
    expect(code).toBe(0)
    expect(stdout).toContain('starling drain bob --end')
  })
})
