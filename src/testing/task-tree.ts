import type { PolicyRequest } from '../wire/api/index.ts'
import { SeededRandom } from './random.ts'

/** Place of the poisonous task, where there is one. */
const POISONOUS_PATH = '0.0'

export const COMMON_CAPABILITY = 'work'

/** Offered by some hosts only. */
export const RARE_CAPABILITY = 'rare'

/** What one task does, whoever runs it and however often: a function of seed, job and path alone. */
export interface TaskShape {
  readonly capability: string
  /** Children spawned one after the other while it works. */
  readonly first: number
  /** It waits for so many of them, the first ones, before it goes on. */
  readonly waitsFor: number
  /** Children spawned after the wait. */
  readonly after: number
  readonly fails: boolean
  /** Each attempt fails by chance; it may be tried again. */
  readonly flaky: boolean
  readonly exclusive: boolean
  /** It takes its daemon down with it. */
  readonly poisonous: boolean
  /** What its owner is asked to do about failures and time. */
  readonly policy: PolicyRequest
  /** Characters of padding in its result, to fill frames. */
  readonly padding: number
}

/** Form of a job's tree. */
export interface TreePlan {
  readonly depth: number
  readonly fanOut: number
  /** Chance of a failure. */
  readonly failing: number
  readonly rare: number
  /** Chances of a task that may be tried again, that must not overlap with itself, that has little time. */
  readonly flaky: number
  readonly exclusive: number
  readonly hasty: number
  /** The first child of the root task kills every daemon that runs it. */
  readonly poison: boolean
  /** The first child of the root task returns a result of this many characters. */
  readonly padding: number
}

export interface ChildResult {
  readonly outcome: string
  readonly result: unknown
}

export interface TaskResult {
  readonly sum: number
  readonly padding: string
  /** Fencing token of the attempt. */
  readonly token: string
}

/** The task tree of one job. */
export class TaskTree {
  readonly #seed: number
  readonly #job: number
  readonly #plan: TreePlan
  readonly #shapes = new Map<string, TaskShape>()
  readonly #paths: string[] = []
  #sequential: ReturnType<TaskTree['resultOf']> | undefined

  constructor(seed: number, job: number, plan: TreePlan) {
    this.#seed = seed
    this.#job = job
    this.#plan = plan
    this.#walk('0')
  }

  /** Paths of all tasks, parents before children. */
  get paths(): readonly string[] {
    return this.#paths
  }

  shape(path: string): TaskShape {
    const known = this.#shapes.get(path)
    if (known !== undefined) return known
    const random = new SeededRandom(this.#seed, 'task', this.#job, path)
    const { depth, fanOut, rare, padding } = this.#plan
    const inner = path.split('.').length <= depth
    const first = inner ? random.int(fanOut + 1) : 0
    const shape: TaskShape = {
      capability: random.chance(rare) ? RARE_CAPABILITY : COMMON_CAPABILITY,
      first: path === '0' && inner ? Math.max(1, first) : first,
      waitsFor: random.chance(0.5) ? random.int(first + 1) : 0,
      after: inner && random.chance(0.2) ? 1 : 0,
      ...this.#temper(random, path),
      poisonous: this.#plan.poison && path === POISONOUS_PATH,
      padding: path === '0.0' ? padding : 0
    }
    this.#shapes.set(path, shape)
    return shape
  }

  #temper(random: SeededRandom, path: string): Pick<TaskShape, 'fails' | 'flaky' | 'exclusive' | 'policy'> {
    const { failing, exclusive, flaky, hasty } = this.#plan
    const traits = { fails: random.chance(failing), flaky: random.chance(flaky), exclusive: random.chance(exclusive) }
    const policy: PolicyRequest = {}
    if (traits.exclusive) policy.exclusive = true
    if (traits.flaky) policy.retry = { attempts: 6, backoffMs: 10 + random.int(90) }
    if (path !== '0' && random.chance(hasty)) policy.deadlineMs = 200 + random.int(3_000)
    return { ...traits, fails: traits.fails && !traits.flaky, policy }
  }

  /** The result of a task that has seen these ends of the children that it waited for. */
  resultOf(path: string, waited: readonly ChildResult[], token: string): TaskResult {
    let sum = hashOf(path)
    for (const { outcome, result } of waited) sum = (Math.imul(sum, 31) + numberOf(outcome, result)) >>> 0
    return { sum, padding: 'x'.repeat(this.shape(path).padding), token }
  }

  /** Result of the root task when one process does everything in turn. */
  sequentialResult(): TaskResult {
    this.#sequential ??= this.#sequentialOf('0')
    return this.#sequential
  }

  #sequentialOf(path: string): TaskResult {
    const waited: ChildResult[] = []
    for (let index = 0; index < this.shape(path).waitsFor; index += 1) {
      const child = `${path}.${index}`
      const outcome = this.shape(child).fails ? 'failed' : 'completed'
      waited.push({ outcome, result: this.#sequentialOf(child) })
    }
    return this.resultOf(path, waited, '')
  }

  #walk(path: string): void {
    this.#paths.push(path)
    const { first, after } = this.shape(path)
    for (let index = 0; index < first + after; index += 1) this.#walk(`${path}.${index}`)
  }
}

function numberOf(outcome: string, result: unknown): number {
  if (outcome !== 'completed') return outcome === 'failed' ? 7 : 13
  return typeof result === 'object' && result !== null && 'sum' in result ? Number(result.sum) : 0
}

function hashOf(path: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < path.length; index += 1) hash = Math.imul(hash ^ path.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
