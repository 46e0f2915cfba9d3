import { expect, test, vi } from 'vitest'
import { connect, DaemonNotRunningError, type Mesh, StarlingError, type WorkerContext } from '../../src/sdk/index.ts'
import { WorkerLink } from '../../src/sdk/worker-link.ts'
import { LOG_LINE_CHARS_MAX, RESULT_BYTES_MAX } from '../../src/wire/api/limits.ts'
import { afterTest, type Fixture, serve } from '../helpers/control-fixture.ts'
import { event, eventLog, FakeDaemonApi, type FakeSession, jobSummary } from '../helpers/fake-daemon-api.ts'
import { recordingLogger } from '../helpers/recording-logger.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

async function meshOn(fixture: Fixture): Promise<Mesh> {
  const mesh = await connect({ socket: fixture.socketPath, logger: recordingLogger() })
  afterTest(() => mesh.close())
  return mesh
}

/** A worker that serves `build` by `handler`, and the daemon's end of its session. */
async function working(
  handler: (context: WorkerContext) => unknown
): Promise<Fixture & { mesh: Mesh; session: FakeSession }> {
  const fixture = await serve()
  const mesh = await meshOn(fixture)
  await mesh.work('build', (_, context) => handler(context), { slots: 2 })
  return { ...fixture, mesh, session: sessionOf(fixture, 0) }
}

function sessionOf(fixture: Fixture, index: number): FakeSession {
  const session = fixture.api.sessions[index]
  if (session === undefined) throw new Error(`there is no session ${index}`)
  return session
}

function oneEnd(session: FakeSession, attemptId = 'a1') {
  return vi.waitFor(() => {
    expect(session.ends(attemptId)).toHaveLength(1)
    return session.ends(attemptId)[0]
  })
}

/** Resolves when the worker has handled all that was sent before, and what it has said to that is here. */
async function delivered(session: FakeSession): Promise<void> {
  session.start('barrier', 'not-served')
  await vi.waitFor(() => expect(session.ends('barrier')).toMatchObject([{ kind: 'failed' }]))
}

test('connect rejects when no daemon runs', async () => {
  const connecting = connect({ socket: `${temporaryDirectory()}/none.sock` })
  await expect(connecting).rejects.toBeInstanceOf(DaemonNotRunningError)
})

test('a handler gets its task and its result goes to the daemon', async () => {
  const fixture = await serve()
  const mesh = await meshOn(fixture)
  const handler = vi.fn((task: { input: { n: number } }) => ({ twice: 2 * task.input.n }))
  await mesh.work<{ n: number }>('build', handler, { slots: 3 })
  const session = sessionOf(fixture, 0)
  expect(session.calls).toEqual([['work', 'build', 3]])
  session.start('a1', 'build', { n: 21 })
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: { twice: 42 } })
  expect(handler.mock.calls[0]?.[0]).toEqual({
    taskId: 'job1.0',
    jobId: 'job1',
    capability: 'build',
    input: { n: 21 },
    attempt: 1
  })
})

test.each<[string, () => unknown, unknown]>([
  ['nothing becomes null', () => undefined, null],
  ['null stays null', () => null, null],
  ['a promise is awaited', async () => [1, 'two'], [1, 'two']],
  ['dates become text', () => ({ at: new Date(0) }), { at: '1970-01-01T00:00:00.000Z' }],
  ['a result of exactly the bound', () => 'x'.repeat(RESULT_BYTES_MAX - 2), 'x'.repeat(RESULT_BYTES_MAX - 2)]
])('result: %s', async (_, handler, result) => {
  const { session } = await working(handler)
  session.start('a1', 'build')
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result })
})

const circle: Record<string, unknown> = {}
circle.self = circle

test.each<[string, () => unknown, string, RegExp]>([
  ['a thrown error', () => Promise.reject(new Error('no compiler')), 'TASK_FAILED', /^no compiler$/],
  ['a thrown text', () => Promise.reject('broken'), 'TASK_FAILED', /^broken$/],
  ['an error with a code', () => Promise.reject(new StarlingError('TASK_LOST', 'gone')), 'TASK_LOST', /^gone$/],
  ['a long message', () => Promise.reject(new Error('x'.repeat(9_999))), 'TASK_FAILED', /^x{2000}$/],
  ['a result that is a circle', () => circle, 'TASK_FAILED', /no JSON: .*circular/i],
  ['a result that is a big integer', () => 1n, 'TASK_FAILED', /no JSON/],
  ['a result that is a function', () => () => 1, 'TASK_FAILED', /no JSON: it is a function/],
  ['a result one byte too long', () => 'x'.repeat(RESULT_BYTES_MAX - 1), 'RESULT_TOO_LARGE', /1048577/],
  ['a result of five times the bound', () => 'x'.repeat(5 * RESULT_BYTES_MAX), 'RESULT_TOO_LARGE', /more than/]
])('%s fails the attempt', async (_, handler, code, message) => {
  const { session } = await working(handler)
  session.start('a1', 'build')
  const end = await oneEnd(session)
  expect(end).toEqual({ kind: 'failed', error: { code, message: expect.stringMatching(message) } })
  expect(session.closed).toBe(false)
})

