import { spawn } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/index.ts'
import { ERROR_CODES, type ErrorCode } from '../../src/wire/errors.ts'
import { JOB_ID, statusDocument } from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { runCli, startCli } from '../helpers/cli-process.ts'
import { type FakeDaemonServer, fakeDaemonServer, fakeProblem } from '../helpers/fake-daemon-server.ts'

let daemon: FakeDaemonServer
beforeEach(async () => {
  daemon = await fakeDaemonServer()
})
afterEach(() => daemon.close())

function starling(...args: string[]) {
  return runCliHere(args, { env: { STARLING_SOCKET: daemon.socketPath } })
}

describe('an error of the daemon', () => {
  const EXITS: readonly [ErrorCode, number][] = [
    ['INTERNAL', 1],
    ['NOT_FOUND', 2],
    ['DAEMON_STOPPING', 3],
    ['NO_CAPABLE_PEER', 6],
    ['DENIED', 7],
    ['TIMED_OUT', 8],
    ['LIMIT_REACHED', 9]
  ]

  it.each(EXITS)('%s says what happened and what to do, and exits with %i', async (code, exit) => {
    daemon.routes['GET /v1/status'] = fakeProblem(code, 'this happened', 'do that')
    expect(await starling('status')).toEqual({
      code: exit,
      signal: null,
      stdout: '',
      stderr: 'error: this happened\nhint: do that\n'
    })
  })

  it('is one Problem on stdout with --json, and nothing else', async () => {
    daemon.routes['GET /v1/status'] = fakeProblem('DENIED', 'not for you', 'ask alice')
    const { code, stdout, stderr } = await starling('status', '--json')
    expect({ code, stderr }).toEqual({ code: 7, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      apiVersion: 'starling/v1',
      kind: 'Problem',
      type: 'urn:starling:problem:DENIED',
      title: ERROR_CODES.DENIED.title,
      status: 403,
      detail: 'not for you',
      code: 'DENIED',
      hint: 'ask alice',
      requestId: expect.any(String)
    })
  })
})

describe('a daemon that is not there', () => {
  const CLIENT_COMMANDS = [
    ['down'],
    ['status'],
    ['peers'],
    ['agents'],
    ['run', 'lint'],
    ['submit', 'lint'],
    ['wait', JOB_ID],
    ['jobs'],
    ['job', JOB_ID],
    ['cancel', JOB_ID],
    ['logs', JOB_ID],
    ['events'],
    ['token', 'create'],
    ['join', 'starling1abc'],
    ['doctor']
  ]

  it.each(CLIENT_COMMANDS)('makes %s exit with 3 and say how to start it', async (...args) => {
    const missing = `${daemon.socketPath}.gone`
    const { code, stdout, stderr } = await runCliHere([...args, '--socket', missing])
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(/^error: .*\nhint: .*\n$/)
    expect(stderr).toContain(`error: no daemon listens on ${missing}\n`)
    expect(stderr).toContain('starling up')
  })

  it('is looked for where --socket says, else STARLING_SOCKET, else in STARLING_HOME', async () => {
    daemon.routes['GET /v1/status'] = { body: statusDocument() }
    const env = { STARLING_SOCKET: '/nonexistent/a.sock', STARLING_HOME: '/nonexistent/home' }
    expect((await runCli(['status', '--socket', daemon.socketPath], { env })).code).toBe(0)
    expect((await runCli(['status'], { env })).stderr).toContain('/nonexistent/a.sock')
    const home = await runCli(['status'], { env: { ...env, STARLING_SOCKET: undefined } })
    expect(home.stderr).toContain('/nonexistent/home/run/starling.sock')
  })

  it('and one that goes away in the middle of an answer exit with 3', async () => {
    daemon.routes['GET /v1/status'] = 'break'
    expect(await starling('status')).toMatchObject({ code: 3, stdout: '' })
  })
})

describe('wrong usage', () => {
  it('without arguments is none: it prints help with examples', async () => {
    const { code, stdout, stderr } = await starling()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('Examples:\n  starling up')
    for (const name of Object.keys(COMMANDS)) {
      expect(new RegExp(`^  ${name}\\b`, 'm').test(stdout), name).toBe(!name.startsWith('__'))
    }
  })

  it.each([
    [['stauts'], "unknown command 'stauts'", 'Did you mean status?'],
    [['status', '--jsn'], "unknown option '--jsn'", 'Did you mean --json?'],
    [['job'], "missing required argument 'job'", 'see: starling job --help'],
    [['status', 'extra'], 'too many arguments', 'see: starling status --help'],
    [['run', 'lint', '--timeout'], "option '--timeout <duration>' argument missing", 'see: starling run --help'],
    [['completion', 'tcsh'], "'tcsh' is invalid", 'see: starling completion --help'],
    [['plan'], "unknown command 'plan'", ''],
    [['run', 'lint', '--topology', 'mesh'], "unknown option '--topology'", '']
  ])('%j exits with 2', async (args, error, hint) => {
    const { code, stdout, stderr } = await starling(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^error: .*\nhint: .*\n$/)
    expect(stderr).toContain(error)
    expect(stderr).toContain(hint)
    expect(daemon.requests).toEqual([])
  })

  it('is a Problem too with --json', async () => {
    const { code, stdout } = await starling('job', '--json')
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'Problem', code: 'INVALID_INPUT' })
    const text = await starling('submit', '--', 'lint', '--json')
    expect(JSON.stringify(text.stdout)).not.toContain('apiVersion')
  })

  it('of a command that has subcommands shows them, and exits with 2', async () => {
    const { code, stdout, stderr } = await starling('token')
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('create')
  })
})

describe('the streams', () => {
  it('have no colours in a pipe, whatever the terminal type', async () => {
    const env = { STARLING_SOCKET: `${daemon.socketPath}.gone`, TERM: 'xterm-256color', COLORTERM: 'truecolor' }
    const { stderr } = await runCli(['status'], { env })
    expect(stderr).not.toContain('\u001b')
  })

  it('may lose their reader: head ends the program quietly', async () => {
    async function* forever() {
      for (let id = 1; ; id += 1) {
        yield { id: String(id), data: { specversion: '1.0', id: String(id), source: 's', type: 't', time: 'now' } }
        await new Promise(setImmediate)
      }
    }
    daemon.routes['GET /v1/events'] = () => ({ events: forever() })
    const cli = startCli(['events', '-f'], { env: { STARLING_SOCKET: daemon.socketPath } })
    const head = spawn('head', ['-n', '2'], { stdio: [cli.child.stdout, 'ignore', 'ignore'] })
    cli.child.stdout.destroy()
    head.on('exit', () => {})
    expect(await cli.ended).toMatchObject({ code: 0, signal: null, stderr: '' })
  })
})

it('an old Node is refused in one sentence before anything else is loaded', async () => {
  const old = 'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"22.15.9"})'
  expect(await runCli(['status'], { nodeArguments: ['--import', old] })).toEqual({
    code: 2,
    signal: null,
    stdout: '',
    stderr:
      'error: starling needs Node 22.16 or newer; this is Node 22.15.9\n' +
      'hint: install a current Node (https://nodejs.org) and run the command with it\n'
  })
  const enough = old.replace('22.15.9', '22.16.0')
  expect((await runCli(['--version'], { nodeArguments: ['--import', enough] })).code).toBe(0)
})
