/** Program of a simulation thread: runs the seeds that it is sent, and answers with what they came to. */
import { parentPort } from 'node:worker_threads'
import { runCampaign } from './campaign.ts'
import type { ChunkRequest } from './workers.ts'

parentPort?.on('message', async ({ from, to, hosts }: ChunkRequest) => {
  parentPort?.postMessage(await runCampaign(from, to, { hosts }))
})