test('a handler that throws leaves its stack in the log', async () => {
  const { session } = await working(() => {
    throw new Error('no compiler')
  })
  session.start('a1', 'build')
  await oneEnd(session)
  expect(session.called('log').map(call => call[2])).toContainEqual(expect.stringContaining('mesh.test.ts'))
})

test('logs are cut into lines that fit, progress into its range', async () => {
  const { session } = await working(({ log, progress }) => {
    log(`one\ntwo\r\n${'x'.repeat(LOG_LINE_CHARS_MAX + 5)}`)
    progress(7, 'n'.repeat(2_000))
    expect(() => progress(Number.NaN)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })
  session.start('a1', 'build')
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: null })
  expect(session.called('log').map(call => call[2])).toEqual(['one', 'two', 'x'.repeat(LOG_LINE_CHARS_MAX)])
  expect(session.called('progress')).toEqual([['progress', 'a1', 1, 'n'.repeat(1_000)]])
})

test('a child is spawned without waiting for it', async () => {
  const { session } = await working(async ({ spawn }) => (await spawn('stat', { path: '.' })).taskId)
  session.start('a1', 'build')
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: 'job1.0.0' })
  expect(session.called('spawn')).toEqual([['spawn', 'a1', { capability: 'stat', input: { path: '.' }, watch: true }]])
  expect(session.called('blocked')).toEqual([])
})

test('a child is spawned with what is wanted when it fails, is lost or takes too long', async () => {
  const options = { exclusive: true, retry: { attempts: 2, backoffMs: 100 }, deadlineMs: 1_000 }
  const { session } = await working(async ({ spawn }) => void (await spawn('stat', 1, options)))
  session.start('a1', 'build')
  await oneEnd(session)
  expect(session.called('spawn')).toEqual([['spawn', 'a1', { capability: 'stat', input: 1, ...options, watch: true }]])
})

test('a spawn with options out of range rejects', async () => {
  const { session } = await working(async ({ spawn }) => void (await spawn('stat', 1, { deadlineMs: -1 })))
  session.start('a1', 'build')
  expect(await oneEnd(session)).toMatchObject({ kind: 'failed', error: { code: 'INVALID_INPUT' } })
})

test('a handler gets the fencing token of its attempt', async () => {
  const { session } = await working(({ fencingToken }) => fencingToken)
  session.worker.start({
    attemptId: 'a1',
    taskId: 'job1.0.3',
    jobId: 'job1',
    capability: 'build',
    input: null,
    attempt: 1,
    fencingToken: '2.1',
    leaseLeftMs: 6_000,
    traceparent: '',
    timeoutMs: undefined
  })
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: '2.1' })
})

test('while a handler waits for children its slot is free, and only then', async () => {
  const { session } = await working(async ({ spawn }) => {
    const children = await Promise.all([spawn('stat'), spawn('stat')])
    return Promise.all(children.map(child => child.result()))
  })
  session.start('a1', 'build')
  await vi.waitFor(() => expect(session.called('blocked')).toEqual([['blocked', 'a1', true]]))
  session.settle('a1', 'job1.0.1', { result: 'second' })
  session.settle('a1', 'job1.0.0', { result: 'first' })
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: ['first', 'second'] })
  expect(session.called('blocked')).toEqual([
    ['blocked', 'a1', true],
    ['blocked', 'a1', false]
  ])
})

test('a result can be asked for after the child has settled, and twice', async () => {
  const { promise: settled, resolve } = Promise.withResolvers<void>()
  const { session } = await working(async ({ spawn }) => {
    const child = await spawn('stat')
    await settled
    return [await child.result(), await child.result()]
  })
  session.start('a1', 'build')
  await vi.waitFor(() => expect(session.called('spawn')).toHaveLength(1))
  session.settle('a1', 'job1.0.0', { result: 5 })
  await delivered(session)
  resolve()
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: [5, 5] })
  expect(session.called('blocked')).toEqual([])
})

