import { PassThrough, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { progressLine, progressStyle, progressView } from '../../src/cli/output/progress.ts'
import { Terminal } from '../../src/cli/output/terminal.ts'
import { age, duration, oneLine, printable } from '../../src/cli/output/text.ts'
import { JOB_ID, jobDocument, peerDocument, runningJobDocument, statusDocument } from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { type FakeDaemonServer, fakeDaemonServer } from '../helpers/fake-daemon-server.ts'

describe('text for people', () => {
  it.each([
    [0, '< 1 ms'],
    [999.9, '999 ms'],
    [4_290, '4.2 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [185_000, '3 min 5 s'],
    [7_800_000, '2 h 10 min'],
    [90_000_000, '1 d 1 h']
  ])('%d ms is "%s"', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })

  it('ages are one whole number, and unknown is said', () => {
    const now = Date.parse('2026-11-22T10:00:05.400Z')
    expect(age('2026-11-22T10:00:02.000Z', now)).toBe('3 s ago')
    expect(age('2026-11-22T10:00:05.000Z', now)).toBe('now')
    expect(age('2026-11-22T09:58:00.000Z', now)).toBe('2 min ago')
    expect(age('2026-11-20T09:00:00.000Z', now)).toBe('2 d ago')
    expect(age('2026-11-22T11:00:00.000Z', now)).toBe('now')
    expect(age(null, now)).toBe('unknown')
  })

  it('one line is cut at its bound, and not before', () => {
    expect(oneLine('a\n  b', 3)).toBe('a b')
    expect(oneLine('abcdef', 6)).toBe('abcdef')
    expect(oneLine('abcdefg', 6)).toBe('abc...')
  })

  it('control characters of other hosts do not reach a terminal; colours and line ends do', () => {
    expect(printable('a\tb\nc\r\nd')).toBe('a\tb\nc\r\nd')
    expect(printable('\u001b[31mred\u001b[0m')).toBe('\u001b[31mred\u001b[0m')
    expect(printable('\u001b]0;title\u0007')).toBe('\ufffd]0;title\ufffd')
    expect(printable('\u001b[2J\u009b2J\rgone\u007f')).toBe('\ufffd[2J\ufffd2J\ufffdgone\ufffd')
  })
})

describe('on a terminal', () => {
  let daemon: FakeDaemonServer
  beforeAll(async () => {
    daemon = await fakeDaemonServer({ 'POST /v1/jobs': { body: { id: JOB_ID, existing: false } } })
  })
  afterAll(() => daemon.close())

  function onTerminal(args: string[], env: Record<string, string> = {}) {
    return runCliHere(args, { tty: true, env: { STARLING_SOCKET: daemon.socketPath, TERM: 'xterm-256color', ...env } })
  }

  it('there are colours, unless NO_COLOR is set', async () => {
    daemon.routes['GET /v1/peers'] = { body: { items: [peerDocument()] } }
    expect((await onTerminal(['peers'])).stdout).toContain('\u001b[32malive')
    const plain = await onTerminal(['peers'], { NO_COLOR: '1' })
    expect(plain.stdout).toContain('alive')
    expect(plain.stdout).not.toContain('\u001b')
  })

  it('there are symbols when its locale is UTF-8', async () => {
    daemon.routes['GET /v1/doctor'] = { body: { items: [{ check: 'disk', state: 'ok', detail: 'free' }] } }
    expect((await onTerminal(['doctor'], { LANG: 'en_GB.UTF-8', NO_COLOR: '1' })).stdout).toBe('✓ disk: free\n')
    expect((await onTerminal(['doctor'], { LANG: 'C', NO_COLOR: '1' })).stdout).toBe('ok   disk: free\n')
  })

  it('JSON is indented', async () => {
    daemon.routes['GET /v1/status'] = { body: statusDocument() }
    expect((await onTerminal(['status', '--json'])).stdout).toContain('\n  "kind": "Status"')
  })

  it('what other hosts wrote cannot steer it', async () => {
    daemon.routes['GET /v1/jobs/*'] = { body: jobDocument({ result: '\u001b]0;owned\u0007done' }) }
    expect((await onTerminal(['wait', JOB_ID])).stdout).toBe('\ufffd]0;owned\ufffddone\n')
    daemon.routes['GET /v1/peers'] = { body: { items: [peerDocument({ name: '\u001b[2Jbob' })] } }
    expect((await onTerminal(['peers'], { NO_COLOR: '1' })).stdout).not.toContain('\u001b')
  })

  it('progress is shown while a job runs, and removed before the result', async () => {
    const end = performance.now() + 700
    daemon.routes['GET /v1/jobs/*'] = async ({ query, gone }) => {
      const waitMs = Math.min(Number.parseFloat(query.get('wait') ?? '0'), Math.max(0, end - performance.now()))
      await sleep(waitMs, undefined, { signal: gone }).catch(() => {})
      return { body: performance.now() < end ? runningJobDocument() : jobDocument({ result: 'done' }) }
    }
    const { code, stdout, stderr } = await onTerminal(['run', 'lint'], { NO_COLOR: '1' })
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'done\n' })
    expect(stderr).toContain('abcdefghij  2 ended, 3 running, 2 waiting  on alice, bob')
    // The animated line is erased, then the verdict stands alone on its line.
    const verdictAt = stderr.indexOf('completed: 2 tasks')
    expect(stderr.lastIndexOf('on alice, bob')).toBeLessThan(stderr.lastIndexOf('\u001b[2K'))
    expect(stderr.lastIndexOf('\u001b[2K')).toBeLessThan(verdictAt)
    expect(stderr.slice(verdictAt).split('\n')).toHaveLength(2)
  })

  it('is not needed for progress: --verbose prints lines of it', async () => {
    const parts: string[] = []
    const stderr = new Writable({
      write(part, _, done) {
        parts.push(String(part))
        done()
      }
    })
    const terminal = new Terminal(new PassThrough(), stderr, {})
    expect(progressStyle(terminal, {})).toBe('none')
    expect(progressStyle(terminal, { verbose: true })).toBe('lines')
    expect(progressStyle(terminal, { verbose: true, quiet: true })).toBe('none')
    const view = await progressView(terminal, 'lines')
    view.update(progressLine(runningJobDocument()))
    view.clear()
    expect(parts.join('')).toMatch(/^abcdefghij {2}2 ended, 3 running, 2 waiting {2}on alice, bob {2}[^\n]*\n$/)
  })

  it('progress is lines where the cursor cannot be moved', () => {
    const tty = (columns: number) => Object.assign(new PassThrough(), { isTTY: true, columns })
    const style = (columns: number, env: object) =>
      progressStyle(new Terminal(new PassThrough(), tty(columns), { ...env }), {})
    expect(style(80, { TERM: 'xterm' })).toBe('live')
    expect(style(80, { TERM: 'dumb' })).toBe('lines')
    expect(style(0, { TERM: 'xterm' })).toBe('lines')
  })

  it('progress is not shown with --quiet', async () => {
    daemon.routes['GET /v1/jobs/*'] = { body: runningJobDocument() }
    const { stderr } = await onTerminal(['run', 'lint', '--quiet', '--timeout', '300ms'], { NO_COLOR: '1' })
    expect(stderr).toMatch(/^timed out/)
  })
})
