import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  agentSchema,
  findingSchema,
  jobSchema,
  jobSummarySchema,
  peerSchema,
  statusSchema,
  tokenSchema
} from '../../src/wire/api/schemas.ts'
import {
  ALICE_ID,
  BOB_ID,
  JOB_ID,
  jobDocument,
  peerDocument,
  runningJobDocument,
  statusDocument
} from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { type FakeDaemonServer, fakeDaemonServer } from '../helpers/fake-daemon-server.ts'

let daemon: FakeDaemonServer
beforeAll(async () => {
  daemon = await fakeDaemonServer()
})
afterAll(() => daemon.close())

function starling(...args: string[]) {
  return runCliHere(args, { env: { STARLING_SOCKET: daemon.socketPath } })
}

/** Rows of a printed table as cells, the heading first; two spaces or more part them. */
function cells(text: string): string[][] {
  return text
    .trimEnd()
    .split('\n')
    .map(line => line.split(/ {2,}/))
}

describe('status', () => {
  it('shows one screen with warnings last, and no colours in a pipe', async () => {
    const mdns = { state: 'silent', detail: 'no answer for 30 s' } as const
    daemon.routes['GET /v1/status'] = {
      body: statusDocument({ discovery: { mdns }, warnings: ['the clock of bob is 3 s ahead'] })
    }
    const { code, stdout, stderr } = await starling('status')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.trimEnd().split('\n')).toEqual([
      `name       alice  ${ALICE_ID}`,
      'daemon     version 0.1.0, pid 4242, up 3 min 5 s',
      'swarm      0123456789abcdef, role admin',
      'peers      2 alive, 1 suspect, 0 dead',
      'jobs       3 running',
      'agents     4 running, 0 paused',
      'discovery  mdns silent (no answer for 30 s)',
      'listening  /ip4/127.0.0.1/tcp/4001',
      `socket     ${daemon.socketPath}`,
      'warning: the clock of bob is 3 s ahead'
    ])
  })

  it('prints one document with --json', async () => {
    daemon.routes['GET /v1/status'] = { body: statusDocument() }
    const { code, stdout } = await starling('status', '--json')
    expect(code).toBe(0)
    expect(stdout.trimEnd()).not.toContain('\n')
    const printed = JSON.parse(stdout)
    expect(printed).toMatchObject({ apiVersion: 'starling/v1', kind: 'Status' })
    expect(statusSchema.parse(printed)).toEqual(statusDocument())
  })
})

describe('peers', () => {
  it('lists what is known and says unknown for what is not', async () => {
    const alice = peerDocument({
      peerId: ALICE_ID,
      name: 'alice',
      self: true,
      rttMs: null,
      asOf: null,
      capabilities: []
    })
    const carol = peerDocument({ name: 'carol', state: 'suspect', rttMs: null, asOf: null })
    daemon.routes['GET /v1/peers'] = { body: { items: [alice, peerDocument(), carol] } }
    const { code, stdout, stderr } = await starling('peers')
    const [heading, ...rows] = cells(stdout)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(heading?.slice(0, 4)).toEqual(['NAME', 'PEER', 'STATE', 'CAPABILITIES (FREE/SLOTS)'])
    expect(rows[0]?.slice(0, 6)).toEqual(['alice (this)', ALICE_ID.slice(0, 14), 'alive', 'none', '3', '2'])
    expect(rows[1]?.slice(0, 7)).toEqual(['bob', BOB_ID.slice(0, 14), 'alive', 'lint 1/4', '3', '2', '1.3 ms'])
    expect(rows[1]?.[7]).toMatch(/^(now|.* ago)$/)
    expect(rows[2]?.slice(2)).toEqual(['suspect', 'lint 1/4', '3', '2', 'unknown', 'unknown'])
  })

  it('shows who takes no work, as long as it is there', async () => {
    const items = [
      peerDocument({ drain: 'draining' }),
      peerDocument({ drain: 'drained' }),
      peerDocument({ drain: 'draining', state: 'suspect' }),
      peerDocument({ drain: 'drained', state: 'left' })
    ]
    daemon.routes['GET /v1/peers'] = { body: { items } }
    const [, ...rows] = cells((await starling('peers')).stdout)
    expect(rows.map(row => row[2])).toEqual(['draining', 'drained', 'suspect', 'left'])
  })

  it('says how to let a machine in while alone', async () => {
    daemon.routes['GET /v1/peers'] = { body: { items: [peerDocument({ self: true })] } }
    expect((await starling('peers')).stderr).toContain('starling token create')
  })

  it('prints a PeerList with --json', async () => {
    daemon.routes['GET /v1/peers'] = { body: { items: [peerDocument()] } }
    const printed = JSON.parse((await starling('peers', '--json')).stdout)
    expect(printed.kind).toBe('PeerList')
    expect(printed.items.map((item: unknown) => peerSchema.parse(item))).toEqual([peerDocument()])
  })
})

