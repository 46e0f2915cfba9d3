/** What can be asked for its figures: a client of a daemon. */
export interface Metered {
  metrics(): Promise<string>
}

/** Frames of jobs that these daemons have sent to other daemons since they started, by kind. */
export async function frameCounts(clients: readonly Metered[]): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const texts = await Promise.all(clients.map(client => client.metrics()))
  for (const line of texts.join('\n').split('\n')) {
    const [, kind, count] = /^starling_job_frames_sent_total\{kind="([^"]*)"\} (\d+)/.exec(line) ?? []
    if (kind !== undefined) counts.set(kind, (counts.get(kind) ?? 0) + Number(count))
  }
  return counts
}

/** Frames of these kinds, or of all, that were sent between two counts. */
export function framesBetween(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  kinds: readonly string[] = [...after.keys()]
): number {
  return kinds.reduce((sum, kind) => sum + (after.get(kind) ?? 0) - (before.get(kind) ?? 0), 0)
}
