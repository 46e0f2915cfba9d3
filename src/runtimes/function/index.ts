/** Runtime `function`: attempts are handed to worker processes that are connected by the SDK. */
export { ABORT_GRACE_MS } from './function-attempt.ts'
export { type FunctionRuntimes, functionRuntime } from './function-runtime.ts'
export { FunctionWorkers, type FunctionWorkersInit, WORKERS_MAX } from './function-workers.ts'
