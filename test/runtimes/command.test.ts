import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { TaskStart } from '../../src/ports/index.ts'
import { silentLogger } from '../../src/ports/index.ts'
import {
  commandRuntime,
  KILL_GRACE_MS,
  LOG_CHARS_MAX,
  LOG_LINE_CHARS_MAX,
  LOG_LINES_PER_SECOND_MAX
} from '../../src/runtimes/index.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { noneLeft, processesWith, recorder, taskStart, testJails, uniqueSeconds } from './support.ts'
import { systemClock } from './system-clock.ts'

/** Contract: growth of memory while a task writes 1 GB. */
const GROWTH_BYTES_MAX = 50 * 1024 * 1024

interface Options {
  task?: Partial<TaskStart>
  cwd?: string
  env?: Record<string, string>
  ownEnvironment?: Record<string, string>
  kind?: 'marks' | undefined
}

function start(command: string[], options: Options = {}) {
  const { jails } = testJails('kind' in options ? options.kind : 'marks')
  const runtime = commandRuntime({
    command,
    cwd: options.cwd,
    env: options.env,
    ownEnvironment: options.ownEnvironment,
    socket: '/run/starling.sock',
    jails,
    clock: systemClock,
    logger: silentLogger
  })
  onTestFinished(() => runtime.stop())
  const record = recorder()
  const attempt = runtime.start(taskStart(options.task), record.handlers)
  return { attempt, runtime, jails, ...record }
}

const run = (command: string[], options?: Options) => start(command, options).end
const shell = (script: string, options?: Options) => run(['sh', '-c', script], options)

describe('the result', () => {
  test.each([
    ['{"a": [1, 2]}', { a: [1, 2] }],
    ['7\n', 7],
    ['null', null],
    ['', ''],
    ['two\nlines\n', 'two\nlines'],
    ['windows\r\n', 'windows'],
    ['{"cut', '{"cut'],
    ['grüß 🐦', 'grüß 🐦']
  ])('is JSON if stdout parses, else text: %j', async (stdout, result) => {
    expect(await run(['printf', '%s', '{input}'], { task: { input: stdout } })).toEqual({ kind: 'completed', result })
  })

  test('has replacement characters for bytes that are no UTF-8', async () => {
    expect(await shell(`printf '\\377x'`)).toEqual({ kind: 'completed', result: '\ufffdx' })
  })

  test('that is nested deeper than any reader can bear fails the task', async () => {
    const end = await shell(`head -c 400000 /dev/zero | tr '\\0' '['; head -c 400000 /dev/zero | tr '\\0' ']'`)
    expect(end).toMatchObject({
      kind: 'failed',
      error: { code: 'TASK_FAILED', message: expect.stringContaining('JSON') }
    })
  })

  test('is not what a process writes that is left over after the end', async () => {
    const { end, lines } = start(['sh', '-c', '(sleep 600; echo late) & echo done'])
    expect(await end).toEqual({ kind: 'completed', result: 'done' })
    expect(lines).toEqual([])
  })
})

describe('the end', () => {
  test('names the exit code and the last lines of stderr', async () => {
    const { end, lines } = start(['sh', '-c', 'echo first >&2; echo wrong flag >&2; exit 3'])
    expect(await end).toEqual({
      kind: 'failed',
      error: { code: 'TASK_FAILED', message: 'exit code 3: first\nwrong flag' }
    })
    expect(lines).toEqual(['first', 'wrong flag'])
  })

  test('names the signal', async () => {
    expect(await shell('kill -KILL $$')).toEqual({
      kind: 'failed',
      error: { code: 'TASK_FAILED', message: 'ended by SIGKILL' }
    })
  })

  test('says what to do when the program is missing', async () => {
    const end = await run(['no-such-program'])
    expect(end).toMatchObject({ kind: 'failed', error: { code: 'TASK_FAILED' } })
    if (end.kind === 'failed') {
      expect(end.error.message).toBe(
        'no program "no-such-program" in PATH; install it, or correct `command` of the capability'
      )
    }
  })

  test('says so when the program is no executable file', async () => {
    const file = join(temporaryDirectory(), 'script')
    writeFileSync(file, 'text', { mode: 0o644 })
    for (const program of [file, '/tmp', './absent']) {
      expect(await run([program])).toMatchObject({
        kind: 'failed',
        error: { message: expect.stringContaining('executable') }
      })
    }
  })

  test('says so when the working directory is missing', async () => {
    const end = await run(['true'], { cwd: '/no/such/directory' })
    expect(end).toMatchObject({
      kind: 'failed',
      error: { code: 'TASK_FAILED', message: expect.stringContaining('/no/such/directory') }
    })
  })

  test.each([['marks', 'marks'] as const, ['best', undefined] as const])(
    'says so when the system refuses the program (%s)',
    async (_, kind) => {
      const file = join(temporaryDirectory(), 'script')
      writeFileSync(file, '#!/no/such/interpreter\n', { mode: 0o755 })
      expect(await run([file], { kind })).toMatchObject({ kind: 'failed', error: { code: 'TASK_FAILED' } })
    }
  )

  test('is a failure when a placeholder has no value', async () => {
    expect(await run(['echo', '{input.path}'], { task: { input: {} } })).toEqual({
      kind: 'failed',
      error: { code: 'INVALID_INPUT', message: 'the input has no value for {input.path}' }
    })
  })
})