describe('agents', () => {
  const agent = {
    id: 'agent-1',
    peerId: BOB_ID,
    runtime: 'command',
    capability: 'lint',
    taskId: `${JOB_ID}.0`,
    state: 'working',
    usage: { source: 'unknown' }
  }

  it('lists what works on tasks', async () => {
    daemon.routes['GET /v1/agents'] = { body: { items: [agent] } }
    const { stdout } = await starling('agents')
    expect(cells(stdout)[1]).toEqual(['agent-1', BOB_ID.slice(0, 14), 'command', 'lint', 'working', `${JOB_ID}.0`])
    const printed = JSON.parse((await starling('agents', '--json')).stdout)
    expect(printed.kind).toBe('AgentList')
    expect(agentSchema.parse(printed.items[0])).toEqual(agent)
  })

  it('says on stderr that there are none, so that a script reads nothing', async () => {
    daemon.routes['GET /v1/agents'] = { body: { items: [] } }
    expect(await starling('agents')).toMatchObject({ code: 0, stdout: '', stderr: 'no agent is at work\n' })
  })
})

describe('jobs', () => {
  it('lists verdicts, and progress of what is running', async () => {
    const failed = jobDocument({
      verdict: 'completed-with-failures',
      tasks: { total: 5, completed: 3, failed: 1, lost: 0, cancelled: 1 }
    })
    daemon.routes['GET /v1/jobs'] = { body: { items: [runningJobDocument(), failed] } }
    const rows = cells((await starling('jobs')).stdout)
    expect(rows[1]?.slice(0, 4)).toEqual(['abcdefghij', 'lint', 'running', '2 ended, 3 running, 2 waiting'])
    expect(rows[2]?.slice(2, 5)).toEqual(['completed-with-failures', '5 tasks, 1 failed, 1 cancelled', 'alice, bob'])
  })

  it('prints a JobList with --json', async () => {
    daemon.routes['GET /v1/jobs'] = { body: { items: [runningJobDocument()] } }
    const printed = JSON.parse((await starling('jobs', '--json')).stdout)
    expect(printed.kind).toBe('JobList')
    expect(jobSummarySchema.parse(printed.items[0]).verdict).toBe('running')
  })
})

