import { readdirSync, readFileSync } from 'node:fs'
import { expect, onTestFinished, vi } from 'vitest'
import type { AttemptEnd, AttemptHandlers, Logger, TaskStart } from '../../src/ports/index.ts'
import { silentLogger } from '../../src/ports/index.ts'
import { type ProcessJails, processJails } from '../../src/runtimes/index.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { systemClock } from './system-clock.ts'

let boots = 0

/** Jails of a home of their own, closed after the test. */
export function testJails(
  kind: 'marks' | undefined,
  options: { home?: string; logger?: Logger } = {}
): { jails: ProcessJails; home: string; boot: string } {
  const home = options.home ?? temporaryDirectory()
  boots += 1
  const boot = `test-${process.pid}-${boots}`
  const jails = processJails({ home, boot, clock: systemClock, logger: options.logger ?? silentLogger, kind })
  onTestFinished(() => jails.close())
  return { jails, home, boot }
}

export function taskStart(overrides: Partial<TaskStart> = {}): TaskStart {
  return {
    attemptId: 'a1',
    taskId: 'abcdefghijklmnopqrstuvwxyz.0',
    jobId: 'abcdefghijklmnopqrstuvwxyz',
    capability: 'test',
    input: null,
    attempt: 1,
    fencingToken: '1',
    leaseLeftMs: 60_000,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    timeoutMs: undefined,
    ...overrides
  }
}

/** Handlers that keep what they get. */
export function recorder(): {
  handlers: AttemptHandlers
  lines: string[]
  ends: AttemptEnd[]
  end: Promise<AttemptEnd>
} {
  const { promise, resolve } = Promise.withResolvers<AttemptEnd>()
  const lines: string[] = []
  const ends: AttemptEnd[] = []
  return {
    lines,
    ends,
    end: promise,
    handlers: {
      log: line => void lines.push(line),
      ended(end) {
        ends.push(end)
        resolve(end)
      }
    }
  }
}

/** Living processes (no zombies) whose command line holds `text`; only children of `parent` when it is given. */
export function processesWith(text: string, parent?: number): number[] {
  const found: number[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      // proc_pid_stat(5): state and parent follow the name.
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (parent !== undefined && Number(ppid) !== parent) continue
      if (state !== 'Z' && readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(text)) found.push(Number(name))
    } catch {
      // It has ended meanwhile.
    }
  }
  return found
}

let marks = 0

/** Seconds of sleep(1) that no other test uses, so that its processes are found by their command line. */
export function uniqueSeconds(): string {
  marks += 1
  return `${7_000 + marks}.${process.pid}`
}

/** Waits until no process has `text` in its command line. */
export async function noneLeft(text: string, timeoutMs: number): Promise<void> {
  await vi.waitFor(() => expect(processesWith(text)).toEqual([]), { timeout: timeoutMs, interval: 20 })
}
