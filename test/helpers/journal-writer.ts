/**
 * Child process of the crash test: `node journal-writer.ts DATABASE`. Continues the count of the records that it finds,
 * keeps commits of different sizes in flight, and prints the number of each record that was acknowledged.
 */
import { writeSync } from 'node:fs'
import { silentLogger } from '../../src/ports/logger.ts'
import { openStore } from '../../src/store/index.ts'
import { granted, jobId } from './journal-samples.ts'

const IN_FLIGHT = 8
const clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  uptime: () => undefined,
  after: () => ({ cancel() {} })
}
const store = openStore({ path: String(process.argv[2]), logger: silentLogger, clock })

let number = [...store.journal.replay()].length

async function write(): Promise<void> {
  for (;;) {
    const size = 1 + (number % 3)
    const numbers = Array.from({ length: size }, () => ++number)
    await store.journal.commit(numbers.map(n => ({ kind: 'record', job: jobId(n % 5), record: granted(n) })))
    writeSync(1, `${numbers.at(-1)}\n`)
  }
}

await Promise.all(Array.from({ length: IN_FLIGHT }, write))
