import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type CliResult, type TestDaemon, until, useDaemons } from './daemons.ts'

/** Limit of an input. */
const INPUT_BYTES_MAX = 1024 * 1024

const daemons = useDaemons('file')
let alice: TestDaemon

beforeAll(async () => {
  const capabilities = {
    echo: { command: ['cat'] },
    length: { command: ['sh', '-c', 'wc -c'] },
    never: { command: ['sleep', '1000'], slots: 1 }
  }
  alice = await daemons.start('alice', { capabilities })
}, 60_000)

/** Runs `starling ARGS`, which must be refused with `code`, say all of `words` and a hint, and leave no job behind. */
async function refused(
  args: readonly string[],
  code: number,
  words: readonly string[],
  stdin = ''
): Promise<CliResult> {
  const before = (await alice.client.jobs()).length
  const result = await alice.cli(args, { stdin })
  expect(result.code, result.stderr).toBe(code)
  expect(result.stderr).toContain('error: ')
  expect(result.stderr).toContain('hint: ')
  for (const word of words) expect(result.stderr).toContain(word)
  expect(result.stdout).toBe('')
  expect(await alice.client.jobs()).toHaveLength(before)
  return result
}

/** Runs `starling up` on `home`, which must be refused with `code` and say all of `words`. */
async function upRefused(
  home: string,
  code: number,
  words: readonly string[],
  flags: readonly string[] = []
): Promise<CliResult> {
  const up = daemons.run(['up', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', ...flags], { home })
  const result = await up.ended
  expect(result.code, result.stderr).toBe(code)
  expect(result.stderr).toContain('hint: ')
  for (const word of words) expect(result.stderr).toContain(word)
  return result
}

describe('a submission', () => {
  test('of an unknown capability says what was asked and what there is', async () => {
    await refused(['run', 'ecko', 'hello'], 6, ['"ecko"', 'echo, length, never'])
    await refused(['submit', 'ecko', 'hello'], 6, ['"ecko"'])
  })

  test('for an unknown peer says so', async () => {
    await refused(['run', 'echo', 'hello', '--on', 'nobody'], 2, ['no peer "nobody"'])
  })

  test('of exactly 1 MiB works, of one byte more is refused', async () => {
    const ofBytes = (bytes: number) => `{"t":"${'x'.repeat(bytes - 8)}"}`
    const run = await alice.cli(['run', 'length', '-', '--json'], { stdin: ofBytes(INPUT_BYTES_MAX) })
    expect(run.code, run.stderr).toBe(0)
    expect((JSON.parse(run.stdout) as { result: number }).result).toBeGreaterThan(INPUT_BYTES_MAX)
    await refused(['run', 'length', '-'], 2, [`${INPUT_BYTES_MAX} bytes`, 'file'], ofBytes(INPUT_BYTES_MAX + 1))
    const direct = alice.client.submit({ capability: 'length', input: JSON.parse(ofBytes(INPUT_BYTES_MAX + 1)) })
    await expect(direct).rejects.toMatchObject({ code: 'INPUT_TOO_LARGE' })
  })

  test('of broken JSON names the place', async () => {
    await refused(['run', 'echo', '{"dir": src}'], 2, ['not valid JSON', 'line 1, column 9'])
  })

  test('under an id that another one had is refused, the same one is the same job', async () => {
    const first = await alice.cli(['submit', 'echo', '"one"', '--id', 'nightly', '--json'])
    const again = await alice.cli(['submit', 'echo', '"one"', '--id', 'nightly', '--json'])
    expect(JSON.parse(first.stdout)).toMatchObject({ existing: false })
    const { id } = JSON.parse(first.stdout) as { id: string }
    expect(JSON.parse(again.stdout)).toMatchObject({ id, existing: true })
    await refused(['submit', 'echo', '"two"', '--id', 'nightly'], 9, ['"nightly"', 'another submission'])
    await refused(['submit', 'length', '"one"', '--id', 'nightly'], 9, ['"nightly"'])
  })

  test('twenty times at once under one id makes one job', async () => {
    const request = { capability: 'echo', input: 'x', id: 'at-once' }
    const all = await Promise.all(Array.from({ length: 20 }, () => alice.client.submit(request)))
    expect(new Set(all.map(({ id }) => id)).size).toBe(1)
    expect(all.filter(({ existing }) => !existing)).toHaveLength(1)
  })
})

describe('an id', () => {
  test('may be cut to four characters, not to three', async () => {
    const { id } = await alice.client.submit({ capability: 'echo', input: 'x' })
    await alice.client.waitForJob(id)
    const short = await alice.cli(['job', id.slice(0, 3)])
    expect(short.code).toBe(2)
    expect(short.stderr).toContain('at least 4 characters')
    const shown = await alice.cli(['job', id.slice(0, 12), '--json'])
    expect(JSON.parse(shown.stdout)).toMatchObject({ id, verdict: 'completed' })
  })

  test('that begins like two tasks is refused and both are named', async () => {
    const mesh = await alice.mesh()
    await mesh.work('pair', async (_, context) => {
      await context.spawn('echo')
    })
    const { id } = await (await mesh.submit('pair')).completion()
    const result = await refused(['logs', id], 2, [`"${id}" matches 2 tasks`])
    for (const task of [`${id}.0`, `${id}.0.0`]) expect(result.stderr).toContain(task)
    const problem = await alice.cli(['logs', id, '--json'])
    expect(JSON.parse(problem.stdout)).toMatchObject({ code: 'AMBIGUOUS_ID' })
  })

  test('that begins like two peers is refused and both are named', async () => {
    // All ids of Ed25519 keys begin alike.
    const bob = await daemons.start('bob', { join: (await alice.client.createToken()).token })
    await until('alice sees bob', async () => (await alice.client.peers()).length === 2)
    const result = await refused(['run', 'echo', 'x', '--on', '12D3'], 2, ['"12D3" matches 2 peers'])
    expect(result.stderr).toContain(alice.ready.peerId)
    expect(result.stderr).toContain(bob.ready.peerId)
  })
})

describe('a token', () => {
  test('that is used up lets nobody in', async () => {
    const { token } = await alice.client.createToken()
    await daemons.start('carol', { join: token })
    await upRefused(daemons.directory(), 7, ['token'], ['--join', token])
  })

  test('that has expired lets nobody in', async () => {
    const { token, expiresAt } = await alice.client.createToken({ ttlMs: 1_000 })
    await until('it has expired', () => Date.now() > Date.parse(expiresAt))
    await upRefused(daemons.directory(), 7, ['token', 'expired'], ['--join', token])
  })

  test('that was damaged on the way is no token', async () => {
    const { token } = await alice.client.createToken()
    await upRefused(daemons.directory(), 2, ['token is damaged'], ['--join', token.slice(0, -3)])
  })
})

describe('a configuration', () => {
  const write = (text: string) => {
    const home = daemons.directory()
    writeFileSync(join(home, 'config.yaml'), text)
    return home
  }

  test('with an unknown key names file, line and key', async () => {
    const home = write('name: dave\nlisen: [/ip4/127.0.0.1/tcp/0]\n')
    await upRefused(home, 2, [`${home}/config.yaml:2:`, '"lisen"', 'did you mean "listen"'])
  })

  test('with a value of the wrong type says what is expected', async () => {
    const home = write('capabilities:\n  lint:\n    runtime: command\n    command: [make]\n    slots: many\n')
    await upRefused(home, 2, [`${home}/config.yaml:5:`, 'slots', 'whole number'])
    expect(existsSync(join(home, 'identity'))).toBe(false)
  })
})

describe('a home', () => {
  test('of a running daemon is not taken by a second one, which names the first', async () => {
    await upRefused(alice.home, 9, [`pid ${alice.ready.pid}`, 'starling status'])
    const detached = await alice.cli(['up', '--detach', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'])
    expect(detached.code).toBe(9)
    expect(detached.stderr).toContain(`pid ${alice.ready.pid}`)
    expect(await alice.client.status()).toMatchObject({ self: { pid: alice.ready.pid } })
  })

  test('that others can write is refused', async () => {
    const home = daemons.directory()
    chmodSync(home, 0o777)
    await upRefused(home, 2, [home, 'other users', `chmod 700 ${home}`])
    expect(readdirSync(home)).toEqual([])
  })

  test('that is a file is refused', async () => {
    const home = join(daemons.directory(), 'file')
    writeFileSync(home, '')
    await upRefused(home, 2, [home])
  })

  test('whose socket would have too long a path is refused before anything is made', async () => {
    const parent = daemons.directory()
    const home = join(parent, 'x'.repeat(100))
    await upRefused(home, 2, ['too long', 'STARLING_HOME'])
    expect(readdirSync(parent)).toEqual([])
  })

  test.skipIf(process.getuid?.() === 0)(
    'that cannot be written is refused (not as root, who may write all)',
    async () => {
      const home = join(daemons.directory(), 'home')
      mkdirSync(home, { mode: 0o500 })
      await upRefused(home, 2, [home])
    }
  )
})

test('nobody listens: exit 3, and how to start a daemon', async () => {
  const nobody = await daemons.run(['status'], { home: daemons.directory() }).ended
  expect(nobody.code).toBe(3)
  expect(nobody.stderr).toContain('starling up')
})
