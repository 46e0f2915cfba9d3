import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DaemonClient } from '../../src/sdk/index.ts'
import { until, useDaemons, within } from './daemons.ts'

const STARTERS = 20

const daemons = useDaemons('test')

test('of twenty daemons that start at once on one home exactly one runs, and the others name it', async () => {
  const home = daemons.directory()
  const flags = ['--json', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const starters = Array.from({ length: STARTERS }, () => daemons.run(['up', ...flags], { home }))
  let over = 0
  for (const { ended } of starters) ended.then(() => (over += 1))
  await until('all but one have ended', () => over >= STARTERS - 1, 60_000)
  const [winner, ...more] = starters.filter(({ child }) => child.exitCode === null)
  expect(more).toEqual([])
  const { pid } = winner?.child ?? {}
  for (const starter of starters) {
    if (starter === winner) continue
    const { code, stdout, stderr } = await starter.ended
    expect(code, stderr).toBe(9)
    expect(JSON.parse(stdout)).toMatchObject({ code: 'ALREADY_RUNNING', detail: expect.stringContaining(`pid ${pid}`) })
  }

  await until('the winner is ready', () => winner?.stdout().includes('"Ready"') ?? false, 30_000)
  const client = new DaemonClient({ socketPath: join(home, 'run', 'starling.sock') })
  expect(await client.status()).toMatchObject({ self: { pid } })
  client.close()
  winner?.child.kill('SIGTERM')
  expect(await within('the winner ends', 15_000, winner?.ended ?? Promise.reject())).toMatchObject({ code: 0 })
  expect(existsSync(join(home, 'run', 'starling.sock'))).toBe(false)
}, 120_000)
