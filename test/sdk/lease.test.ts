import { expect, test } from 'vitest'
import { connect, type WorkerContext } from '../../src/sdk/index.ts'
import { afterTest, serve } from '../helpers/control-fixture.ts'
import { recordingLogger } from '../helpers/recording-logger.ts'

/** A worker whose handler resolves with the time at which its signal aborts. */
async function working() {
  const fixture = await serve()
  const mesh = await connect({ socket: fixture.socketPath, logger: recordingLogger() })
  afterTest(() => mesh.close())
  const aborted = Promise.withResolvers<number>()
  const handler = ({ signal }: WorkerContext) =>
    new Promise(resolve => {
      signal.addEventListener('abort', () => {
        aborted.resolve(performance.now())
        resolve(null)
      })
    })
  await mesh.work('build', (_, context) => handler(context))
  const session = fixture.api.sessions[0]
  if (session === undefined) throw new Error('the worker has opened no session')
  return { session, aborted: aborted.promise }
}

test('a handler is aborted at the end of its lease, although the daemon does not say so', async () => {
  const { session, aborted } = await working()
  const began = performance.now()
  session.start('a1', 'build', null, 300)
  expect((await aborted) - began).toBeGreaterThanOrEqual(300)
})

test('news of its lease move the end, news of another job do not', async () => {
  const { session, aborted } = await working()
  const began = performance.now()
  session.start('a1', 'build', null, 300)
  session.worker.leases([{ jobId: 'job1', leftMs: 800 }])
  session.worker.leases([{ jobId: 'another', leftMs: 0 }])
  expect((await aborted) - began).toBeGreaterThanOrEqual(800)
})
