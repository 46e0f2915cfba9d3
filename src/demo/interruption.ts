import type { BodyTally } from './body-tally.ts'
import type { Pool, PoolMember } from './pool.ts'

/** One daemon is killed when this share of the tasks has begun. */
const KILLED_AFTER_SHARE = 1 / 3

/** What became of a job of which one host was killed in the middle. */
export interface Interruption {
  /** Name of the killed daemon; undefined: the job was over before a third of its tasks had begun. */
  readonly killed: string | undefined
  /** Tasks that had begun when it was killed, on all daemons, and those of them that ran on the killed one. */
  readonly begunBefore: number
  readonly interrupted: number
  /** Bodies that were begun although one of the same task had begun before. */
  readonly again: number
  /** From the kill until the first daemon's view of the killed one changed; until the first task was begun again. */
  readonly noticedMs: number | undefined
  readonly againAfterMs: number | undefined
}

export interface InterruptionView {
  event(text: string): void
}

/**
 * Kills one of the daemons that did not submit, with its worker, as a power cut would, as soon as a third of `tasks` has
 * begun; tells what is seen of it. Begin it before the job is submitted; `over` resolves when that is over.
 */
export async function interrupt(
  pool: Pool,
  tally: BodyTally,
  tasks: number,
  over: Promise<unknown>,
  view: InterruptionView
): Promise<Interruption> {
  const ended = new AbortController()
  const end = over.then(
    () => ended.abort(),
    () => ended.abort()
  )
  const { signal } = ended
  await tally.until(() => tally.tasks >= tasks * KILLED_AFTER_SHARE && victimOf(pool, tally) !== undefined, signal)
  const victim = signal.aborted ? undefined : victimOf(pool, tally)
  if (victim === undefined) {
    await over
    view.event('the job was over before anybody could be killed: the tree is too small')
    return { ...NOBODY, begunBefore: tally.tasks }
  }
  const [begunBefore, interrupted] = [tally.tasks, tally.runningAt(victim.name)]
  pool.kill(victim.name)
  const killedAt = performance.now()
  const noticed = whenNoticed(pool, victim, Date.now(), signal)
  const since = () => performance.now() - killedAt
  view.event(`kill -9 of ${victim.name}: ${begunBefore} of ${tasks} tasks have begun, ${interrupted} of them run there`)
  const before = tally.again
  const noticing = noticed.then(seen => {
    if (!seen) return undefined
    const ms = since()
    const known = `${pool.members[0]?.name} takes ${victim.name} for gone`
    view.event(`${known}; what it was doing is safe to do again when its lease is over`)
    return ms
  })
  const repeating = tally
    .until(() => tally.again > before, signal)
    .then(() => {
      if (tally.again === before) return undefined
      const ms = since()
      view.event(`the lease of ${victim.name} is over: its tasks begin again on the others`)
      return ms
    })
  const [noticedMs, againAfterMs] = await Promise.all([noticing, repeating, end])
  return { killed: victim.name, begunBefore, interrupted, again: tally.again, noticedMs, againAfterMs }
}

const NOBODY = { killed: undefined, interrupted: 0, again: 0, noticedMs: undefined, againAfterMs: undefined } as const

/** Of the daemons that did not submit, the one that works on most; undefined while none of them works. */
function victimOf({ members }: Pool, tally: BodyTally): PoolMember | undefined {
  const [, ...others] = members
  const working = others.filter(({ name }) => tally.runningAt(name) > 0)
  return working.sort((a, b) => tally.runningAt(b.name) - tally.runningAt(a.name))[0]
}

/** True as soon as the first daemon takes `victim` for gone after `fromMs`; false when `signal` aborts before. */
async function whenNoticed(
  { members }: Pool,
  victim: PoolMember,
  fromMs: number,
  signal: AbortSignal
): Promise<boolean> {
  const [first] = members
  if (first === undefined) return false
  for await (const { type, subject, time } of first.client.events({ sinceId: '0', signal })) {
    const about = subject === victim.ready.peerId && Date.parse(time) >= fromMs
    if (about && /\.peer\.(suspect|dead)$/.test(type)) return true
  }
  return false
}
