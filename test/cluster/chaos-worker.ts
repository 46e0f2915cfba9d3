import { connect } from '../../src/sdk/index.ts'
import { CHAOS_SDK, chaosBody } from './chaos-body.ts'
import type { ChaosInput, ChaosResult } from './chaos-tree.ts'

/** An SDK worker of the chaos test. argv: slots, path of its diary. Prints one line when it serves. */
const [, , slots, diary = ''] = process.argv
const mesh = await connect()
await mesh.work<ChaosInput>(
  CHAOS_SDK,
  (task, context) =>
    chaosBody({
      job: task.jobId,
      input: task.input,
      token: context.fencingToken,
      diary,
      signal: context.signal,
      spawn: async ({ exclusive }, input) => {
        const child = await context.spawn(CHAOS_SDK, input, exclusive ? { exclusive } : {})
        return () => child.result<ChaosResult>()
      }
    }),
  { slots: Number(slots) }
)
process.stdout.write('serving\n')
