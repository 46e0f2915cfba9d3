import { appendFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { connect, type WorkerContext } from '../../src/sdk/index.ts'
import { type DiaryEntry, TREE, type TreeInput, type TreeResult } from './tree.ts'

/** An ordinary SDK worker that serves TREE. argv: slots, path of its diary. Prints one line when it serves. */
const [, , slots, diary = ''] = process.argv

function note(kind: DiaryEntry['kind'], { task, fencingToken }: WorkerContext<TreeInput>): void {
  const { taskId, attempt } = task
  const entry: DiaryEntry = { kind, taskId, attempt, token: fencingToken, atMs: Date.now() }
  appendFileSync(diary, `${JSON.stringify(entry)}\n`)
}

const mesh = await connect()
await mesh.work<TreeInput>(
  TREE,
  async (task, context): Promise<TreeResult> => {
    const { signal } = context
    const { depth, fanout, workMs, firstLeafMs, exclusive, label = '0' } = task.input
    const first = depth === 0 && /^1(\.1)*$/.test(context.fencingToken)
    const halfMs = ((first ? firstLeafMs : undefined) ?? workMs) / 2
    note('begin', context)
    try {
      await setTimeout(halfMs, undefined, { signal })
      for (let index = 0; depth > 0 && index < fanout; index += 1) {
        const child: TreeInput = { ...task.input, depth: depth - 1, label: `${label}.${index}` }
        await context.spawn(TREE, child, { exclusive })
      }
      await setTimeout(halfMs, undefined, { signal })
      note('end', context)
      return { label }
    } catch (error) {
      note('aborted', context)
      throw error
    }
  },
  { slots: Number(slots) }
)
process.stdout.write('serving\n')
