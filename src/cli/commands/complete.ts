import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { DaemonClient } from '../../sdk/daemon-client.ts'
import { StarlingError } from '../../wire/errors.ts'
import type { Cli } from '../cli.ts'

/** A person waits at the Tab key; no words are better than late ones. */
const COMPLETE_WAIT_MS = 1_000

/** Words that a shell may put on a command line as they are; names of other hosts could be anything. */
const PLAIN_WORD = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/

const SOURCES: Readonly<Record<string, (client: DaemonClient) => Promise<string[]>>> = {
  peers: async client => (await client.peers()).map(peer => peer.name),
  jobs: async client => (await client.jobs()).map(job => job.id),
  tasks: async client => (await client.agents()).flatMap(agent => agent.taskId ?? []),
  capabilities: async client => (await client.peers()).flatMap(peer => peer.capabilities.map(({ name }) => name))
}

/** Called by the completion scripts: prints words, one a line; prints nothing when the daemon cannot say. */
export function register(program: Command, cli: Cli): void {
  program.command('__complete <kind>', { hidden: true }).action(async (kind: string) => {
    const source = Object.hasOwn(SOURCES, kind) ? SOURCES[kind] : undefined
    if (source === undefined) throw new StarlingError('INVALID_INPUT', `nothing is known about ${kind}`)
    await cli.withClient({}, async client => {
      const words = await Promise.race([source(client).catch(noWords), sleep(COMPLETE_WAIT_MS, [])])
      for (const word of new Set(words)) if (PLAIN_WORD.test(word)) cli.terminal.out(word)
      return 0
    })
  })
}

/** Without a daemon there is nothing to offer; a message in the middle of typing would not help. */
function noWords(error: unknown): string[] {
  if (error instanceof StarlingError) return []
  throw error
}