describe('the process', () => {
  test('gets one line of JSON and then the end of its input', async () => {
    const input = { path: 'x\ny' }
    const end = await run(['sh', '-c', 'cat; wc -l < /dev/null >&2'], { task: { input, attempt: 2 } })
    const { taskId, jobId, capability } = taskStart()
    expect(end).toEqual({
      kind: 'completed',
      result: { taskId, jobId, capability, input, attempt: 2, artifacts: [] }
    })
  })

  test('need not read its input', async () => {
    expect(await run(['echo', 'ok'], { task: { input: 'x'.repeat(1_000_000) } })).toEqual({
      kind: 'completed',
      result: 'ok'
    })
  })

  test.each([['marks', 'marks'] as const, ['best', undefined] as const])(
    'has a clean environment (%s)',
    async (_, kind) => {
      const ownEnvironment = {
        PATH: process.env.PATH ?? '',
        HOME: '/home/alice',
        LC_ALL: 'C',
        ANTHROPIC_API_KEY: 'secret',
        STARLING_TOKEN: 'secret',
        TERM: 'xterm',
        NODE_OPTIONS: '--inspect'
      }
      const end = await run([process.execPath, '-p', 'JSON.stringify(process.env)'], {
        kind,
        ownEnvironment,
        env: { COLOUR: 'blue', HOME: '/srv' }
      })
      // What the shell that enters the control group may add: bash as sh exports these.
      const shellVariables = ['PWD', 'SHLVL', '_', 'OLDPWD']
      const seen = end.kind === 'completed' && typeof end.result === 'object' ? { ...end.result } : {}
      for (const name of shellVariables) Reflect.deleteProperty(seen, name)
      const { taskId, traceparent } = taskStart()
      expect(seen).toEqual({
        PATH: ownEnvironment.PATH,
        HOME: '/srv',
        LC_ALL: 'C',
        TERM: 'dumb',
        COLOUR: 'blue',
        STARLING_TASK: taskId,
        STARLING_SOCKET: '/run/starling.sock',
        STARLING_ATTEMPT: '1',
        STARLING_FENCING_TOKEN: '1',
        STARLING_JAIL: expect.stringMatching(/^[0-9a-f]{16}:test-.*:abcdefghijklmnopqrstuvwxyzj1$/),
        TRACEPARENT: traceparent
      })
    }
  )

  test('runs in the configured directory, relative programs too', async () => {
    const cwd = temporaryDirectory()
    writeFileSync(join(cwd, 'here.sh'), '#!/bin/sh\npwd\n', { mode: 0o755 })
    expect(await run(['./here.sh'], { cwd })).toEqual({ kind: 'completed', result: cwd })
  })

  test.each([['marks', 'marks'] as const, ['best', undefined] as const])(
    'gets hostile values as one argument each, as they are (%s)',
    async (_, kind) => {
      const values = [
        '-rf',
        '--',
        '"; touch /tmp/x; "',
        "'",
        '$(id)',
        '`id`',
        'a\nb',
        '',
        ' ',
        '*',
        '\\',
        '{input.1}',
        '%s',
        '🐦'
      ]
      const print = [process.execPath, '-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--']
      const placeholders = values.map((_value, index) => `{input.${index}}`)
      const end = await run([...print, ...placeholders, 'last'], { kind, task: { input: values } })
      expect(end).toEqual({ kind: 'completed', result: [...values, 'last'] })
    }
  )

  test('can open its outputs by their names', async () => {
    const { end, lines } = start(['sh', '-c', 'echo result > /dev/stdout; echo line > /dev/stderr'])
    expect(await end).toEqual({ kind: 'completed', result: 'result' })
    expect(lines).toEqual(['line'])
  })

  test('leaves no pipe behind', async () => {
    const { jails, home } = testJails('marks')
    const runtime = commandRuntime({ command: ['true'], socket: '', jails, clock: systemClock, logger: silentLogger })
    const descriptors = () => readdirSync('/proc/self/fd').length
    const before = descriptors()
    for (let index = 0; index < 20; index += 1) {
      const record = recorder()
      runtime.start(taskStart({ input: index % 2 === 0 ? 1 : 'x'.repeat(100_000) }), record.handlers)
      await record.end
    }
    await jails.close()
    await vi.waitFor(() => expect(descriptors()).toBeLessThanOrEqual(before), { timeout: 5_000 })
    expect(readdirSync(home)).toEqual([])
  })

  test('is not started with a value that holds NUL', async () => {
    expect(await run(['echo', '{input}'], { task: { input: 'a\0b' } })).toMatchObject({
      error: { code: 'INVALID_INPUT' }
    })
  })
})

