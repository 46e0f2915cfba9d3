import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface CliResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface CliInit {
  readonly env?: Record<string, string | undefined>
  readonly nodeArguments?: readonly string[]
}

/** A running `starling`, its output so far, and its end. */
export interface CliProcess {
  readonly child: ChildProcessWithoutNullStreams
  stdout(): string
  stderr(): string
  readonly ended: Promise<CliResult>
}

/** Starts the real command line from its sources, with pipes for all streams and an environment of its own. */
export function startCli(args: readonly string[], init: CliInit = {}): CliProcess {
  const child = spawn(process.execPath, [...(init.nodeArguments ?? []), MAIN, ...args], {
    env: { PATH: process.env.PATH, HOME: tmpdir(), STARLING_HOME: '/nonexistent', ...init.env },
    stdio: 'pipe'
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  // A program that does not read its stdin closes it.
  child.stdin.on('error', () => {})
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}

/** Runs the command line to its end; `stdin` is all that it can read. */
export function runCli(
  args: readonly string[],
  init: CliInit & { readonly stdin?: string | Buffer } = {}
): Promise<CliResult> {
  const started = startCli(args, init)
  started.child.stdin.end(init.stdin ?? '')
  return started.ended
}