test('a child that settles before its spawn is answered is not lost', async () => {
  const { session } = await working(async ({ spawn }) => (await spawn('stat')).result())
  session.spawned = async attemptId => {
    session.settle(attemptId, 'job1.0.7', { result: 'early' })
    return { taskId: 'job1.0.7' }
  }
  session.start('a1', 'build')
  expect(await oneEnd(session)).toEqual({ kind: 'completed', result: 'early' })
})

test.each([
  ['failed', { code: 'TASK_TIMEOUT', message: 'too slow' }, 'TASK_TIMEOUT', 'too slow'],
  ['failed', { code: 'EOTHER', message: 'odd' }, 'TASK_FAILED', 'odd'],
  ['failed', undefined, 'TASK_FAILED', 'task job1.0.0 ended as failed'],
  ['cancelled', undefined, 'TASK_CANCELLED', 'task job1.0.0 ended as cancelled'],
  ['lost', undefined, 'TASK_LOST', 'task job1.0.0 ended as lost']
] as const)('a child that %s with %j rejects with %s', async (outcome, error, code, message) => {
  const { session } = await working(async ({ spawn }) => (await spawn('stat')).result())
  session.start('a1', 'build')
  await vi.waitFor(() => expect(session.called('blocked')).toHaveLength(1))
  session.settle('a1', 'job1.0.0', { outcome, error, result: undefined })
  expect(await oneEnd(session)).toEqual({ kind: 'failed', error: { code, message } })
})

test.each<[string, unknown, string]>([
  ['a circle', circle, 'INVALID_INPUT'],
  ['a function', () => 1, 'INVALID_INPUT'],
  ['too long', 'x'.repeat(1024 * 1024 + 1), 'INPUT_TOO_LARGE']
])('an input of a child that is %s is refused before it is sent', async (_, input, code) => {
  const { session } = await working(({ spawn }) => spawn('stat', input))
  session.start('a1', 'build')
  expect(await oneEnd(session)).toMatchObject({ kind: 'failed', error: { code } })
  expect(session.called('spawn')).toEqual([])
})

test('a spawn that the daemon refuses rejects, and the session goes on', async () => {
  const { session } = await working(({ spawn }) => spawn('Bad Name'))
  session.start('a1', 'build')
  expect(await oneEnd(session)).toMatchObject({ kind: 'failed', error: { code: 'INVALID_INPUT' } })
  expect(session.closed).toBe(false)
})

test('a child that is spawned without await is accepted before its parent ends', async () => {
  const { promise: accepted, resolve } = Promise.withResolvers<{ taskId: string }>()
  const { session } = await working(({ spawn }) => {
    spawn('stat')
  })
  session.spawned = () => accepted
  session.start('a1', 'build')
  await vi.waitFor(() => expect(session.called('spawn')).toHaveLength(1))
  await new Promise(done => setImmediate(done))
  expect(session.ends('a1')).toEqual([])
  resolve({ taskId: 'job1.0.0' })
  await oneEnd(session)
})

test('after the handler has returned nothing can be spawned, awaited, logged or reported', async () => {
  const kept: WorkerContext[] = []
  const children: { result(): Promise<unknown> }[] = []
  const { session } = await working(async context => {
    kept.push(context)
    children.push(await context.spawn('stat'))
  })
  session.start('a1', 'build')
  await oneEnd(session)
  await expect(kept[0]?.spawn('stat')).rejects.toMatchObject({ code: 'TASK_ENDED' })
  await expect(children[0]?.result()).rejects.toMatchObject({ code: 'TASK_ENDED' })
  kept[0]?.log('late')
  kept[0]?.progress(1)
  expect(session.called('spawn')).toHaveLength(1)
  await delivered(session)
  expect(session.called('log').filter(call => call[1] === 'a1')).toEqual([])
  expect(session.called('progress')).toEqual([])
})

test('a wait that the handler has given up does not bring the process down', async () => {
  const unhandled = vi.fn()
  process.on('unhandledRejection', unhandled)
  afterTest(() => void process.off('unhandledRejection', unhandled))
  const { session } = await working(async ({ spawn, task }) => {
    if (task.taskId === 'job1.0') (await spawn('stat')).result()
  })
  session.start('a1', 'build')
  await oneEnd(session)
  await new Promise(done => setImmediate(done))
  expect(unhandled).not.toHaveBeenCalled()
})

