import { onTestFinished } from 'vitest'
import { silentLogger, type TaskStart, type WorkerConnection } from '../../src/ports/index.ts'
import { type FunctionWorkers, functionRuntime } from '../../src/runtimes/index.ts'
import { type Behaviour, runtimeSuite } from '../compliance/runtime-suite.ts'
import { systemClock } from './system-clock.ts'

/** A worker that answers at once. */
function scriptedWorker(behaviour: Behaviour, workers: () => FunctionWorkers): WorkerConnection {
  const act = (task: TaskStart) => {
    const { attemptId, input } = task
    const length = typeof input === 'number' ? input : 0
    const complete = (result: unknown) => workers().ended(worker, attemptId, { kind: 'completed', result })
    if (behaviour === 'echo') complete(input)
    if (behaviour === 'text') complete('a'.repeat(length))
    if (behaviour === 'hang' || behaviour === 'stubborn') workers().log(worker, attemptId, 'hanging')
    if (behaviour === 'fail') {
      const error = { code: 'TASK_FAILED', message: 'm'.repeat(length) }
      workers().ended(worker, attemptId, { kind: 'failed', error })
    }
    if (behaviour === 'log') {
      workers().log(worker, attemptId, 'a'.repeat(length))
      complete(undefined)
    }
  }
  const worker: WorkerConnection = {
    start: act,
    leases() {},
    abort(attemptId) {
      if (behaviour === 'stubborn') return
      workers().ended(worker, attemptId, { kind: 'failed', error: { code: 'TASK_CANCELLED', message: 'aborted' } })
    },
    childSettled() {}
  }
  return worker
}

runtimeSuite(behaviour => {
  const { workers, runtime } = functionRuntime({ clock: systemClock, logger: silentLogger, slotsChanged() {} })
  workers.register(
    scriptedWorker(behaviour, () => workers),
    'test',
    8
  )
  const made = runtime()
  onTestFinished(() => made.stop())
  return made
})
