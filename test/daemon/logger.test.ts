import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { StarlingError } from '../../src/core/errors.ts'
import type { LogLevel } from '../../src/daemon/config.ts'
import { fileDestination, streamDestination } from '../../src/daemon/log-destination.ts'
import { pinoLogger } from '../../src/daemon/pino-logger.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

function logged(level: LogLevel = 'debug') {
  const texts: string[] = []
  const logger = pinoLogger({ level, destination: { write: text => void texts.push(text) } })
  return { logger, texts, lines: () => texts.map(text => JSON.parse(text) as Record<string, unknown>) }
}

describe('a line', () => {
  test('is one JSON object with time, level, component, message and fields', () => {
    const { logger, texts, lines } = logged()
    logger.child('engine').warn('peer is silent', { peer: '12D3', code: 'TIMED_OUT', ms: 12 })
    expect(texts[0]).toMatch(/^\{[^\n]*\}\n$/)
    expect(lines()[0]).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      component: 'engine',
      message: 'peer is silent',
      peer: '12D3',
      code: 'TIMED_OUT',
      ms: 12
    })
  })

  test('keeps its own fields apart from given ones of the same name', () => {
    const { logger, texts, lines } = logged()
    logger.info('hello', { message: 'm', level: 'l', time: 't', component: 'c' })
    expect(lines()[0]).toMatchObject({
      level: 'info',
      message: 'hello',
      message_: 'm',
      level_: 'l',
      time_: 't',
      component_: 'c'
    })
    expect(texts[0]?.match(/"message":/g)).toHaveLength(1)
  })

  test('shows an error with its code, stack and cause', () => {
    const { logger, lines } = logged()
    logger.error('failed', { error: new StarlingError('STORAGE_FAILED', 'disk', { cause: new Error('EIO') }) })
    expect(lines()[0]?.error).toMatchObject({
      name: 'StarlingError',
      code: 'STORAGE_FAILED',
      message: 'disk',
      cause: { message: 'EIO' },
      stack: expect.any(String)
    })
  })

  test('is made at the level of the logger and above', () => {
    const { logger, lines } = logged('warn')
    for (const level of ['debug', 'info', 'warn', 'error'] as const) logger[level](level)
    expect(lines().map(line => line.message)).toEqual(['warn', 'error'])
    const silent = logged('silent')
    silent.logger.error('nothing')
    expect(silent.texts).toEqual([])
  })
})

describe('secrets', () => {
  test('are taken out by the name of their field, at any depth', () => {
    const { logger, texts, lines } = logged()
    const names = [
      'secret',
      'clientSecret',
      'seed',
      'SEED',
      'token',
      'token_id',
      'apiKey',
      'privateKey',
      'key',
      'password'
    ]
    logger.info('start', {
      ...Object.fromEntries(names.map(name => [name, 'hush'])),
      deep: { list: [{ seed: 'hush' }] }
    })
    expect(texts[0]).not.toContain('hush')
    expect(lines()[0]).toMatchObject({ apiKey: '[redacted]', deep: { list: [{ seed: '[redacted]' }] } })
  })

  test('do not take harmless fields with them', () => {
    const { logger, lines } = logged()
    logger.info('start', { monkey: 1, seedling: 2, tokenizer: 3, peer: 'p' })
    expect(lines()[0]).toMatchObject({ monkey: 1, seedling: 2, tokenizer: 3, peer: 'p' })
  })

  test('are taken out of texts when they are join tokens', () => {
    const { logger, texts } = logged()
    logger.info('joined with starling1-AbC_d-9', {
      line: 'use starling1-AbC_d-9 now',
      error: new Error('starling1-AbC_d-9')
    })
    expect(texts[0]).not.toContain('AbC_d-9')
  })

  test('in byte arrays are never shown', () => {
    const { logger, lines } = logged()
    logger.info('start', { bytes: new Uint8Array([1, 2, 3]), buffer: Buffer.from('hush') })
    expect(lines()[0]).toMatchObject({ bytes: '<3 bytes>', buffer: '<4 bytes>' })
  })
})

