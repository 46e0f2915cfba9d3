import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Job } from '../../src/wire/api/schemas.ts'
import { BOB_ID, JOB_ID, jobDocument, runningJobDocument } from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { startCli } from '../helpers/cli-process.ts'
import {
  type FakeDaemonServer,
  type FakeRequest,
  type FakeRoute,
  fakeDaemonServer,
  fakeProblem
} from '../helpers/fake-daemon-server.ts'

let daemon: FakeDaemonServer
beforeEach(async () => {
  daemon = await fakeDaemonServer({ 'POST /v1/jobs': { body: { id: JOB_ID, existing: false } } })
})
afterEach(() => daemon.close())

function starling(...args: string[]) {
  return runCliHere(args, { env: { STARLING_SOCKET: daemon.socketPath } })
}

function start(...args: string[]) {
  return startCli(args, { env: { STARLING_SOCKET: daemon.socketPath } })
}

/** A job that never ends: answers when the asked wait is over. */
const stillRunning: FakeRoute = async ({ query, gone }: FakeRequest) => {
  await sleep(Number.parseFloat(query.get('wait') ?? '0'), undefined, { signal: gone }).catch(() => {})
  return { body: runningJobDocument() }
}

function ended(changes: Partial<Job>): void {
  daemon.routes['GET /v1/jobs/*'] = { body: jobDocument(changes) }
}

