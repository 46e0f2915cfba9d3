import { appendFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { connect, type WorkerTask } from '../../src/sdk/index.ts'
import { type DiaryEntry, TREE, type TreeInput, type TreeResult } from './tree.ts'

/** An ordinary SDK worker that serves TREE. argv: slots, path of its diary. Prints one line when it serves. */
const [, , slots, diary = ''] = process.argv

function note(kind: DiaryEntry['kind'], { taskId, attempt }: WorkerTask<TreeInput>): void {
  appendFileSync(diary, `${JSON.stringify({ kind, taskId, attempt, atMs: Date.now() } satisfies DiaryEntry)}\n`)
}

appendFileSync(diary, '')
const mesh = await connect()
await mesh.work<TreeInput>(
  TREE,
  async (task, { signal, spawn }): Promise<TreeResult> => {
    const { depth, fanout, workMs, label = '0' } = task.input
    note('begin', task)
    try {
      await setTimeout(workMs / 2, undefined, { signal })
      for (let index = 0; depth > 0 && index < fanout; index += 1) {
        await spawn(TREE, { depth: depth - 1, fanout, workMs, label: `${label}.${index}` } satisfies TreeInput)
      }
      await setTimeout(workMs / 2, undefined, { signal })
      note('end', task)
      return { label }
    } catch (error) {
      note('aborted', task)
      throw error
    }
  },
  { slots: Number(slots) }
)
process.stdout.write('serving\n')
