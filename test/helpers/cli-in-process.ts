import { PassThrough, Readable } from 'node:stream'
import { WriteStream } from 'node:tty'
import { Cli, runCommand } from '../../src/cli/index.ts'
import type { CliInit, CliResult } from './cli-process.ts'

/**
 * Runs a command line in this process: the same code as the program, ten times faster than a process of its own. With
 * `tty` the outputs look like terminals of 80 columns.
 */
export async function runCliHere(
  args: readonly string[],
  init: Pick<CliInit, 'env'> & { readonly stdin?: string | Buffer; readonly tty?: boolean } = {}
): Promise<CliResult> {
  const env = { STARLING_HOME: '/nonexistent', ...init.env }
  const stdout = output(init.tty ?? false, env)
  const stderr = output(init.tty ?? false, env)
  const stdin = Readable.from([Buffer.from(init.stdin ?? '')])
  const code = await runCommand(new Cli({ stdout: stdout.stream, stderr: stderr.stream, stdin }, env), args)
  return { code, signal: null, stdout: stdout.text(), stderr: stderr.text() }
}

function output(tty: boolean, env: Record<string, string | undefined>) {
  const stream = new PassThrough()
  const parts: Buffer[] = []
  stream.on('data', part => parts.push(part))
  const getColorDepth = () => WriteStream.prototype.getColorDepth.call(stream, env)
  return {
    stream: tty ? Object.assign(stream, { isTTY: true, columns: 80, rows: 24, getColorDepth }) : stream,
    text: () => Buffer.concat(parts).toString()
  }
}