describe('run', () => {
  it('prints the result on stdout and the verdict on stderr', async () => {
    ended({ result: { files: 3 } })
    const { code, stdout, stderr } = await starling('run', 'lint', '{"dir": "src"}', '--on', 'bob', '--id', 'k1')
    expect({ code, stdout }).toEqual({ code: 0, stdout: '{"files":3}\n' })
    expect(stderr).toBe('completed: 2 tasks on 2 peers in 4.2 s, known 10 ms after the last task\n')
    expect(daemon.requests[0]).toMatchObject({
      route: 'POST /v1/jobs',
      body: { capability: 'lint', input: { dir: 'src' }, on: 'bob', id: 'k1' }
    })
  })

  it.each(['run', 'submit'])('%s sends what is wanted when the task fails, is lost or takes too long', async verb => {
    ended({})
    const flags = ['--retry', '3', '--backoff', '1.5s', '--deadline', '2h', '--exclusive']
    expect((await starling(verb, 'lint', ...flags)).code).toBe(0)
    expect(daemon.requests[0]?.body).toEqual({
      capability: 'lint',
      input: null,
      retry: { attempts: 3, backoffMs: 1_500 },
      deadlineMs: 7_200_000,
      exclusive: true
    })
    await starling(verb, 'lint', '--retry', '2')
    const posts = daemon.requests.filter(({ route }) => route === 'POST /v1/jobs')
    expect(posts[1]?.body).toEqual({ capability: 'lint', input: null, retry: { attempts: 2 } })
  })

  it.each([
    [['--retry', '0'], /--retry takes a whole number from 1 to 100/],
    [['--retry', '101'], /from 1 to 100/],
    [['--retry', 'often'], /from 1 to 100/],
    [['--backoff', '1s'], /needs --retry\nhint: .*--retry 3 --backoff 1s/],
    [['--retry', '2', '--backoff', '5'], /500ms/],
    [['--retry', '2', '--backoff', '11m'], /longer than 10 min/],
    [['--deadline', '0s'], /out of range/]
  ])('refuses %j without asking anybody', async (flags, message) => {
    const { code, stderr } = await starling('run', 'lint', ...flags)
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
    expect(daemon.requests).toEqual([])
  })

  it('takes a back-off of exactly the bound', async () => {
    ended({})
    await starling('run', 'lint', '--retry', '100', '--backoff', '10m')
    expect(daemon.requests[0]?.body).toMatchObject({ retry: { attempts: 100, backoffMs: 600_000 } })
  })

  it.each([
    ['text as it is', 'two\nlines', 'two\nlines\n'],
    ['text that ends its line', 'line\n', 'line\n'],
    ['empty text', '', ''],
    ['null', null, ''],
    ['false', false, 'false\n'],
    ['zero', 0, '0\n'],
    ['a list', [1, 'a'], '[1,"a"]\n'],
    ['control characters, since it is no terminal', '\u001b[2Jx', '\u001b[2Jx\n']
  ])('prints %s', async (_, result, stdout) => {
    ended({ result })
    expect((await starling('run', 'lint')).stdout).toBe(stdout)
  })

  it('sends null without INPUT, text as text, and JSON as JSON', async () => {
    ended({})
    for (const args of [[], ['-5'], ['true'], ['"-"'], [' {a'], ['[1]'], ['']])
      await starling('run', 'lint', '--', ...args)
    const inputs = daemon.requests.filter(({ route }) => route === 'POST /v1/jobs').map(({ body }) => body)
    expect(inputs.map(body => (body as { input: unknown }).input)).toEqual([null, '-5', 'true', '-', ' {a', [1], ''])
  })

  it.each([
    ['completed', 0],
    ['completed-with-failures', 4],
    ['cancelled', 4],
    ['incomplete', 5]
  ] as const)('exits for the verdict %s with %i', async (verdict, code) => {
    ended({ verdict, error: { code: 'TASK_FAILED', message: 'exit code 3' } })
    const result = await starling('run', 'lint')
    expect(result.code).toBe(code)
    expect(result.stderr).toMatch(new RegExp(`^${verdict}: `))
    expect(result.stderr).toContain('error: TASK_FAILED: exit code 3\n')
    expect(result.stderr.includes(`starling job ${JOB_ID}`)).toBe(verdict !== 'completed')
  })

  it('prints the whole job with --json, also when it failed', async () => {
    ended({ verdict: 'incomplete', lost: [`${JOB_ID}.1`], result: 'part' })
    const { code, stdout } = await starling('run', 'lint', '--json')
    expect(code).toBe(5)
    expect(JSON.parse(stdout)).toEqual({
      apiVersion: 'starling/v1',
      kind: 'Job',
      ...jobDocument({ verdict: 'incomplete', lost: [`${JOB_ID}.1`], result: 'part' })
    })
  })

  it('says nothing on stderr with --quiet', async () => {
    daemon.routes['POST /v1/jobs'] = { body: { id: JOB_ID, existing: true } }
    ended({ verdict: 'completed-with-failures' })
    expect(await starling('run', 'lint', '-q')).toMatchObject({ code: 4, stdout: '', stderr: '' })
  })

  it('exits with 8 when the time is over, and says how to wait on', async () => {
    daemon.routes['GET /v1/jobs/*'] = stillRunning
    const { code, stdout, stderr } = await starling('run', 'lint', '--timeout', '100ms')
    expect({ code, stdout }).toEqual({ code: 8, stdout: '' })
    expect(stderr).toContain(`timed out: job ${JOB_ID} is still running`)
    expect(stderr).toContain(`starling wait ${JOB_ID}`)
    const json = await starling('run', 'lint', '--timeout', '100ms', '--json')
    expect(json.code).toBe(8)
    expect(JSON.parse(json.stdout)).toMatchObject({ kind: 'Job', verdict: 'running' })
  })

  it('ends with 130 at Ctrl-C, and says that the job goes on', async () => {
    daemon.routes['GET /v1/jobs/*'] = stillRunning
    const running = start('run', 'lint')
    await vi.waitFor(() => expect(daemon.requests).toHaveLength(2), { timeout: 10_000 })
    running.child.kill('SIGINT')
    const { code, stdout, stderr } = await running.ended
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
    expect(stderr).toContain(`interrupted: job ${JOB_ID} goes on`)
    expect(stderr).toContain(`starling cancel ${JOB_ID}`)
    expect(daemon.requests.some(({ route }) => route.endsWith('/cancel'))).toBe(false)
  })

  it('exits with 3 when the daemon goes away while it waits, and says that the job is kept', async () => {
    daemon.routes['GET /v1/jobs/*'] = 'break'
    const { code, stderr } = await starling('run', 'lint')
    expect(code).toBe(3)
    expect(stderr).toContain(`starling wait ${JOB_ID}`)
    const json = await starling('run', 'lint', '--json')
    expect(json.code).toBe(3)
    expect(JSON.parse(json.stdout)).toMatchObject({ kind: 'Problem', code: 'DAEMON_NOT_RUNNING' })
  })

  it('exits with 6 when nobody can do it, and hands nothing in', async () => {
    daemon.routes['POST /v1/jobs'] = fakeProblem('NO_CAPABLE_PEER', 'no peer offers lint', 'see: starling peers')
    expect(await starling('run', 'lint')).toMatchObject({
      code: 6,
      stdout: '',
      stderr: 'error: no peer offers lint\nhint: see: starling peers\n'
    })
    expect(daemon.requests).toHaveLength(1)
  })

  it('only shows where it would go with --dry-run', async () => {
    daemon.routes['POST /v1/plan'] = {
      body: {
        chosen: BOB_ID,
        reason: 'only one',
        waitedMs: null,
        candidates: [{ peerId: BOB_ID, name: 'bob', eligible: true, reason: 'free slot', free: 2, ageMs: 40 }]
      }
    }
    const { code, stdout } = await starling('run', 'lint', 'x', '--dry-run')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^placed on bob: only one\n/)
    expect(JSON.parse((await starling('submit', 'lint', '--dry-run', '--json')).stdout).kind).toBe('Placement')
    expect(daemon.requests.map(({ route }) => route)).toEqual(['POST /v1/plan', 'POST /v1/plan'])
  })
})

