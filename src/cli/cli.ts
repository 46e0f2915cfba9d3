import type { DaemonClient } from '../sdk/daemon-client.ts'
import { controlSocketPath } from '../wire/places.ts'
import type { ClientOptions } from './client-command.ts'
import { type OutputStream, Terminal } from './output/terminal.ts'

/** Exit code of a program that Ctrl-C has ended: 128 + SIGINT. */
export const EXIT_INTERRUPTED = 130

/** Exit code of a wait that ended before the job. */
export const EXIT_TIMED_OUT = 8

export interface CliStreams {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  /** Read only when an argument is `-`. */
  readonly stdin: AsyncIterable<Buffer>
}

/** What every command gets: where to print, the environment, a way to the daemon; and where it leaves its exit code. */
export class Cli {
  readonly terminal: Terminal
  readonly stdin: AsyncIterable<Buffer>
  readonly env: NodeJS.ProcessEnv
  exitCode = 0

  constructor(streams: CliStreams, env: NodeJS.ProcessEnv) {
    this.terminal = new Terminal(streams.stdout, streams.stderr, env)
    this.stdin = streams.stdin
    this.env = env
  }

  /** Path of the control socket: `--socket`, or where the environment says. */
  socketPath(options: Pick<ClientOptions, 'socket'>): string {
    return options.socket ?? controlSocketPath(this.env, process.platform)
  }

  /** Runs `body` with a client of the daemon, and closes it. What `body` returns becomes the exit code; nothing is 0. */
  async withClient(
    options: Pick<ClientOptions, 'socket'>,
    body: (client: DaemonClient) => Promise<number | undefined>
  ): Promise<void> {
    const client = await this.client(this.socketPath(options))
    try {
      this.exitCode = (await body(client)) ?? 0
    } finally {
      client.close()
    }
  }

  /** A client that the caller closes. Does not connect yet. */
  async client(socketPath: string): Promise<DaemonClient> {
    const { DaemonClient } = await import('../sdk/daemon-client.ts')
    return new DaemonClient({ socketPath })
  }

  /**
   * Runs `body` with a signal that aborts at the first Ctrl-C, and when nobody reads the output any more. The second
   * Ctrl-C ends the program at once. Commands that do not use this are ended by the first.
   */
  async interruptible<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const interrupted = new AbortController()
    const onInterrupt = (): void => {
      if (interrupted.signal.aborted) process.exit(EXIT_INTERRUPTED)
      interrupted.abort()
    }
    process.on('SIGINT', onInterrupt)
    try {
      return await body(AbortSignal.any([interrupted.signal, this.terminal.closed]))
    } finally {
      process.off('SIGINT', onInterrupt)
    }
  }

  /** Prints a stream until it ends, or until Ctrl-C, or until nobody reads on. Returns the exit code. */
  async printStream<T>(items: (signal: AbortSignal) => AsyncIterable<T>, print: (item: T) => void): Promise<number> {
    return this.interruptible(async signal => {
      try {
        for await (const item of items(signal)) {
          if (signal.aborted) break
          print(item)
        }
      } catch (error) {
        if (!signal.aborted) throw error
      }
      return signal.aborted && !this.terminal.closed.aborted ? EXIT_INTERRUPTED : 0
    })
  }
}
