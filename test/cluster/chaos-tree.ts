import { SeededRandom } from '../../src/testing/random.ts'

/** A tree of tasks that follows from a seed: what each task is, spawns and gives back depends on its path alone. */
export interface ChaosInput {
  readonly seed: number
  /** Path of the task below the job's root task, as its parents have counted it: "0", "0.3.1". */
  readonly path: string
}

export interface ChaosResult {
  readonly path: string
  /** Fold over the results of the children that the task has waited for, and a number of its own. */
  readonly value: number
}

export interface ChaosTask {
  readonly path: string
  /** Never to be executed twice at the same time, whatever happens. */
  readonly exclusive: boolean
  /** Its parent ends without waiting for it: the job is over only when it is, all the same. */
  readonly detached: boolean
  readonly children: readonly ChaosTask[]
}

/** Children of a task by its depth; below the last one there is nothing. */
const FAN_OUT = [
  [4, 5],
  [1, 4],
  [0, 3],
  [0, 2]
] as const

const EXCLUSIVE_SHARE = 0.2
const DETACHED_SHARE = 0.25

/** Results are folded modulo a prime, so that they stay small and every child counts. */
const MODULUS = 1_000_003

/** Shortest and longest work of one half of a body. */
const WORK_MS_MIN = 150
const WORK_MS_MAX = 5_000

/** The task at a path, with everything below it. */
export function chaosTask(seed: number, path: string): ChaosTask {
  const depth = path.split('.').length - 1
  const random = new SeededRandom(seed, 'task', path)
  const [least, most] = FAN_OUT[depth] ?? [0, 0]
  const count = least + random.int(most - least + 1)
  return {
    path,
    exclusive: random.chance(EXCLUSIVE_SHARE),
    detached: random.chance(DETACHED_SHARE),
    children: Array.from({ length: count }, (_, index) => chaosTask(seed, `${path}.${index}`))
  }
}

/** The task and all below it. */
export function allTasks(task: ChaosTask): ChaosTask[] {
  return [task, ...task.children.flatMap(allTasks)]
}

/** A seed whose tree has `least` to `most` tasks. */
export function treeSeed(random: SeededRandom, least: number, most: number): number {
  for (;;) {
    const seed = random.int(2 ** 31)
    const size = allTasks(chaosTask(seed, '0')).length
    if (size >= least && size <= most) return seed
  }
}

/** What a task gives back when its waited-for children have given back `values`, in their order. */
export function folded(seed: number, path: string, values: readonly number[]): number {
  const own = new SeededRandom(seed, 'value', path).int(MODULUS)
  return values.reduce((sum, value) => (sum * 31 + value) % MODULUS, own)
}

/** The same by one process: what every task of the job must give back, by its path. */
export function sequentially(seed: number, task: ChaosTask, into = new Map<string, number>()): Map<string, number> {
  for (const child of task.children) sequentially(seed, child, into)
  const waited = task.children.filter(({ detached }) => !detached).map(({ path }) => into.get(path) ?? Number.NaN)
  return into.set(task.path, folded(seed, task.path, waited))
}

/** How long the halves of one attempt's body take. Heavy-tailed, and another for each attempt: orphans may be the slow ones. */
export function workMs(seed: number, path: string, token: string): readonly [number, number] {
  const random = new SeededRandom(seed, 'work', path, token)
  return [random.heavyTailed(WORK_MS_MIN, WORK_MS_MAX), random.heavyTailed(WORK_MS_MIN, WORK_MS_MAX)]
}
