import type { Mesh, WorkerContext, WorkerTask } from '../../src/sdk/index.ts'

/** A task of a generated tree: its sub-tree has `size` tasks, itself included, on at most `levels` more levels. */
export interface TreeTask {
  readonly size: number
  readonly levels: number
}

/** How a task divides what is below it: as evenly as it can, so that the tree reaches its last level. */
export function childrenOf({ size, levels }: TreeTask): TreeTask[] {
  const below = size - 1
  if (below <= 0 || levels <= 0) return []
  const count = levels === 1 ? below : Math.max(1, Math.round(below ** (1 / levels)))
  return Array.from({ length: count }, (_, index) => ({
    size: Math.floor(below / count) + (index < below % count ? 1 : 0),
    levels: levels - 1
  })).filter(child => child.size > 0)
}

/** Paths of all tasks of the tree, as the daemon names them. */
export function pathsOf(task: TreeTask, path = '0'): string[] {
  return [path, ...childrenOf(task).flatMap((child, index) => pathsOf(child, `${path}.${index}`))]
}

/** Serves `capability`: each task spawns its children and waits for none of them. */
export async function serveTree(
  mesh: Mesh,
  capability: string,
  slots: number,
  before: (task: WorkerTask<TreeTask>, context: WorkerContext) => Promise<void> | void = () => undefined
): Promise<void> {
  await mesh.work<TreeTask>(
    capability,
    async (task, context) => {
      await before(task, context)
      for (const child of childrenOf(task.input)) await context.spawn(capability, child)
      return task.input.size
    },
    { slots }
  )
}