describe('submit and wait', () => {
  it('are the two halves of run', async () => {
    const submitted = await starling('submit', 'lint', 'x')
    expect(submitted).toMatchObject({ code: 0, stdout: `${JOB_ID}\n`, stderr: '' })
    ended({ result: 'done', verdict: 'completed-with-failures' })
    expect(await starling('wait', submitted.stdout.trim())).toMatchObject({ code: 4, stdout: 'done\n' })
  })

  it('says when the key was used before', async () => {
    daemon.routes['POST /v1/jobs'] = { body: { id: JOB_ID, existing: true } }
    const human = await starling('submit', 'lint', '--id', 'nightly')
    expect(human).toMatchObject({ code: 0, stdout: `${JOB_ID}\n` })
    expect(human.stderr).toContain('handed in before')
    const json = JSON.parse((await starling('submit', 'lint', '--id', 'nightly', '--json')).stdout)
    expect(json).toEqual({ apiVersion: 'starling/v1', kind: 'Submission', id: JOB_ID, existing: true })
  })

  it('wait exits with 8 while the job runs on', async () => {
    daemon.routes['GET /v1/jobs/*'] = stillRunning
    expect((await starling('wait', JOB_ID, '--timeout', '50ms')).code).toBe(8)
  })

  it('wait exits with 2 for an id that is unknown or fits several jobs', async () => {
    daemon.routes['GET /v1/jobs/*'] = fakeProblem('AMBIGUOUS_ID', 'abcd fits two jobs')
    expect(await starling('wait', 'abcd')).toMatchObject({ code: 2, stderr: 'error: abcd fits two jobs\n' })
  })
})

describe('spawn', () => {
  const task = `${JOB_ID}.0`
  const inTask = (...args: string[]) =>
    runCliHere(['spawn', ...args], {
      env: { STARLING_SOCKET: daemon.socketPath, STARLING_TASK: task, STARLING_ATTEMPT: '2' }
    })

  it('is refused outside a task', async () => {
    const { code, stderr } = await starling('spawn', 'lint')
    expect(code).toBe(2)
    expect(stderr).toContain('STARLING_TASK is not set')
    expect(daemon.requests).toEqual([])
  })

  it('adds a child to the attempt that calls it, and prints its id', async () => {
    daemon.routes['POST /v1/tasks/*/children'] = { body: { taskId: `${task}.0` } }
    expect(await inTask('stat', '{"path":"."}')).toMatchObject({ code: 0, stdout: `${task}.0\n`, stderr: '' })
    expect(daemon.requests).toMatchObject([
      { route: `POST /v1/tasks/${task}/children`, body: { capability: 'stat', input: { path: '.' }, attempt: 2 } }
    ])
    expect(JSON.parse((await inTask('stat', '--json')).stdout)).toMatchObject({ kind: 'Child', taskId: `${task}.0` })
  })

  it('sends what is wanted when the child fails, is lost or takes too long', async () => {
    daemon.routes['POST /v1/tasks/*/children'] = { body: { taskId: `${task}.0` } }
    await inTask('stat', '--retry', '2', '--backoff', '10ms', '--deadline', '1m', '--exclusive')
    expect(daemon.requests[0]?.body).toEqual({
      capability: 'stat',
      input: null,
      attempt: 2,
      retry: { attempts: 2, backoffMs: 10 },
      deadlineMs: 60_000,
      exclusive: true
    })
  })

  it.each([
    ['completed', 0],
    ['failed', 4],
    ['cancelled', 4],
    ['lost', 5]
  ])('with --wait exits for a child that is %s with %i', async (outcome, code) => {
    daemon.routes['POST /v1/tasks/*/children'] = { body: { taskId: `${task}.0` } }
    const error = { code: 'TASK_FAILED', message: 'exit code 1' }
    const child = outcome === 'completed' ? { result: { size: 4 } } : { error }
    daemon.routes['GET /v1/tasks/*/children/*'] = { body: { taskId: `${task}.0`, outcome, ...child } }
    const result = await inTask('stat', '--wait')
    expect(result.code).toBe(code)
    if (outcome === 'completed') expect(result).toMatchObject({ stdout: '{"size":4}\n', stderr: '' })
    else expect(result.stderr).toBe(`error: task ${task}.0 ${outcome}: TASK_FAILED: exit code 1\n`)
  })

  it('exits with 9 after the end of the task', async () => {
    daemon.routes['POST /v1/tasks/*/children'] = fakeProblem('TASK_ENDED', 'the task has ended')
    expect((await inTask('stat')).code).toBe(9)
  })
})
