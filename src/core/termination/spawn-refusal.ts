import { depthOf, type JobId, taskId } from '../ids.ts'
import { DEPTH_MAX, FAN_OUT_MAX, OBLIGATIONS_MAX, WAITING_INPUT_BYTES_MAX } from '../limits.ts'
import type { Vertex } from './vertex.ts'

/** Why a spawn was refused; codes of the table in `errors.ts`. */
export interface SpawnRefusal {
  readonly code: 'TASK_ENDED' | 'LIMIT_REACHED'
  readonly message: string
}

export const TASK_GONE: SpawnRefusal = { code: 'TASK_ENDED', message: 'the task is over on this host' }

/** Undefined when `vertex` may spawn. `owed`: what its daemon owes for the job, and the bytes of all inputs with the new child's. */
export function refuseSpawn(
  job: JobId,
  vertex: Vertex | undefined,
  owed: { readonly count: number; readonly inputBytes: number }
): SpawnRefusal | undefined {
  if (vertex === undefined) return TASK_GONE
  if (vertex.state !== 'running') {
    const why = vertex.state === 'cancelling' ? 'is being cancelled' : 'has ended'
    const message = `task ${taskId(job, vertex.task.path)} ${why}: it cannot spawn any more`
    return { code: 'TASK_ENDED', message }
  }
  if (depthOf(vertex.task.path) + 1 >= DEPTH_MAX)
    return limit(`tasks may be nested ${DEPTH_MAX} levels deep at the most`)
  if (vertex.children >= FAN_OUT_MAX) return limit(`one task may spawn ${FAN_OUT_MAX} children at the most`)
  if (owed.count >= OBLIGATIONS_MAX) return limit(`one host may owe ${OBLIGATIONS_MAX} tasks of a job at the most`)
  if (owed.inputBytes > WAITING_INPUT_BYTES_MAX) {
    return limit(`inputs of unsettled children may hold ${WAITING_INPUT_BYTES_MAX} bytes on one host`)
  }
  return undefined
}

function limit(message: string): SpawnRefusal {
  return { code: 'LIMIT_REACHED', message }
}