test.each([
  [{ STARLING_TOKEN: 'x' }, 'reserved'],
  [{ 'A=B': 'x' }, 'wrong form'],
  [{ A: 'x\0' }, 'wrong form']
])('the configuration %j is refused', (env, message) => {
  expect(() => start(['true'], { env })).toThrow(message)
})

describe('the log', () => {
  test('has lines without their ends, also the last one without an end', async () => {
    const { end, lines } = start(['sh', '-c', `printf 'one\\r\\n\\ntwo\\nlast' >&2`])
    await end
    expect(lines).toEqual(['one', '', 'two', 'last'])
  })

  test('has at most LOG_LINES_PER_SECOND_MAX lines in a second and says how much is left out', async () => {
    const { end, lines } = start(['sh', '-c', `seq ${3 * LOG_LINES_PER_SECOND_MAX} >&2; sleep 1.1; echo last >&2`])
    await end
    const notes = lines.filter(line => line.startsWith('['))
    expect(notes.length).toBeGreaterThan(0)
    expect(lines.slice(0, LOG_LINES_PER_SECOND_MAX).at(-1)).toBe(String(LOG_LINES_PER_SECOND_MAX))
    expect(lines.at(-1)).toBe('last')
    const leftOut = notes.reduce((sum, note) => sum + Number(/\d+/.exec(note)?.[0]), 0)
    const seen = lines.filter(line => !line.startsWith('[')).reduce((sum, line) => sum + line.length + 1, 0)
    const written = Array.from({ length: 3 * LOG_LINES_PER_SECOND_MAX }, (_, index) => `${index + 1}\n`).join('')
    expect(seen + leftOut).toBe(written.length + 'last\n'.length)
  })

  test('ends at LOG_CHARS_MAX', async () => {
    const script = `yes "$(head -c ${LOG_LINE_CHARS_MAX - 1} /dev/zero | tr '\\0' b)" | head -n 600 >&2`
    const { end, lines } = start(['sh', '-c', script])
    await end
    expect(lines.at(-1)).toContain('log ends here')
    const chars = lines.slice(0, -1).reduce((sum, line) => sum + line.length + 1, 0)
    expect(chars).toBe(LOG_CHARS_MAX)
  })
})

