import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Body, NodeCluster } from '../helpers/node-cluster.ts'
import { golden, Transcript } from '../helpers/transcript.ts'
import { seeded } from '../helpers/virtual-time.ts'

const JOB = 'transcript'

/** Alice submits and has no slots; bob and carol have one each, a millisecond away from everybody. */
function scene(childMs: number): { cluster: NodeCluster; transcript: Transcript } {
  const body = (_input: unknown, path: string): Body => {
    if (path !== '0') return { durationMs: childMs, children: [] }
    return { durationMs: 10, waits: true, children: [{ capability: 'work', input: 'child' }] }
  }
  const cluster = new NodeCluster({ hosts: 3, slots: host => (host === 0 ? 0 : 1), random: seeded(7), body })
  cluster.run(() => false, 1_900)
  return { cluster, transcript: new Transcript(cluster) }
}

/** Runs to the announcement and a little further, so that the farewell is seen. */
function finish(cluster: NodeCluster, forMs = 30_000): void {
  expect(cluster.run(() => cluster.announcements.length > 0, forMs)).toBe(true)
  cluster.run(() => false, 5)
  expect(cluster.violations).toEqual([])
}

test('a job of two tasks on two hosts', () => {
  const { cluster, transcript } = scene(20)
  cluster.submit(0, JOB, 'root')
  finish(cluster)
  const text = transcript.text(
    'A job of two tasks on two hosts',
    `Alice submits a job. Its root task (0) runs on one host and spawns a child (0.0), which runs on the other one.
Late binding: hosts are asked for slots first; a task is bound to the host that has one free. A host that gets a
reservation for a job that it has no part in asks the root of the job for an engagement before it answers.
The child settles to its owner, the root task to alice: then nothing is owed any more, and the job is over.`
  )
  expect(text).toBe(golden('two-tasks', text))
})

test('a host is lost in the middle', () => {
  const { cluster, transcript } = scene(800)
  cluster.submit(0, JOB, 'root')
  cluster.run(() => false, 500)
  const child = cluster.hosts.findIndex(
    ({ peer }) => peer === cluster.executions.find(({ path }) => path === '0.0')?.peer
  )
  transcript.note(`${child === 1 ? 'bob' : 'carol'} is killed, while it runs 0.0`)
  cluster.kill(child)
  finish(cluster)
  expect(cluster.announcements[0]?.verdict).toBe('completed')
  const text = transcript.text(
    'A host is lost in the middle',
    `The host of the child is killed. Nobody believes it from the broken link alone: its lease must be over first, by the
clock of the root and with a margin. Then the root opens a fence. The owner of the child says that nothing that the dead
host owned is left with it, and issues the child again under a new name, as attempt 1.2: whatever still comes from
attempt 1.1 will not count.`
  )
  expect(text).toBe(golden('lost-host', text))
})

test('a cancel', () => {
  const { cluster, transcript } = scene(60_000)
  cluster.submit(0, JOB, 'root')
  cluster.run(() => false, 200)
  transcript.note('the user cancels the job')
  cluster.cancel(0, JOB)
  finish(cluster)
  expect(cluster.announcements[0]?.verdict).toBe('cancelled')
  const text = transcript.text(
    'A cancel',
    `The user cancels while both tasks run. The cancel goes down the tree, bodies are killed, and settles come up only when
those are gone: at the announcement nothing runs any more.`
  )
  expect(text).toBe(golden('cancel', text))
})

test('the description of the protocol shows the transcripts as they are', () => {
  const description = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  for (const name of ['two-tasks', 'lost-host', 'cancel']) expect(description).toContain(golden(name).trimEnd())
})

// Rewritten with STARLING_REWRITE_TRANSCRIPTS=1, on purpose only: they are the protocol as it is read.
test('transcripts show every kind of frame that has a place in them', () => {
  const shown = ['two-tasks', 'lost-host', 'cancel'].map(name => golden(name)).join('\n')
  for (const kind of [
    'reserve',
    'engage',
    'grant',
    'reserved',
    'handoff',
    'settle',
    'settled',
    'done',
    'fence',
    'fenced',
    'cancel',
    'renew'
  ]) {
    expect(shown).toMatch(new RegExp(`> \\w+ +${kind}\\b`))
  }
})
