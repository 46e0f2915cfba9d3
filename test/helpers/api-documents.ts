import type { Job, Peer, Status } from '../../src/wire/api/schemas.ts'

/** Documents of the control API with plausible contents, for tests that change what they are about. */

export const ALICE_ID = '12D3KooWAAAAAAbcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNP'
export const BOB_ID = '12D3KooWBBBBBBbcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNP'
export const JOB_ID = 'abcdefghijklmnopqrstuvwxyz'

export function statusDocument(changes: Partial<Status> = {}): Status {
  return {
    self: {
      peerId: ALICE_ID,
      name: 'alice',
      version: '0.1.0',
      pid: 4242,
      startedAt: '2026-11-22T10:00:00.000Z',
      listen: ['/ip4/127.0.0.1/tcp/4001'],
      uptimeMs: 185_000
    },
    swarm: { id: '0123456789abcdef', role: 'admin' },
    discovery: { mdns: { state: 'ok' } },
    peers: { alive: 2, suspect: 1, dead: 0 },
    jobs: { running: 3 },
    agents: { running: 4, paused: 0 },
    warnings: [],
    ...changes
  }
}

export function peerDocument(changes: Partial<Peer> = {}): Peer {
  return {
    peerId: BOB_ID,
    name: 'bob',
    self: false,
    state: 'alive',
    role: 'worker',
    capabilities: [{ name: 'lint', slots: 4, free: 1 }],
    load: { running: 3, queued: 2 },
    rttMs: 1.26,
    addresses: ['/ip4/10.0.0.2/tcp/4001'],
    drain: 'no',
    asOf: '2026-11-22T10:00:00.000Z',
    ...changes
  }
}

export function jobDocument(changes: Partial<Job> = {}): Job {
  return {
    id: JOB_ID,
    capability: 'lint',
    topology: 'mesh',
    verdict: 'completed',
    result: null,
    lost: [],
    tasks: { total: 2, completed: 2, failed: 0, lost: 0, cancelled: 0 },
    peers: [
      { peerId: ALICE_ID, name: 'alice', tasks: 1 },
      { peerId: BOB_ID, name: 'bob', tasks: 1 }
    ],
    timings: {
      submittedAt: '2026-11-22T10:00:00.000Z',
      lastTaskEndedAt: '2026-11-22T10:00:04.190Z',
      announcedAt: '2026-11-22T10:00:04.200Z',
      detectionMs: 10.4
    },
    ...changes
  }
}

export function runningJobDocument(changes: Partial<Job> = {}): Job {
  return jobDocument({
    verdict: 'running',
    tasks: { total: 7, completed: 2, failed: 0, lost: 0, cancelled: 0 },
    timings: { submittedAt: '2026-11-22T10:00:00.000Z', lastTaskEndedAt: null, announcedAt: null, detectionMs: null },
    progress: { running: 3, queued: 1, ended: 2, spawned: 7, waiting: 1, ageMs: 100 },
    ...changes
  })
}