describe.each([
  ['marks', 'marks'],
  ['best', undefined]
] as const)('all processes are gone when an attempt ends, held by %s:', (_, kind) => {
  test('those left over by a task that has completed', async () => {
    const seconds = uniqueSeconds()
    const end = await shell(`sleep ${seconds} & (setsid sh -c 'sleep ${seconds} & sleep ${seconds}' &) ; echo ok`, {
      kind
    })
    expect(processesWith(seconds)).toEqual([])
    expect(end).toEqual({ kind: 'completed', result: 'ok' })
  })

  test('those that ignore SIGTERM, in other sessions, adopted by init', async () => {
    const seconds = uniqueSeconds()
    const stubborn = `trap "" TERM; while :; do sleep ${seconds}; done`
    const script = `(setsid sh -c '(setsid sh -c '\\''${stubborn}'\\'' &)' &); ${stubborn.replace('while', 'echo up >&2; while')}`
    const { attempt, lines, end } = start(['sh', '-c', script], { kind })
    await vi.waitFor(() => expect(lines).toEqual(['up']), { timeout: 5_000 })
    await vi.waitFor(() => expect(processesWith(`sleep\0${seconds}`).length).toBe(2), { timeout: 5_000 })
    const killedAt = performance.now()
    attempt.kill('cancelled', false)
    expect(await end).toEqual({ kind: 'killed' })
    expect(processesWith(seconds)).toEqual([])
    expect(performance.now() - killedAt).toBeGreaterThanOrEqual(KILL_GRACE_MS - 50)
  })

  test('those that are killed by a timeout', async () => {
    const seconds = uniqueSeconds()
    const end = await shell(`setsid sleep ${seconds} & sleep ${seconds}`, { kind, task: { timeoutMs: 200 } })
    expect(processesWith(seconds)).toEqual([])
    expect(end).toMatchObject({ kind: 'failed', error: { code: 'TASK_TIMEOUT' } })
  })

  test('those that have time to clean up do so after SIGTERM', async () => {
    const file = join(temporaryDirectory(), 'clean')
    const script = `trap 'sleep 0.2; echo clean > ${file}; exit' TERM; echo up >&2; while :; do sleep 0.05; done`
    const { attempt, lines, end } = start(['sh', '-c', script], { kind })
    await vi.waitFor(() => expect(lines).toEqual(['up']), { timeout: 5_000 })
    attempt.kill('cancelled', false)
    await end
    expect(readFileSync(file, 'utf8')).toBe('clean\n')
  })

  test('those that fork without end', async () => {
    const seconds = uniqueSeconds()
    const script = `trap '' TERM; f() { (setsid sleep ${seconds} &); }; i=0; echo up >&2; while :; do f; sleep 0.01; done`
    const { attempt, lines, end } = start(['sh', '-c', script], { kind })
    await vi.waitFor(() => expect(lines).toEqual(['up']), { timeout: 5_000 })
    await vi.waitFor(() => expect(processesWith(seconds).length).toBeGreaterThan(20), { timeout: 5_000 })
    attempt.kill('cancelled', false)
    expect(await end).toEqual({ kind: 'killed' })
    expect(processesWith(seconds)).toEqual([])
  })
})

test('a control group holds even what wipes its environment and has itself adopted', async context => {
  const seconds = uniqueSeconds()
  const { end, jails } = start(['sh', '-c', `(env -i setsid sleep ${seconds} &); sleep 0.3; echo ok`], {
    kind: undefined
  })
  const result = await end
  onTestFinished(async () => {
    for (const pid of processesWith(seconds)) process.kill(pid, 'SIGKILL')
    await noneLeft(seconds, 2_000)
  })
  context.skip(jails.kind !== 'cgroup', 'control groups are not writable here')
  expect(processesWith(seconds)).toEqual([])
  expect(result).toEqual({ kind: 'completed', result: 'ok' })
})

describe('a task that writes 1 GB', () => {
  test.each([
    ['stdout', 'exec head -c 1G /dev/zero', 'RESULT_TOO_LARGE'],
    ['stdout, and ignores SIGTERM', `trap '' TERM; head -c 1G /dev/zero; head -c 1G /dev/zero`, 'RESULT_TOO_LARGE'],
    ['stderr without a line end', 'head -c 1G /dev/zero >&2', undefined],
    ['stderr in short lines', 'yes | head -c 1G >&2', undefined]
  ])('to %s does not grow the daemon', { timeout: 60_000 }, async (_, script, code) => {
    globalThis.gc?.()
    const before = process.memoryUsage.rss()
    let highest = before
    const timer = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage.rss())
    }, 5)
    onTestFinished(() => clearInterval(timer))
    const end = await shell(script)
    if (code === undefined) expect(end.kind).toBe('completed')
    else expect(end).toMatchObject({ kind: 'failed', error: { code } })
    expect(highest - before).toBeLessThan(GROWTH_BYTES_MAX)
  })
})
