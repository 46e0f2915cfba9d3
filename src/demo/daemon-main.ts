import { startDaemon } from '../daemon/index.ts'

/**
 * One daemon of the demo as a process of its own; argv[2] is JSON with its name and token. It tells its parent when it is
 * ready, and stops when the parent says so or is gone, however it went.
 */
interface DaemonArguments {
  readonly name: string
  readonly join?: string
}

const given = JSON.parse(process.argv[2] ?? '{}') as DaemonArguments
const daemon = await startDaemon({ ...given, env: process.env }).catch((error: Error) => {
  process.send?.({ kind: 'failed', message: error.message })
  throw error
})
process.on('disconnect', () => daemon.stop({ now: true }))
// Ctrl-C reaches the whole process group; the parent decides what follows.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => daemon.stop({ now: true }))
process.send?.({ kind: 'ready', ready: daemon.ready })
const { exitCode } = await daemon.stopped
process.exit(exitCode)
