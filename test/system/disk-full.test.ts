import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until, useDaemons, writeConfig } from './daemons.ts'

const mountable = process.platform === 'linux' && process.getuid?.() === 0 && canMount()

function canMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    // No right to mount, as in most containers: the tests below are skipped and say so in their title.
    return false
  }
}

describe.skipIf(!mountable)('a daemon on a full disk (needs root and the right to mount a tmpfs)', () => {
  const daemons = useDaemons('test')

  /** A home on a disk of its own. */
  function smallHome(): string {
    const home = daemons.directory()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'tmpfs', home])
    daemons.later(() => execFileSync('umount', ['-l', home]))
    return home
  }

  /** Writes until nothing more fits; what is returned gives the space back when it is removed. */
  function fill(home: string): string {
    const path = join(home, 'ballast')
    for (let bytes = 256 * 1024; bytes >= 512; bytes = Math.floor(bytes / 2)) {
      try {
        for (;;) writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' })
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' })
      }
    }
    return path
  }

  test('refuses submissions with STORAGE_FAILED, changes nothing, can still be asked, and works again with space', async () => {
    const home = smallHome()
    const alice = await daemons.start('alice', { home, capabilities: { echo: { command: ['cat'] } } })
    const before = await alice.client.submit({ capability: 'echo', input: 'before', id: 'before' })
    expect(await alice.client.waitForJob(before.id)).toMatchObject({ verdict: 'completed' })
    const ballast = fill(home)

    const large = 'x'.repeat(200_000)
    const refused = await alice.cli(['submit', 'echo', '-', '--id', 'during', '--json'], { stdin: large })
    expect(refused.code, refused.stderr).toBe(1)
    expect(JSON.parse(refused.stdout)).toMatchObject({ kind: 'Problem', code: 'STORAGE_FAILED', status: 507 })
    // Nothing of it is there, and what is there can be read.
    expect((await alice.client.jobs()).map(({ id }) => id)).toEqual([before.id])
    expect(await alice.client.job(before.id, { items: true })).toMatchObject({ items: [{ outcome: 'completed' }] })
    expect((await alice.client.status()).warnings.join()).toContain('disk')
    expect(await alice.client.agents()).toEqual([])
    await expect(alice.client.submit({ capability: 'echo', input: 'x' })).rejects.toMatchObject({
      code: 'STORAGE_FAILED'
    })

    rmSync(ballast)
    expect((await alice.cli(['down'])).code).toBe(0)
    const again = await daemons.start('alice', { home })
    expect((await again.client.jobs()).map(({ id }) => id)).toEqual([before.id])
    const during = await again.client.submit({ capability: 'echo', input: 'during', id: 'during' })
    expect(during.existing).toBe(false)
    expect(await again.client.waitForJob(during.id)).toMatchObject({ verdict: 'completed' })
  }, 60_000)

  test('stops with exit 1 when a running job cannot be written, and ends the job after a start with space', async () => {
    const home = smallHome()
    writeConfig(home, { gated: { command: ['sh', '-c', 'until [ -e "$0" ]; do sleep 0.05; done', '{input}'] } })
    const alice = await daemons.start('alice', { home })
    const gate = join(daemons.directory(), 'gate')
    const { id } = await alice.client.submit({ capability: 'gated', input: gate })
    await until('the task runs', async () => (await alice.client.agents()).length === 1)
    const ballast = fill(home)
    await expect(alice.client.submit({ capability: 'gated', input: 'x'.repeat(200_000) })).rejects.toMatchObject({
      code: 'STORAGE_FAILED'
    })
    writeFileSync(gate, '')
    const { code, stderr } = await alice.process.ended
    expect(code).toBe(1)
    expect(stderr).toContain('STORAGE_FAILED')

    rmSync(ballast)
    const again = await daemons.start('alice', { home })
    const job = await again.client.waitForJob(id, { timeoutMs: 20_000 })
    expect(job.verdict).not.toBe('running')
    expect(job.tasks.total).toBe(1)
  }, 90_000)
})
