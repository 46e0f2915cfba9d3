import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Ready } from '../../src/wire/api/schemas.ts'
import { StarlingError } from '../../src/wire/errors.ts'
import { ALICE_ID, peerDocument, statusDocument } from './api-documents.ts'
import { fakeDaemonServer } from './fake-daemon-server.ts'

/**
 * What `starling up` needs of a daemon, and nothing else. `FAKE_DAEMON` says how it behaves: "refuse" fails to start,
 * "die" ends the process without a word, "hang" is never ready, "stubborn" stops only when it must do so now.
 */
export async function startDaemon(options: { env: NodeJS.ProcessEnv; name?: string }): Promise<{
  ready: Ready
  stopped: Promise<{ exitCode: number }>
  stop(how: { now: boolean }): void
}> {
  const { env, ...flags } = options
  const behaviour = env.FAKE_DAEMON ?? ''
  writeFileSync(
    join(env.STARLING_HOME ?? '', 'started.json'),
    JSON.stringify({ pid: process.pid, flags, argv: process.argv })
  )
  if (behaviour === 'refuse') {
    throw new StarlingError('ALREADY_RUNNING', 'another daemon runs here (pid 1)', { hint: 'starling down' })
  }
  if (behaviour === 'die') {
    process.stderr.write('something dreadful\n')
    process.exit(77)
  }
  if (behaviour === 'hang') await new Promise(resolve => setTimeout(resolve, 60_000))
  const server = await fakeDaemonServer({
    'GET /v1/status': { body: statusDocument() },
    'GET /v1/peers': {
      body: { items: [peerDocument({ self: true }), peerDocument(), peerDocument({ state: 'dead' })] }
    }
  })
  const stopped = Promise.withResolvers<{ exitCode: number }>()
  return {
    ready: {
      peerId: ALICE_ID,
      name: flags.name ?? 'alice',
      socket: server.socketPath,
      listen: ['/ip4/127.0.0.1/tcp/4001', '/ip4/10.0.0.1/tcp/4001'],
      pid: process.pid,
      version: '0.1.0'
    },
    stopped: stopped.promise,
    stop({ now }) {
      if (behaviour === 'stubborn' && !now) return
      void server.close().then(() => stopped.resolve({ exitCode: now ? 1 : 0 }))
    }
  }
}

/** Where this daemon would keep its log. */
export function resolveHome(env: NodeJS.ProcessEnv): { logs: string } {
  return { logs: join(env.STARLING_HOME ?? '', 'logs', 'daemon.log') }
}

/** Checks nothing. */
export function prepareHome(): void {}