describe('any value', () => {
  test('can be logged', () => {
    const loop: Record<string, unknown> = {}
    loop.self = loop
    const { logger, lines } = logged()
    logger.info('odd', {
      loop,
      big: 1n,
      symbol: Symbol('s'),
      map: new Map([['a', 1]]),
      set: new Set([1]),
      date: new Date(Number.NaN),
      none: undefined,
      nil: null
    })
    expect(lines()[0]).toMatchObject({ big: '1', map: { a: 1 }, set: [1], date: 'invalid date', nil: null })
  })

  test('is bounded in length, count and depth', () => {
    const { logger, texts } = logged()
    const list = Array.from({ length: 100_000 }, (_, index) => ({ index }))
    logger.info('x'.repeat(1_000_000), {
      long: 'y'.repeat(1_000_000),
      list,
      map: Object.fromEntries(list.map(({ index }) => [`f${index}`, index]))
    })
    expect(texts[0]?.length).toBeLessThan(20_000)
    expect(texts[0]).toContain('(1000000 characters)')
  })
})

describe('a stream', () => {
  function fakeStream(isTTY: boolean) {
    const texts: string[] = []
    const listeners: ((error: Error) => void)[] = []
    const stream = {
      isTTY,
      write: (text: string) => texts.push(text),
      on: (_: 'error', listener: (error: Error) => void) => listeners.push(listener)
    }
    return { stream, texts, fail: () => listeners.forEach(listener => void listener(new Error('EPIPE'))) }
  }

  test('that is a terminal gets lines for people', () => {
    const { stream, texts } = fakeStream(true)
    pinoLogger({ level: 'info', destination: streamDestination(stream) })
      .child('store')
      .warn('disk is slow', { ms: 12, path: '/x' })
    expect(texts[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}store: disk is slow ms=12 path=\/x\n$/)
  })

  test('that is none gets JSON', () => {
    const { stream, texts } = fakeStream(false)
    pinoLogger({ level: 'info', destination: streamDestination(stream) }).info('hello')
    expect(JSON.parse(String(texts[0]))).toMatchObject({ message: 'hello' })
  })

  test('that nobody reads any more does no harm', () => {
    const { stream, texts, fail } = fakeStream(false)
    const logger = pinoLogger({ level: 'info', destination: streamDestination(stream) })
    fail()
    logger.info('hello')
    expect(texts).toEqual([])
  })

  test('is stderr when nothing else is said, never stdout', () => {
    const source = new URL('../../src/daemon/pino-logger.ts', import.meta.url).href
    const script = `import { pinoLogger } from ${JSON.stringify(source)}; pinoLogger({ level: 'info' }).info('hello')`
    const stdout = execFileSync('sh', [
      '-c',
      '"$0" --input-type=module -e "$1" 2>&1 >/dev/null',
      process.execPath,
      script
    ])
    expect(JSON.parse(stdout.toString())).toMatchObject({ message: 'hello' })
  })
})

describe('a file', () => {
  test('is appended to, and closed to others', () => {
    const path = join(temporaryDirectory(), 'starling.log')
    fileDestination(path).write('one\n')
    fileDestination(path).write('two\n')
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('is put aside when the next line would make it longer than its bound, and one old one is kept', () => {
    const path = join(temporaryDirectory(), 'starling.log')
    const destination = fileDestination(path, 8)
    for (const line of ['one\n', 'two\n']) destination.write(line)
    expect(existsSync(`${path}.1`)).toBe(false)
    destination.write('x\n')
    expect(readFileSync(`${path}.1`, 'utf8')).toBe('one\ntwo\n')
    for (const line of ['yyyyyy\n', 'zz\n']) destination.write(line)
    expect(readFileSync(path, 'utf8')).toBe('zz\n')
    expect(readFileSync(`${path}.1`, 'utf8')).toBe('yyyyyy\n')
  })

  test.skipIf(!existsSync('/dev/full'))('on a full disk loses lines without harm (needs /dev/full)', () => {
    const destination = fileDestination('/dev/full')
    const logger = pinoLogger({ level: 'info', destination })
    for (let line = 0; line < 3; line += 1) logger.info('hello')
  })
})
