import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { addCampaign, type CampaignResult, emptyCampaign } from './campaign.ts'

/** Seeds that a worker takes at a time: some seconds' work, so that all end at about the same moment. */
const CHUNK_SEEDS = 50

export interface ChunkRequest {
  readonly from: number
  readonly to: number
  readonly hosts: number | undefined
}

export interface PoolOptions {
  readonly jobs: number
  readonly hosts?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called with everything so far whenever a part is done. */
  readonly progress?: (sum: CampaignResult) => void
}

/** Runs the schedules of seeds `from` .. `to` on `jobs` threads. What it comes to does not depend on their number. */
export async function runOnThreads(from: number, to: number, options: PoolOptions): Promise<CampaignResult> {
  const sum = emptyCampaign()
  let next = from
  const take = (): ChunkRequest | undefined => {
    if (next > to || options.signal?.aborted) return undefined
    const chunk = { from: next, to: Math.min(to, next + CHUNK_SEEDS - 1), hosts: options.hosts }
    next = chunk.to + 1
    return chunk
  }
  const add = (part: CampaignResult) => {
    addCampaign(sum, part)
    options.progress?.(sum)
  }
  const threads = Math.min(options.jobs, Math.ceil((to - from + 1) / CHUNK_SEEDS))
  await Promise.all(Array.from({ length: threads }, () => work(take, add)))
  sum.failures.sort((a, b) => a.seed - b.seed)
  return sum
}

function work(take: () => ChunkRequest | undefined, add: (part: CampaignResult) => void): Promise<void> {
  const worker = new Worker(mainFile())
  return new Promise<void>((resolve, reject) => {
    const go = () => {
      const chunk = take()
      if (chunk === undefined) resolve()
      else worker.postMessage(chunk)
    }
    worker.on('message', (part: CampaignResult) => {
      add(part)
      go()
    })
    worker.on('error', reject)
    go()
  }).finally(() => worker.terminate())
}

/** Beside this file, as source or compiled. */
function mainFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`./worker-main.${extension}`, import.meta.url))
}
