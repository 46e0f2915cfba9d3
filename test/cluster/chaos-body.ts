import { appendFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { type ChaosInput, type ChaosResult, type ChaosTask, chaosTask, folded, workMs } from './chaos-tree.ts'

/** The capability as SDK workers serve it, and as a command; the two make the same of the same input. */
export const CHAOS_SDK = 'chaos-sdk'
export const CHAOS_COMMAND = 'chaos-command'

/** A body that lives says so this often, since one that is killed cannot say when. */
const BEAT_MS = 50

/** A line of a host's diary: a body began, lives, has ended, or was told to stop. */
export interface ChaosLine {
  readonly kind: 'begin' | 'beat' | 'end' | 'aborted'
  readonly job: string
  readonly path: string
  /** Fencing token of the attempt. */
  readonly token: string
  /** Wall clock, which all hosts share, just before the line was written. */
  readonly atMs: number
}

export interface ChaosBody {
  readonly job: string
  readonly input: ChaosInput
  readonly token: string
  readonly diary: string
  readonly signal: AbortSignal
  /** Adds a child; resolves when it is accepted, with the way to wait for its result. */
  spawn(child: ChaosTask, input: ChaosInput): Promise<() => Promise<ChaosResult>>
}

/** The work of one attempt, whatever executes it: works, spawns, works on, waits for what it has to fold. */
export async function chaosBody(body: ChaosBody): Promise<ChaosResult> {
  const { input, token, signal } = body
  const { seed, path } = input
  note(body, 'begin')
  const beats = setInterval(() => note(body, 'beat'), BEAT_MS)
  try {
    const [before, after] = workMs(seed, path, token)
    await setTimeout(before, undefined, { signal })
    const results: (() => Promise<ChaosResult>)[] = []
    for (const child of chaosTask(seed, path).children) {
      const result = await body.spawn(child, { seed, path: child.path })
      if (!child.detached) results.push(result)
    }
    await setTimeout(after, undefined, { signal })
    const folds = await Promise.all(results.map(result => result()))
    const value = folded(
      seed,
      path,
      folds.map(result => result.value)
    )
    note(body, 'end')
    return { path, value }
  } catch (error) {
    note(body, 'aborted')
    throw error
  } finally {
    clearInterval(beats)
  }
}

function note({ job, input, token, diary }: ChaosBody, kind: ChaosLine['kind']): void {
  const line: ChaosLine = { kind, job, path: input.path, token, atMs: Date.now() }
  appendFileSync(diary, `${JSON.stringify(line)}\n`)
}
