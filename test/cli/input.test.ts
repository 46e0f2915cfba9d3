import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DURATION_MS_MAX, parseCount, parseDuration } from '../../src/cli/input/duration.ts'
import { jsonErrorOffset } from '../../src/cli/input/json-position.ts'
import { parseInput } from '../../src/cli/input/task-input.ts'
import { INPUT_BYTES_MAX } from '../../src/wire/api/limits.ts'
import { JOB_ID } from '../helpers/api-documents.ts'
import { runCli } from '../helpers/cli-process.ts'
import { type FakeDaemonServer, fakeDaemonServer } from '../helpers/fake-daemon-server.ts'

describe('INPUT as an argument', () => {
  it.each([
    ['{"a":}', 'line 1, column 6: {"a": >>>}'],
    ['{', 'line 1, column 2: it ends too early'],
    ['"abc', 'line 1, column 5: it ends too early'],
    ['{"a": 1\n "b": 2}', 'line 2, column 2: {"a": 1 >>>"b": 2}'],
    ['[1,]', 'line 1, column 4: [1, >>>]'],
    ['{"a":1} x', 'line 1, column 9: {"a":1} >>>x'],
    ["{'a':1}", "line 1, column 2: { >>>'a':1}"]
  ])('%j is refused with the place of the mistake', (text, place) => {
    expect(() => parseInput(text)).toThrow(`the input is not valid JSON at ${place}`)
  })

  it('is never text when it begins like JSON, and never JSON when it does not', () => {
    fc.assert(
      fc.property(fc.string(), text => {
        if (!/^[{["]/.test(text)) expect(parseInput(text)).toBe(text)
        else if (jsonErrorOffset(text) === undefined) expect(parseInput(text)).toEqual(JSON.parse(text))
        else expect(() => parseInput(text)).toThrow('not valid JSON')
      })
    )
  })
})

describe('the place of a mistake in JSON', () => {
  const jsonLike = fc.array(fc.constantFrom(...'{}[],:"\\ \n\ta1-0.eE+', 'true', 'null', '\\u00e9', '"k"'), {
    maxLength: 12
  })

  it('is there exactly when the text is no JSON', () => {
    const texts = fc.oneof(
      jsonLike.map(parts => parts.join('')),
      fc.json(),
      fc.tuple(fc.json(), fc.nat(), fc.constantFrom('', '}', ',', '"', 'x')).map(([json, at, put]) => {
        const cut = at % (json.length + 1)
        return json.slice(0, cut) + put + json.slice(cut + 1)
      })
    )
    fc.assert(
      fc.property(texts, text => {
        const offset = jsonErrorOffset(text)
        if (offset === undefined) expect(() => JSON.parse(text)).not.toThrow()
        else {
          expect(() => JSON.parse(text)).toThrow()
          expect(offset).toBeLessThanOrEqual(text.length)
        }
      }),
      { numRuns: 5_000 }
    )
  })

  it('is found in a megabyte without running out of stack', () => {
    expect(jsonErrorOffset('['.repeat(INPUT_BYTES_MAX))).toBe(INPUT_BYTES_MAX)
    expect(jsonErrorOffset(`"${'\\n'.repeat(INPUT_BYTES_MAX / 2)}`)).toBe(INPUT_BYTES_MAX + 1)
    expect(jsonErrorOffset(`"${'a'.repeat(INPUT_BYTES_MAX)}`)).toBe(INPUT_BYTES_MAX + 1)
  })
})

describe('durations and counts', () => {
  it.each([
    ['500ms', 500],
    ['1.5s', 1_500],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['24d', DURATION_MS_MAX]
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text, '--timeout')).toBe(ms)
  })

  it.each(['', '10', '0s', '0.1ms', '-1s', '1w', '1 s', '24.1d', '1e3s', 's', 'toString'])('%j is refused', text => {
    expect(() => parseDuration(text, '--timeout')).toThrow('--timeout')
  })

  it('a count is a whole number within its bounds', () => {
    expect([parseCount('1', '--uses', 1, 5), parseCount('5', '--uses', 1, 5)]).toEqual([1, 5])
    for (const text of ['0', '6', '1.5', '', 'x', '-1', '0x2']) {
      expect(() => parseCount(text, '--uses', 1, 5)).toThrow('--uses takes a whole number from 1 to 5')
    }
  })
})

describe('INPUT from stdin', () => {
  let daemon: FakeDaemonServer
  beforeAll(async () => {
    daemon = await fakeDaemonServer({ 'POST /v1/jobs': { body: { id: JOB_ID, existing: false } } })
  })
  afterAll(() => daemon.close())

  function submit(stdin: string | Buffer) {
    return runCli(['submit', 'lint', '-'], { stdin, env: { STARLING_SOCKET: daemon.socketPath } })
  }

  function lastInput(): unknown {
    return (daemon.requests.at(-1)?.body as { input: unknown } | undefined)?.input
  }

  it('is JSON or text by the same rule, to the last character', async () => {
    expect((await submit('{"a":\n1}\n')).code).toBe(0)
    expect(lastInput()).toEqual({ a: 1 })
    expect((await submit('hello\n')).code).toBe(0)
    expect(lastInput()).toBe('hello\n')
    expect((await submit('')).code).toBe(0)
    expect(lastInput()).toBe('')
    expect(await submit('{"a":')).toMatchObject({ code: 2, stdout: '' })
  })

  it('may be exactly as long as the bound, and not one byte longer', async () => {
    const quoted = (bytes: number) => `"${'a'.repeat(bytes - 2)}"`
    expect((await submit(quoted(INPUT_BYTES_MAX))).code).toBe(0)
    expect(lastInput()).toHaveLength(INPUT_BYTES_MAX - 2)
    const sent = daemon.requests.length
    const over = await submit(quoted(INPUT_BYTES_MAX + 1))
    expect(over).toMatchObject({ code: 2, stdout: '' })
    expect(over.stderr).toContain(`what stdin holds is longer than ${INPUT_BYTES_MAX} bytes`)
    expect(daemon.requests).toHaveLength(sent)
  })

  it('counts as long as it is when written as JSON', async () => {
    expect((await submit('a'.repeat(INPUT_BYTES_MAX))).code).toBe(0)
    // A line feed takes two bytes there.
    const over = await submit(`\n${'a'.repeat(INPUT_BYTES_MAX - 1)}`)
    expect(over.code).toBe(2)
    expect(over.stderr).toContain('the input, written as JSON, is longer than')
    expect(over.stderr).toContain('hint: ')
  })

  it('is refused when it is not UTF-8 or nested without end', async () => {
    expect((await submit(Buffer.from([0x61, 0xff]))).stderr).toContain('not UTF-8')
    const depth = 200_000
    const deep = await submit('['.repeat(depth) + ']'.repeat(depth))
    expect(deep).toMatchObject({ code: 2 })
    expect(deep.stderr).toContain('nested too deep')
  })
})
