/**
 * The npm package: programs connect to the daemon of their machine, serve capabilities, and submit jobs.
 *
 * ```ts
 * import { connect } from 'starling-mesh'
 *
 * const mesh = await connect()
 * await mesh.work<{ text: string }>('shout', task => task.input.text.toUpperCase())
 * const job = await mesh.submit('shout', { text: 'hello' })
 * const { verdict, result } = await job.completion()
 * ```
 */

export type { Logger } from '../ports/logger.ts'
export type { ChildOutcome } from '../ports/runtime.ts'
export type {
  Agent,
  DrainRequest,
  Event,
  Finding,
  Job,
  JobSummary,
  LogLine,
  Peer,
  Placement,
  PolicyRequest,
  Ready,
  SpawnRequest,
  Status,
  SubmitRequest,
  TaskItem,
  Token,
  TokenRequest,
  Verdict
} from '../wire/api/schemas.ts'
export { ERROR_CODES, type ErrorCode, StarlingError } from '../wire/errors.ts'
export type { ChildTask, WorkerContext, WorkerTask, WorkHandler } from './attempt.ts'
export { DaemonClient, type DaemonClientInit, type WaitOptions } from './daemon-client.ts'
export { DaemonNotRunningError } from './errors.ts'
export { MeshJob } from './job.ts'
export { type ConnectOptions, connect, Mesh, type SubmitOptions, type TaskOptions, type WorkOptions } from './mesh.ts'
export { socketPath } from './socket-path.ts'
