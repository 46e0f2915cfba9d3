import type { Frame, FrameKind } from '../../src/core/frames.ts'

const text = new TextEncoder()
const job = 'abcdefghijklmnopqrstuvwx23'
const peer = '12D3KooWA1ice'
const other = '12D3KooWBob11'
const boot = { incarnation: 3, nonce: '0123456789abcdef' }
const pendingFences = [{ fence: 4, peer: other, cause: 'lost' }] as const
const obligation = '7:42'

/** One frame of every kind with every field set, so that its bytes show where each field goes. */
export const EXAMPLES: { readonly [K in FrameKind]: Frame & { kind: K } } = {
  hello: {
    kind: 'hello',
    boot,
    advertisement: {
      peer,
      incarnation: 3,
      sequence: 9,
      name: 'alice',
      version: '0.1.0',
      capabilities: [{ name: 'build', slots: 4, free: 2 }],
      running: 2,
      queued: 1,
      addresses: ['/ip4/192.168.1.2/tcp/4001'],
      drain: 'draining'
    }
  },
  heartbeat: { kind: 'heartbeat', sequence: 300 },
  heartbeatAck: { kind: 'heartbeatAck', sequence: 300 },
  peers: { kind: 'peers', peers: [{ peer: other, addresses: ['/ip4/192.168.1.3/tcp/4001'] }] },
  goodbye: { kind: 'goodbye' },
  drain: { kind: 'drain', deadlineMs: 30_000, end: true },
  engage: { kind: 'engage', job, boot, lost: 5, sentAt: 1234.5 },
  grant: { kind: 'grant', job, engagement: 7, boot, sentAt: 1234.5, fenced: [{ peer: other, upTo: 4 }], pendingFences },
  stale: { kind: 'stale', job, boot, incarnation: 8 },
  renew: {
    kind: 'renew',
    boot,
    sentAt: 2345.5,
    items: [{ job, engagement: 7, running: 1, queued: 2, ended: 3, failed: 4, spawned: 5 }]
  },
  renewed: {
    kind: 'renewed',
    boot,
    sentAt: 2345.5,
    items: [{ job, engagement: 7, pendingFences }],
    lost: ['lostlost'],
    done: ['donedone']
  },
  leave: { kind: 'leave', job, engagement: 7, boot },
  done: { kind: 'done', job },
  fence: { kind: 'fence', job, fence: 4, peer: other, cause: 'left', yourEngagement: 7 },
  fenced: { kind: 'fenced', job, fence: 4, engagement: 7 },
  exclusive: { kind: 'exclusive', job, obligation },
  permit: { kind: 'permit', job, obligation },
  reserve: { kind: 'reserve', request: 12, job, root: peer, capability: 'build', count: 3 },
  reserved: { kind: 'reserved', request: 12, job, engagement: 7, slots: 2 },
  busy: { kind: 'busy', request: 12, job },
  release: { kind: 'release', request: 12, job, slots: 1, all: true },
  handoff: {
    kind: 'handoff',
    job,
    obligation,
    toEngagement: 6,
    ownerEngagement: 7,
    root: peer,
    request: 12,
    task: {
      path: '0.3.1',
      capability: 'build',
      input: text.encode('{"target":"all"}'),
      traceparent: '00-0af7-b7ad-01',
      policy: { exclusive: true, attemptsMax: 3, backoffMs: 250, deadlineMs: 60_000 }
    },
    attempts: [1, 2, 1]
  },
  settle: {
    kind: 'settle',
    job,
    obligation,
    outcome: 'failed',
    result: text.encode('null'),
    error: { code: 'TASK_FAILED', message: 'exit code 2' },
    parts: 1,
    records: [text.encode('record')],
    endedAgoMs: 12.5
  },
  settlePart: { kind: 'settlePart', job, obligation, index: 0, records: [text.encode('one'), text.encode('two')] },
  settled: { kind: 'settled', job, obligation },
  cancel: { kind: 'cancel', job, obligation, toEngagement: 6, ownerEngagement: 7 },
  relay: { kind: 'relay', job, from: peer, to: other, frame: { kind: 'settled', job, obligation } }
}
