import { connect } from '../sdk/index.ts'
import type { BodyNote } from './body-tally.ts'
import { WALK, walkDirectory } from './tree-walk.ts'

/**
 * A worker of the demo: an ordinary SDK program. Each task looks at one directory and adds a task for each of its
 * sub-directories, for whichever host is free; nobody knows beforehand how many there will be.
 */
interface WalkInput {
  readonly root: string
  readonly dir: string
}

const slots = Number(process.argv[2] ?? 2)
const mesh = await connect()
await mesh.work<WalkInput>(
  WALK,
  async (task, context) => {
    const { root, dir } = task.input
    const { taskId } = task
    process.send?.({ kind: 'begun', taskId } satisfies BodyNote)
    try {
      const { report, children } = await walkDirectory(root, dir)
      for (const child of children) await context.spawn(WALK, { root, dir: child })
      return report
    } finally {
      process.send?.({ kind: 'ended', taskId } satisfies BodyNote)
    }
  },
  { slots }
)
process.on('disconnect', () => process.exit(0))
process.on('SIGINT', () => undefined)
process.send?.({ kind: 'ready' })
