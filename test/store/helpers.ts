import { join } from 'node:path'
import type { Clock } from '../../src/ports/clock.ts'
import type { Logger } from '../../src/ports/logger.ts'
import { Database } from '../../src/store/database.ts'
import { SqliteJournal } from '../../src/store/journal.ts'
import { type LoggedLine, recordingLogger } from '../helpers/recording-logger.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

export interface OpenJournal {
  readonly path: string
  readonly database: Database
  readonly journal: SqliteJournal
  readonly log: readonly LoggedLine[]
  close(): void
}

export function openJournal(path: string = join(temporaryDirectory(), 'starling.db')): OpenJournal {
  const logger = recordingLogger()
  const database = new Database(path, logger)
  const journal = makeJournal(database, logger)
  return {
    path,
    database,
    journal,
    log: logger.lines,
    close() {
      journal.close()
      database.close()
    }
  }
}

function makeJournal(database: Database, logger: Logger): SqliteJournal {
  try {
    return new SqliteJournal(database, logger)
  } catch (error) {
    database.close()
    throw error
  }
}

/** Lets the database grow by no page: SQLite answers the next growing write with SQLITE_FULL. */
export function fillDisk(database: Database): void {
  const pages = Number(database.prepare('PRAGMA page_count').get()?.page_count)
  database.prepare(`PRAGMA max_page_count = ${pages}`).get()
}

export function clockAt(wall: number): Clock & { wallMs: number } {
  return {
    wallMs: wall,
    now: () => 0,
    wall() {
      return this.wallMs
    },
    uptime: () => undefined,
    after: () => ({ cancel() {} })
  }
}
