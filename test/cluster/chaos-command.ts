import { execFile } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { DaemonClient } from '../../src/sdk/index.ts'
import { CHAOS_COMMAND, chaosBody } from './chaos-body.ts'
import type { ChaosInput, ChaosResult } from './chaos-tree.ts'

/**
 * A task of the chaos test as a command. Children that it waits for are spawned on the control socket, the others by the
 * command line, as a script would do it. argv: path of its diary.
 */
const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const run = promisify(execFile)
const { argv, env } = process
const { STARLING_TASK: task = '', STARLING_ATTEMPT: attempt, STARLING_FENCING_TOKEN: token = '' } = env
const { jobId, input } = JSON.parse(await text(process.stdin)) as { jobId: string; input: ChaosInput }
const client = new DaemonClient({ socketPath: env.STARLING_SOCKET })

/** @throws Error when it has not completed */
async function resultOf(childId: string): Promise<ChaosResult> {
  const { outcome, result, error } = await client.waitForChild(task, childId)
  if (outcome !== 'completed') throw new Error(`child ${childId} is ${outcome}: ${error?.message}`)
  return result as ChaosResult
}

const result = await chaosBody({
  job: jobId,
  input,
  token,
  diary: argv[2] ?? '',
  signal: new AbortController().signal,
  spawn: async ({ exclusive, detached }, child) => {
    if (detached) {
      const flags = exclusive ? ['--exclusive'] : []
      const { stdout } = await run(process.execPath, [MAIN, 'spawn', CHAOS_COMMAND, JSON.stringify(child), ...flags])
      return () => resultOf(stdout.trim())
    }
    const request = { capability: CHAOS_COMMAND, input: child, exclusive, attempt: Number(attempt) }
    const { taskId } = await client.spawn(task, request)
    return () => resultOf(taskId)
  }
})
client.close()
process.stdout.write(`${JSON.stringify(result)}\n`)
