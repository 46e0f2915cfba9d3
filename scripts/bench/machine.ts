import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'

/** What figures depend on besides the code: stored with each of them. */
export interface Machine {
  readonly cpu: string | undefined
  readonly cores: number
  readonly memoryBytes: number
  readonly kernel: string
  readonly node: string
  readonly loadBefore: readonly number[]
  readonly loadAfter: readonly number[]
}

/** Facts of this machine; `loadBefore`: load averages from before the measurement. */
export function machineFacts(loadBefore: readonly number[]): Machine {
  return {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    loadBefore,
    loadAfter: loadavg()
  }
}

/** One line about the machine and how busy it was. */
export function machineLine({ cores, cpu, node, loadBefore, loadAfter }: Machine): string {
  const loads = (of: readonly number[]) => of.map(load => load.toFixed(1)).join(' ')
  return `${cores} x ${cpu}, node ${node}; load average ${loads(loadBefore)} -> ${loads(loadAfter)}`
}

/** What was measured. */
export function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: import.meta.dirname,
      encoding: 'utf8'
    }).trim()
  } catch (error) {
    // A source archive has no history; the figures are worth keeping all the same.
    return `unknown (${error instanceof Error ? error.message.split('\n')[0] : String(error)})`
  }
}