test('an abort reaches the signal and whatever the handler waits for', async () => {
  const reasons: unknown[] = []
  const { session } = await working(async ({ spawn, signal }) => {
    signal.addEventListener('abort', () => reasons.push(signal.reason))
    const child = await spawn('stat')
    await child.result().catch((error: unknown) => reasons.push(error))
    await spawn('more')
  })
  session.start('a1', 'build')
  await vi.waitFor(() => expect(session.called('blocked')).toHaveLength(1))
  session.worker.abort('a1', 'the job is cancelled')
  expect(await oneEnd(session)).toEqual({
    kind: 'failed',
    error: { code: 'TASK_CANCELLED', message: 'the job is cancelled' }
  })
  expect(reasons).toHaveLength(2)
  expect(session.called('spawn')).toHaveLength(1)
})

test('a capability is served once, with a sensible number of slots', async () => {
  const { mesh } = await working(() => 1)
  await expect(mesh.work('build', () => 1)).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  for (const slots of [0, 1.5, 1_025]) {
    await expect(mesh.work('test', () => 1, { slots })).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  }
  await expect(mesh.work('taken', () => 1)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
})

test('a worker comes back when the daemon restarts, and the attempts of the old session are over', async () => {
  const { promise: finish, resolve } = Promise.withResolvers<void>()
  const aborted = vi.fn()
  const { mesh, server, session, socketPath } = await working(async ({ signal }) => {
    signal.addEventListener('abort', () => aborted(signal.reason.code))
    await finish
    return 'late'
  })
  await mesh.work('test', () => 'ok', { slots: 1 })
  session.start('a1', 'build')
  session.start('a2', 'build')
  await server.stop()
  await vi.waitFor(() => expect(aborted.mock.calls).toEqual([['DAEMON_NOT_RUNNING'], ['DAEMON_NOT_RUNNING']]))
  const restarted = await serve({ socketPath })
  await vi.waitFor(() => expect(restarted.api.sessions[0]?.calls).toHaveLength(2), 5_000)
  const next = sessionOf(restarted, 0)
  expect(next.calls).toEqual([
    ['work', 'build', 2],
    ['work', 'test', 1]
  ])
  resolve()
  next.start('a1', 'test')
  expect(await oneEnd(next)).toEqual({ kind: 'completed', result: 'ok' })
  expect(next.called('ended')).toHaveLength(1)
  expect(session.ends('a1')).toEqual([])
})

test('a worker that the daemon has cut comes back', async () => {
  const fixture = await serve({ timing: { sessionPingMs: 10, sessionSilenceMs: -1 } })
  const mesh = await meshOn(fixture)
  await mesh.work('build', () => 1)
  await vi.waitFor(() => expect(fixture.api.sessions.length).toBeGreaterThan(2), 5_000)
  await mesh.close()
})

test('work rejects when the daemon is away, and can be tried again', async () => {
  const fixture = await serve()
  const mesh = await meshOn(fixture)
  await fixture.server.stop()
  await expect(mesh.work('build', () => 1)).rejects.toBeInstanceOf(DaemonNotRunningError)
  const restarted = await serve({ socketPath: fixture.socketPath })
  await mesh.work('build', () => 1, { slots: 1 })
  expect(sessionOf(restarted, 0).calls).toEqual([['work', 'build', 1]])
})

test('a daemon that is frozen counts as gone', async () => {
  const fixture = await serve({ timing: { sessionPingMs: 60_000 } })
  const logger = recordingLogger()
  const link = new WorkerLink({ socketPath: fixture.socketPath, logger, silenceMs: 100 })
  afterTest(() => link.close())
  const aborted = vi.fn()
  await link.work(
    'build',
    (_, { signal }) => new Promise(resolve => signal.addEventListener('abort', () => resolve(aborted()))),
    1
  )
  sessionOf(fixture, 0).start('a1', 'build')
  await vi.waitFor(() => expect(aborted).toHaveBeenCalled())
  expect(logger.lines[0]).toMatchObject({ level: 'warn', fields: { reason: 'the daemon does not answer' } })
})

test('close ends the session and aborts what runs', async () => {
  const aborted = vi.fn()
  const { mesh, session } = await working(
    ({ signal }) => new Promise(resolve => signal.addEventListener('abort', () => resolve(aborted())))
  )
  session.start('a1', 'build')
  await delivered(session)
  await mesh.close()
  await mesh.close()
  expect(aborted).toHaveBeenCalledOnce()
  await vi.waitFor(() => expect(session.closed).toBe(true))
  expect(session.ends('a1')).toEqual([])
  await expect(mesh.work('test', () => 1)).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
})

test('a submission gives a job that completes once', async () => {
  const fixture = await serve()
  const submit = vi.spyOn(fixture.api, 'submit')
  const wait = vi.spyOn(fixture.api, 'waitForJob')
  const mesh = await meshOn(fixture)
  const job = await mesh.submit('index', { dirs: ['.'] }, { id: 'nightly', on: 'bob' })
  expect(submit).toHaveBeenCalledExactlyOnceWith({
    capability: 'index',
    input: { dirs: ['.'] },
    id: 'nightly',
    on: 'bob'
  })
  const [first, second] = await Promise.all([job.completion(), job.completion()])
  expect(first).toMatchObject({ id: 'job1', verdict: 'completed', result: { done: true } })
  expect(second).toBe(first)
  expect(wait).toHaveBeenCalledOnce()
})

test('a submission says what is wanted when its task fails, is lost or takes too long', async () => {
  const fixture = await serve()
  const mesh = await meshOn(fixture)
  const options = { exclusive: true, retry: { attempts: 5 }, deadlineMs: 60_000 }
  await mesh.submit('index', 1, options)
  expect(fixture.api.submissions).toEqual([{ capability: 'index', input: 1, ...options }])
  await expect(mesh.submit('index', 1, { retry: { attempts: 0 } })).rejects.toMatchObject({ code: 'INVALID_INPUT' })
})

test('a peer is asked to drain, and to work again', async () => {
  const fixture = await serve()
  const mesh = await meshOn(fixture)
  expect(await mesh.drain('bob', { deadlineMs: 1_000 })).toMatchObject({ name: 'alice', drain: 'draining' })
  expect(await mesh.drain('bob', { end: true })).toMatchObject({ drain: 'no' })
  expect(fixture.api.drains).toEqual([
    { peer: 'bob', request: { deadlineMs: 1_000 } },
    { peer: 'bob', request: { end: true } }
  ])
  await expect(mesh.drain('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('completion outlasts a restart of the daemon', async () => {
  const first = await serve()
  first.api.waitForJob = () => new Promise(() => undefined)
  const mesh = await meshOn(first)
  const completion = (await mesh.submit('index')).completion()
  await first.server.stop()
  await serve({ socketPath: first.socketPath })
  expect(await completion).toMatchObject({ id: 'job1', verdict: 'completed' })
})

test('completion rejects for an unknown job, and when the mesh is closed', async () => {
  const fixture = await serve()
  const mesh = await meshOn(fixture)
  await expect(mesh.job('nope')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const job = await mesh.job('job1')
  fixture.api.waitForJob = () => new Promise(() => undefined)
  const completion = job.completion()
  const outcome = expect(completion).rejects.toMatchObject({ code: 'DAEMON_NOT_RUNNING' })
  await mesh.close()
  await outcome
})

test('the events of a job are its own, and end with its announcement', async () => {
  const api = new FakeDaemonApi()
  api.waitForJob = () => new Promise(() => undefined)
  api.events = async function* () {
    yield event(1, { subject: 'job1', type: 'starling.job.submitted' })
    yield event(2, { subject: 'job12', type: 'starling.job.submitted' })
    yield event(3)
    yield event(4, { subject: 'job1.0.3', type: 'starling.task.ended' })
    yield event(5, { subject: 'job1', type: 'starling.job.announced' })
    yield event(6, { subject: 'job1' })
  }
  const mesh = await meshOn(await serve({ api }))
  const job = await mesh.submit('index')
  const seen: string[] = []
  for await (const { id } of job.events()) seen.push(id)
  expect(seen).toEqual(['1', '4', '5'])
})

test('the events of a job that was over long ago end too', async () => {
  const api = new FakeDaemonApi()
  api.events = options => eventLog(options, { newest: 0 })
  api.waitForJob = async id => jobSummary(id)
  const mesh = await meshOn(await serve({ api }))
  const job = await mesh.submit('index')
  for await (const { id } of job.events()) expect.unreachable(`event ${id}`)
})

test('peers, agents and events are those of the daemon', async () => {
  const api = new FakeDaemonApi()
  api.events = options => eventLog(options, { newest: 2 })
  const mesh = await meshOn(await serve({ api }))
  expect(await mesh.peers()).toEqual([])
  expect(await mesh.agents()).toEqual([])
  for await (const { id } of mesh.events({ sinceId: '1' })) {
    expect(id).toBe('2')
    break
  }
})
