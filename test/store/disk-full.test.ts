import { execFileSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { granted, jobId } from '../helpers/journal-samples.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'
import { openJournal } from './helpers.ts'

const mountable = process.platform === 'linux' && process.getuid?.() === 0 && canMount()

function canMount(): boolean {
  if (!existsSync('/proc/self/status')) return false
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    // No right to mount, as in most containers: the tests below are skipped and say so in their title.
    return false
  }
}

describe.skipIf(!mountable)('on a full disk (needs root and the right to mount a tmpfs)', () => {
  let mount: string
  beforeEach(() => {
    mount = temporaryDirectory()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount])
  })
  afterEach(() => execFileSync('umount', [mount]))

  test('the commit that does not fit is rejected, the ones before are kept, and a restart with space goes on', async () => {
    const path = join(mount, 'starling.db')
    const open = openJournal(path)
    writeFileSync(join(mount, 'ballast'), Buffer.alloc(300_000))
    const record = (number: number) => ({ ...granted(number), peer: 'x'.repeat(20_000) })
    let acknowledged = 0
    let failure: unknown
    while (failure === undefined && acknowledged < 1_000) {
      await open.journal
        .commit([{ kind: 'record', job: jobId(1), record: record(acknowledged + 1) }])
        .then(() => {
          acknowledged += 1
        })
        .catch(error => {
          failure = error
        })
    }
    expect(failure).toMatchObject({ code: 'STORAGE_FAILED' })
    expect(acknowledged).toBeGreaterThan(5)
    expect([...open.journal.replay()]).toHaveLength(acknowledged)
    rmSync(join(mount, 'ballast'))
    await expect(open.journal.commit([])).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    open.close()

    const again = openJournal(path)
    expect([...again.journal.replay()].map(entry => entry.record)).toHaveLength(acknowledged)
    await again.journal.commit([{ kind: 'record', job: jobId(1), record: granted(acknowledged + 1) }])
    expect([...again.journal.replay()]).toHaveLength(acknowledged + 1)
    again.close()
  })
})