describe('job', () => {
  const item = (index: number) => ({
    id: `${JOB_ID}.${index}`,
    parent: null,
    capability: 'lint',
    peerId: BOB_ID,
    state: 'completed' as const,
    outcome: 'completed' as const,
    attempt: 1,
    resultDigest: null,
    usage: { source: 'unknown' as const },
    startedAt: '2026-11-22T10:00:00.000Z',
    endedAt: '2026-11-22T10:00:01.500Z'
  })

  it('shows verdict, shares, timings, placement and losses', async () => {
    daemon.routes['GET /v1/jobs/*'] = {
      body: jobDocument({
        verdict: 'incomplete',
        error: { code: 'TASK_LOST', message: 'carol was lost' },
        lost: [`${JOB_ID}.1`],
        tasks: { total: 2, completed: 1, failed: 0, lost: 1, cancelled: 0 },
        placement: {
          chosen: BOB_ID,
          reason: 'least loaded of two',
          waitedMs: 3,
          candidates: [
            { peerId: BOB_ID, name: 'bob', eligible: true, reason: 'free slot', free: 1, ageMs: 200 },
            { peerId: ALICE_ID, name: 'alice', eligible: false, reason: 'no such capability', free: null, ageMs: null }
          ]
        },
        items: [item(0), { ...item(1), outcome: 'lost', endedAt: null }]
      })
    }
    const { code, stdout } = await starling('job', 'abcd')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^verdict +incomplete$/m)
    expect(stdout).toMatch(/^tasks +2 tasks, 1 lost, 1 completed$/m)
    expect(stdout).toMatch(/^peers +alice 1, bob 1$/m)
    expect(stdout).toMatch(/^took +4.2 s$/m)
    expect(stdout).toMatch(/^detected +10 ms after the last task$/m)
    expect(stdout).toMatch(/^error +TASK_LOST: carol was lost$/m)
    expect(stdout).toContain(`lost       ${JOB_ID}.1`)
    expect(stdout).toContain('placed on bob: least loaded of two, after 3 ms')
    expect(stdout).toMatch(/^alice +no +unknown +unknown +no such capability$/m)
    expect(stdout).toMatch(new RegExp(`^${JOB_ID}.0 +lint +bob +completed +1 +1.5 s$`, 'm'))
    expect(daemon.requests.at(-1)).toMatchObject({ route: 'GET /v1/jobs/abcd', query: '?items=1' })
  })

  it('shows what took more than one attempt, and what ended too late to be counted', async () => {
    daemon.routes['GET /v1/jobs/*'] = {
      body: jobDocument({
        items: [item(0), { ...item(1), attempt: 3 }],
        late: [
          { taskId: `${JOB_ID}.1`, peerId: ALICE_ID, attempt: 1, outcome: 'completed' },
          { taskId: `${JOB_ID}.1`, peerId: `12D3KooWCCCCCC${'x'.repeat(30)}`, attempt: 2, outcome: 'failed' }
        ]
      })
    }
    const { stdout } = await starling('job', JOB_ID)
    expect(stdout).toMatch(/^again +1 task took more than one attempt$/m)
    expect(stdout).toMatch(new RegExp(`^${JOB_ID}.1 +lint +bob +completed +3 +1.5 s$`, 'm'))
    const late = stdout.split('\n').filter(line => line.startsWith('late: '))
    expect(late).toEqual([
      `late: attempt 1 of task ${JOB_ID}.1 on alice ended (completed) after it was tried again; not counted`,
      `late: attempt 2 of task ${JOB_ID}.1 on 12D3KooWCCCCCC ended (failed) after it was tried again; not counted`
    ])
  })

  it('lists twenty late ends, and all with --all', async () => {
    const late = Array.from({ length: 21 }, (_, index) => ({
      taskId: `${JOB_ID}.${index}`,
      peerId: BOB_ID,
      attempt: 1,
      outcome: 'completed' as const
    }))
    daemon.routes['GET /v1/jobs/*'] = { body: jobDocument({ late }) }
    const short = await starling('job', JOB_ID)
    expect(short.stdout.match(/^late: /gm)).toHaveLength(20)
    expect(short.stdout).toContain('1 more: starling job abcdefghij --all')
    expect((await starling('job', JOB_ID, '--all')).stdout.match(/^late: /gm)).toHaveLength(21)
  })

  it('lists twenty tasks, says how many more there are, and all with --all', async () => {
    daemon.routes['GET /v1/jobs/*'] = {
      body: jobDocument({ items: Array.from({ length: 21 }, (_, index) => item(index)) })
    }
    const short = await starling('job', JOB_ID)
    expect(short.stdout.match(new RegExp(`^${JOB_ID}\\.`, 'gm'))).toHaveLength(20)
    expect(short.stdout).toContain('1 more: starling job abcdefghij --all')
    const all = await starling('job', JOB_ID, '--all')
    expect(all.stdout.match(new RegExp(`^${JOB_ID}\\.`, 'gm'))).toHaveLength(21)
    expect(all.stdout).not.toContain('more:')
    const printed = JSON.parse((await starling('job', JOB_ID, '--json')).stdout)
    expect(printed.kind).toBe('Job')
    expect(jobSchema.parse(printed).items).toHaveLength(21)
  })
})

