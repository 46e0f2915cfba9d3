import type { JournalWrite } from '../../src/ports/journal.ts'
import { MemoryJournal } from './memory-journal.ts'

/** What happens on the disk of one daemon over all its boots. */
export class Disk {
  /** Every durable commit, in order. */
  readonly commits: (readonly JournalWrite[])[] = []
  /** True for the last commit that becomes durable; the daemon dies before it hears of it. `count`: commits with it. */
  last: (writes: readonly JournalWrite[], count: number) => boolean = () => false
  dead = false

  /** The journal of the next boot. */
  open(): CrashingJournal {
    this.dead = false
    this.last = () => false
    return new CrashingJournal(this)
  }
}

/** A journal whose daemon dies when a certain commit has become durable. */
export class CrashingJournal extends MemoryJournal {
  readonly #disk: Disk

  constructor(disk: Disk) {
    super(disk.commits.flat())
    this.#disk = disk
  }

  override commit(writes: readonly JournalWrite[]): Promise<void> {
    const disk = this.#disk
    if (disk.dead) return new Promise(() => undefined)
    disk.commits.push(structuredClone(writes))
    disk.dead = disk.last(writes, disk.commits.length)
    const written = super.commit(writes)
    return disk.dead ? new Promise(() => undefined) : written
  }
}
