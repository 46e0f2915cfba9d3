import { CAPABILITIES_MAX, StarlingError } from '../core/index.ts'
import type { WorkerConnection, WorkerSession } from '../ports/index.ts'
import type { FunctionWorkers } from '../runtimes/index.ts'
import type { SpawnRequest } from '../wire/api/index.ts'
import type { MeshSession } from './mesh-session.ts'

export interface WorkerSessionsInit {
  readonly workers: FunctionWorkers
  /** The session in force: it changes when the daemon joins another swarm. */
  readonly mesh: () => MeshSession
  /** Capabilities that the configuration declares: no worker may take their names. */
  readonly declared: (capability: string) => boolean
}

/** Connects an SDK worker with the runtime that gives it work and the engine that it spawns into. */
export function openWorkerSession(init: WorkerSessionsInit, connection: WorkerConnection): WorkerSession {
  const { workers, mesh } = init
  return {
    work(capability, slots) {
      if (init.declared(capability)) {
        throw new StarlingError('CONFIG_INVALID', `"${capability}" is declared in this host's configuration`, {
          hint: 'serve it under another name, or remove it from the configuration'
        })
      }
      const offered = mesh().engine.node.wantedCapabilities()
      if (offered.length >= CAPABILITIES_MAX && !offered.includes(capability)) {
        throw new StarlingError('LIMIT_REACHED', `this daemon offers ${CAPABILITIES_MAX} capabilities already`, {
          hint: 'serve some of them at another host'
        })
      }
      workers.register(connection, capability, slots)
    },
    unwork: capability => workers.unregister(connection, capability),
    async spawn(attemptId: string, request: SpawnRequest & { watch: boolean }) {
      const attempt = mesh().engine.attempts.byAttempt(attemptId)
      if (attempt === undefined) {
        throw new StarlingError('TASK_ENDED', 'this task has ended: it cannot spawn any more', {
          hint: 'spawn before the handler returns, and await the call'
        })
      }
      return mesh().api.spawnFrom(attempt, request)
    },
    blocked(attemptId, blocked) {
      workers.blocked(connection, attemptId, blocked)
      mesh().engine.attempts.blocked(attemptId, blocked)
    },
    log: (attemptId, line) => workers.log(connection, attemptId, line),
    progress(attemptId, fraction, note) {
      const task = mesh().engine.attempts.byAttempt(attemptId)?.taskId
      if (task !== undefined) mesh().engine.events.emit('task.progress', task, { fraction, note: note ?? null })
    },
    ended: (attemptId, end) => workers.ended(connection, attemptId, end),
    close: () => workers.disconnect(connection)
  }
}
