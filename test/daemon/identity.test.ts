import { execFile } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { promisify } from 'node:util'
import { beforeEach, expect, test } from 'vitest'
import { type Home, loadIdentity, prepareHome, resolveHome } from '../../src/daemon/home.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

let home: Home

beforeEach(() => {
  home = resolveHome({ STARLING_HOME: temporaryDirectory() }, process.getuid?.(), process.platform)
  prepareHome(home)
})

const unusable = (word: string) =>
  expect.objectContaining({
    code: 'HOME_UNUSABLE',
    message: expect.stringContaining(word),
    hint: expect.stringMatching(/\S/)
  })

test('the first start makes a seed of 32 random bytes, later ones find it', () => {
  const seed = loadIdentity(home)
  expect(seed).toBeInstanceOf(Uint8Array)
  expect(seed).toHaveLength(32)
  expect(new Set(seed).size).toBeGreaterThan(10)
  expect([...loadIdentity(home)]).toEqual([...seed])
})

test('the file can be read by its owner only, whatever the umask, and nothing else is left behind', () => {
  const umask = process.umask(0)
  try {
    loadIdentity(home)
  } finally {
    process.umask(umask)
  }
  expect(statSync(home.identity).mode & 0o777).toBe(0o600)
  expect(readdirSync(home.state).filter(name => name.startsWith('identity'))).toEqual(['identity'])
})

for (const mode of [0o640, 0o604, 0o620, 0o644]) {
  test(`a file with mode ${mode.toString(8)} is refused and left as it is`, () => {
    loadIdentity(home)
    const text = readFileSync(home.identity, 'latin1')
    chmodSync(home.identity, mode)
    expect(() => loadIdentity(home)).toThrow(unusable('open to other users'))
    expect(readFileSync(home.identity, 'latin1')).toBe(text)
  })
}

test('a file of another user is refused', () => {
  loadIdentity(home)
  expect(() => loadIdentity({ ...home, uid: (home.uid ?? 0) + 1 })).toThrow(unusable('another user'))
})

for (const { name, text } of [
  { name: 'empty', text: '' },
  { name: 'cut off', text: 'ab'.repeat(31) },
  { name: 'too long', text: 'ab'.repeat(33) },
  { name: 'not hexadecimal', text: 'xy'.repeat(32) }
]) {
  test(`a file that is ${name} is refused and not replaced`, () => {
    writeFileSync(home.identity, text, { mode: 0o600 })
    expect(() => loadIdentity(home)).toThrow(unusable('damaged'))
    expect(readFileSync(home.identity, 'latin1')).toBe(text)
  })
}

test('a symbolic link is refused, also to a good file', () => {
  loadIdentity(home)
  renameSync(home.identity, `${home.identity}.real`)
  symlinkSync(`${home.identity}.real`, home.identity)
  expect(() => loadIdentity(home)).toThrow(unusable('symbolic link'))
})

test('a dangling link is not followed to make a file elsewhere', () => {
  symlinkSync(`${home.state}-elsewhere`, home.identity)
  expect(() => loadIdentity(home)).toThrow(unusable('symbolic link'))
  expect(existsSync(`${home.state}-elsewhere`)).toBe(false)
})

test('a directory in its place is refused', () => {
  mkdirSync(home.identity, { mode: 0o700 })
  expect(() => loadIdentity(home)).toThrow(unusable(home.identity))
})

test('processes that make it at one time all get the same seed', async () => {
  const script = `
    import { loadIdentity, resolveHome } from ${JSON.stringify(new URL('../../src/daemon/home.ts', import.meta.url).href)}
    const home = resolveHome({ STARLING_HOME: ${JSON.stringify(home.state)} }, process.getuid?.(), process.platform)
    process.stdout.write(Buffer.from(loadIdentity(home)).toString('hex'))`
  const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  const seeds = (await Promise.all(Array.from({ length: 6 }, run))).map(({ stdout }) => stdout)
  expect(seeds[0]).toMatch(/^[0-9a-f]{64}$/)
  expect(new Set(seeds).size).toBe(1)
}, 30_000)
