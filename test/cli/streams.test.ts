import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { JOB_ID } from '../helpers/api-documents.ts'
import { runCli, startCli } from '../helpers/cli-process.ts'
import { type FakeDaemonServer, type FakeEvent, fakeDaemonServer, fakeProblem } from '../helpers/fake-daemon-server.ts'

let daemon: FakeDaemonServer
beforeEach(async () => {
  daemon = await fakeDaemonServer()
})
afterEach(() => daemon.close())

function starling(...args: string[]) {
  return runCli(args, { env: { STARLING_SOCKET: daemon.socketPath } })
}

function event(id: number): FakeEvent {
  const time = '2026-11-22T10:00:00.000Z'
  const type = 'starling.job.announced'
  const data = { specversion: '1.0', id: `${id}`, source: 'alice', type, time, subject: JOB_ID, data: { tasks: 2 } }
  return { id: `${id}`, data }
}

function line(text: string): FakeEvent {
  return { data: { time: '2026-11-22T10:00:00.000Z', taskId: `${JOB_ID}.0`, line: text } }
}

it('events prints what is kept and ends, though the stream of the daemon does not', async () => {
  daemon.routes['GET /v1/events'] = ({ headers }) => {
    expect(headers['last-event-id']).toBe('0')
    return { events: [event(1), event(2)], open: true }
  }
  const { code, stdout } = await starling('events')
  expect(code).toBe(0)
  expect(stdout.split('\n').map(text => text.split(' ')[0])).toEqual(['1', '2', ''])
  expect(stdout).toContain(`starling.job.announced ${JOB_ID} {"tasks":2}`)
})

it('events waits for kept events that come slowly', async () => {
  async function* slowly() {
    for (const id of [1, 2, 3]) {
      yield event(id)
      await sleep(150)
    }
  }
  daemon.routes['GET /v1/events'] = () => ({ events: slowly(), open: true })
  const { stdout } = await starling('events')
  expect(stdout.trimEnd().split('\n')).toHaveLength(3)
})

it('events --json prints one document a line, and --since asks for later ones only', async () => {
  daemon.routes['GET /v1/events'] = ({ headers }) => ({
    events: headers['last-event-id'] === '7' ? [event(8)] : [],
    open: true
  })
  const { stdout } = await starling('events', '--since', '7', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ apiVersion: 'starling/v1', kind: 'Event', id: '8', subject: JOB_ID })
})

it('events --since refuses what is no id', async () => {
  expect((await starling('events', '--since', 'yesterday')).code).toBe(2)
})

it('events -f goes on until Ctrl-C', async () => {
  daemon.routes['GET /v1/events'] = ({ headers }) => {
    expect(headers['last-event-id']).toBeUndefined()
    return { events: [event(1)], open: true }
  }
  const following = startCli(['events', '-f'], { env: { STARLING_SOCKET: daemon.socketPath } })
  await vi.waitFor(() => expect(following.stdout()).toMatch(/^1 /), { timeout: 10_000 })
  following.child.kill('SIGINT')
  expect(await following.ended).toMatchObject({ code: 130, signal: null, stderr: '' })
})

it('events -f exits with 3 when the daemon goes away', async () => {
  const following = startCli(['events', '-f'], { env: { STARLING_SOCKET: daemon.socketPath } })
  daemon.routes['GET /v1/events'] = { events: [event(1)], open: true }
  await vi.waitFor(() => expect(following.stdout()).toMatch(/^1 /), { timeout: 10_000 })
  await daemon.close()
  expect((await following.ended).code).toBe(3)
  daemon = await fakeDaemonServer()
})

it('logs prints the lines of a task and ends with it', async () => {
  const events = [line('one'), line('  two'), { event: 'end', data: {} }]
  daemon.routes['GET /v1/tasks/*/logs'] = { events }
  expect(await starling('logs', `${JOB_ID}.0`)).toMatchObject({ code: 0, stdout: 'one\n  two\n', stderr: '' })
  expect(daemon.requests.at(-1)?.query).toBe('')
  const json = await starling('logs', `${JOB_ID}.0`, '-f', '--json')
  expect(daemon.requests.at(-1)?.query).toBe('?follow=1')
  expect(
    json.stdout
      .trimEnd()
      .split('\n')
      .map(text => JSON.parse(text).kind)
  ).toEqual(['LogLine', 'LogLine'])
})

it('logs -f goes on until Ctrl-C', async () => {
  daemon.routes['GET /v1/tasks/*/logs'] = { events: [line('one')], open: true }
  const following = startCli(['logs', `${JOB_ID}.0`, '-f'], { env: { STARLING_SOCKET: daemon.socketPath } })
  await vi.waitFor(() => expect(following.stdout()).toBe('one\n'), { timeout: 10_000 })
  following.child.kill('SIGINT')
  expect(await following.ended).toMatchObject({ code: 130, stdout: 'one\n', stderr: '' })
})

it('logs that break off are an error, and so are logs of an unknown task', async () => {
  daemon.routes['GET /v1/tasks/*/logs'] = { events: [line('one')] }
  expect(await starling('logs', `${JOB_ID}.0`)).toMatchObject({ code: 3, stdout: 'one\n' })
  daemon.routes['GET /v1/tasks/*/logs'] = fakeProblem('NOT_FOUND', 'no such task')
  expect(await starling('logs', 'nope')).toMatchObject({ code: 2, stderr: 'error: no such task\n' })
})