describe('doctor', () => {
  const findings = [
    { check: 'socket', state: 'ok', detail: 'mode 0600' },
    { check: 'mdns', state: 'warning', detail: 'silent', hint: 'use --peer' },
    { check: 'clock', state: 'unknown', detail: 'no peer to ask' }
  ]

  it('uses words instead of symbols without a terminal, and succeeds when nothing failed', async () => {
    daemon.routes['GET /v1/doctor'] = { body: { items: findings } }
    expect(await starling('doctor')).toMatchObject({
      code: 0,
      stdout: 'ok   socket: mode 0600\nwarn mdns: silent\n     hint: use --peer\n?    clock: no peer to ask\n'
    })
  })

  it('exits with 1 when a check failed', async () => {
    const failed = { check: 'disk', state: 'failed', detail: 'full' }
    daemon.routes['GET /v1/doctor'] = { body: { items: [...findings, failed] } }
    const { code, stdout } = await starling('doctor', '--json')
    expect(code).toBe(1)
    const printed = JSON.parse(stdout)
    expect(printed.kind).toBe('FindingList')
    expect(printed.items.map((each: unknown) => findingSchema.parse(each))).toHaveLength(4)
  })
})

describe('token create', () => {
  const token = { token: 'starling1abc', role: 'worker', uses: 3, expiresAt: '2026-11-22T11:00:00.000Z' }

  it('prints only the token on stdout and the line to run elsewhere on stderr', async () => {
    daemon.routes['POST /v1/tokens'] = { body: token }
    const { code, stdout, stderr } = await starling('token', 'create', '--ttl', '1h', '--uses', '3')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'starling1abc\n' })
    expect(stderr).toContain('  starling up --join starling1abc\n')
    expect(stderr).toContain('lets 3 machines in until 2026-11-22T11:00:00.000Z')
    expect(daemon.requests.at(-1)?.body).toEqual({ ttlMs: 3_600_000, uses: 3 })
  })

  it('leaves the defaults to the daemon, and prints a Token with --json', async () => {
    daemon.routes['POST /v1/tokens'] = { body: token }
    const printed = JSON.parse((await starling('token', 'create', '--json')).stdout)
    expect(daemon.requests.at(-1)?.body).toEqual({})
    expect(printed.kind).toBe('Token')
    expect(tokenSchema.parse(printed)).toEqual(token)
  })

  it.each([
    ['--uses', '0'],
    ['--uses', '1001'],
    ['--uses', '1.5'],
    ['--ttl', '15'],
    ['--ttl', '-1s']
  ])('refuses %s %s', async (flag, value) => {
    expect(await starling('token', 'create', `${flag}=${value}`)).toMatchObject({ code: 2, stdout: '' })
  })
})

it('join hands the token over and says where it is now', async () => {
  daemon.routes['POST /v1/join'] = { body: statusDocument() }
  const { code, stdout } = await starling('join', 'starling1abc')
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'joined swarm 0123456789abcdef as admin; 2 peers alive\n' })
  expect(daemon.requests.at(-1)?.body).toEqual({ token: 'starling1abc' })
  expect(JSON.parse((await starling('join', 'starling1abc', '--json')).stdout).kind).toBe('Status')
})

it('cancel says whether the job is still stopping', async () => {
  daemon.routes['POST /v1/jobs/*/cancel'] = { body: runningJobDocument() }
  const stopping = await starling('cancel', JOB_ID)
  expect(stopping).toMatchObject({ code: 0, stdout: `job ${JOB_ID} is stopping\n` })
  expect(stopping.stderr).toContain(`starling wait ${JOB_ID}`)
  daemon.routes['POST /v1/jobs/*/cancel'] = { body: jobDocument({ verdict: 'cancelled' }) }
  expect((await starling('cancel', JOB_ID)).stdout).toBe(`job ${JOB_ID} is over: cancelled\n`)
  expect(JSON.parse((await starling('cancel', JOB_ID, '--json')).stdout)).toMatchObject({ kind: 'Job', id: JOB_ID })
})

it('version tells the versions apart, and says when no daemon runs', async () => {
  daemon.routes['GET /version'] = { body: { version: '9.9.9', apiVersions: ['v1'] } }
  const own = JSON.parse((await starling('version', '--json')).stdout)
  expect(own).toMatchObject({ kind: 'Version', daemon: '9.9.9', node: process.versions.node })
  expect((await starling('--version')).stdout).toBe(`${own.version}\n`)
  const alone = await runCliHere(['version'])
  expect(alone).toMatchObject({ code: 0 })
  expect(alone.stdout).toContain('daemon not running')
})
