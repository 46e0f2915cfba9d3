import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Home, prepareHome, resolveHome } from '../../src/daemon/home.ts'
import { controlSocketPath } from '../../src/wire/places.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

const uid = process.getuid?.()
const isRoot = uid === 0

describe('places', () => {
  test('STARLING_HOME holds everything', () => {
    expect(
      resolveHome({ STARLING_HOME: '/srv/a', HOME: '/home/u', XDG_RUNTIME_DIR: '/run/user/1' }, 1, 'linux')
    ).toEqual({
      config: '/srv/a/config.yaml',
      state: '/srv/a',
      database: '/srv/a/starling.db',
      identity: '/srv/a/identity',
      cache: '/srv/a/cache',
      socket: '/srv/a/run/starling.sock',
      lock: '/srv/a/lock',
      logs: '/srv/a/logs/starling.log',
      uid: 1,
      platform: 'linux'
    })
  })

  test('without it the XDG variables say where', () => {
    const env = {
      HOME: '/home/u',
      XDG_CONFIG_HOME: '/x/config',
      XDG_STATE_HOME: '/x/state',
      XDG_CACHE_HOME: '/x/cache',
      XDG_RUNTIME_DIR: '/run/user/1'
    }
    expect(resolveHome(env, 1, 'linux')).toMatchObject({
      config: '/x/config/starling/config.yaml',
      database: '/x/state/starling/starling.db',
      cache: '/x/cache/starling',
      socket: '/run/user/1/starling/starling.sock'
    })
  })

  test('without those it is below HOME, the socket too', () => {
    expect(resolveHome({ HOME: '/home/u' }, 1, 'linux')).toMatchObject({
      config: '/home/u/.config/starling/config.yaml',
      state: '/home/u/.local/state/starling',
      cache: '/home/u/.cache/starling',
      socket: '/home/u/.local/state/starling/run/starling.sock'
    })
  })

  test('empty variables and relative XDG paths count as unset', () => {
    const env = {
      HOME: '/home/u',
      STARLING_HOME: '',
      XDG_CONFIG_HOME: 'here',
      XDG_STATE_HOME: '',
      XDG_RUNTIME_DIR: 'run'
    }
    expect(resolveHome(env, 1, 'linux')).toEqual(resolveHome({ HOME: '/home/u' }, 1, 'linux'))
  })

  test('a relative STARLING_HOME is meant from the working directory', () => {
    const home = resolveHome({ STARLING_HOME: 'mesh/a' }, 1, 'linux')
    expect(home.state).toBe(join(process.cwd(), 'mesh/a'))
    expect(home.socket).toBe(join(process.cwd(), 'mesh/a/run/starling.sock'))
  })

  test('the socket is where clients look for it', () => {
    for (const env of [
      { STARLING_HOME: '/srv/a' },
      { HOME: '/h' },
      { HOME: '/h', XDG_RUNTIME_DIR: '/run/user/1' },
      { STARLING_HOME: '/a', STARLING_SOCKET: '/b/s.sock' }
    ]) {
      expect(resolveHome(env, 1, 'linux').socket).toBe(controlSocketPath(env, 'linux'))
    }
  })

  test('without any variable there is no home', () => {
    expect(() => resolveHome({}, 1, 'linux')).toThrow(
      expect.objectContaining({ code: 'HOME_UNUSABLE', hint: expect.stringContaining('STARLING_HOME') })
    )
  })
})

describe('preparing', () => {
  let root: string
  let home: Home

  beforeEach(() => {
    root = temporaryDirectory()
    home = resolveHome({ STARLING_HOME: join(root, 'deep', 'home') }, uid, process.platform)
  })

  const unusable = (...words: string[]) =>
    expect.objectContaining({
      code: 'HOME_UNUSABLE',
      message: expect.stringMatching(new RegExp(words.map(word => `(?=.*${word.replaceAll('.', '\\.')})`).join(''))),
      hint: expect.stringMatching(/\S/)
    })

  test('makes every directory with mode 0700, whatever the umask, and may be repeated', () => {
    const umask = process.umask(0)
    try {
      prepareHome(home)
      prepareHome(home)
    } finally {
      process.umask(umask)
    }
    for (const directory of [home.state, home.cache, dirname(home.logs), dirname(home.socket)]) {
      expect(statSync(directory).mode & 0o777, directory).toBe(0o700)
    }
  })

  test('closes a directory of its own that others could read', () => {
    mkdirSync(dirname(home.socket), { recursive: true })
    chmodSync(home.state, 0o755)
    chmodSync(dirname(home.socket), 0o755)
    prepareHome(home)
    expect(statSync(home.state).mode & 0o777).toBe(0o700)
    expect(statSync(dirname(home.socket)).mode & 0o777).toBe(0o700)
  })

  test('leaves the mode of a foreign directory that STARLING_SOCKET names', () => {
    const other = join(root, 'other')
    mkdirSync(other)
    chmodSync(other, 0o755)
    prepareHome(
      resolveHome({ STARLING_HOME: home.state, STARLING_SOCKET: join(other, 's.sock') }, uid, process.platform)
    )
    expect(statSync(other).mode & 0o777).toBe(0o755)
  })

  for (const mode of [0o770, 0o720, 0o702, 0o777, 0o1777]) {
    test(`refuses a directory with mode ${mode.toString(8)}`, () => {
      mkdirSync(home.state, { recursive: true })
      chmodSync(home.state, mode)
      expect(() => prepareHome(home)).toThrow(unusable(home.state, 'written by other'))
    })
  }

  test('refuses the directory of the socket when others can write to it', () => {
    mkdirSync(dirname(home.socket), { recursive: true })
    chmodSync(dirname(home.socket), 0o730)
    expect(() => prepareHome(home)).toThrow(unusable(dirname(home.socket), 'written by other'))
  })

  test.skipIf(!isRoot)('refuses a directory of another user (needs root to make one)', () => {
    mkdirSync(home.state, { recursive: true })
    chownSync(home.state, 12_345, 12_345)
    expect(() => prepareHome(home)).toThrow(unusable(home.state, 'uid 12345'))
  })

  test('refuses a directory that belongs to somebody else than the daemon', () => {
    prepareHome(home)
    const other = { ...home, uid: (uid ?? 0) + 1 }
    expect(() => prepareHome(other)).toThrow(unusable(home.state, 'another user'))
  })

  test('refuses a symbolic link, also one to a good directory', () => {
    const target = join(root, 'target')
    mkdirSync(target, { mode: 0o700 })
    mkdirSync(dirname(home.state), { recursive: true })
    symlinkSync(target, home.state)
    expect(() => prepareHome(home)).toThrow(unusable(home.state, 'symbolic link'))
  })

  test('refuses what is no directory', () => {
    mkdirSync(dirname(home.state), { recursive: true })
    writeFileSync(home.state, '')
    expect(() => prepareHome(home)).toThrow(unusable(home.state))
  })

  test.skipIf(isRoot)('refuses a directory that it may not write (root may)', () => {
    mkdirSync(home.state, { recursive: true })
    chmodSync(home.state, 0o500)
    expect(() => prepareHome(home)).toThrow(unusable(home.state))
  })

  for (const { platform, limit } of [
    { platform: 'linux', limit: 107 },
    { platform: 'darwin', limit: 103 }
  ]) {
    test(`takes a socket path of ${limit} bytes on ${platform}, and no longer one`, () => {
      const padding = limit - Buffer.byteLength(join(root, '/run/starling.sock')) - 1
      const fits = resolveHome({ STARLING_HOME: join(root, 'x'.repeat(padding)) }, uid, platform)
      expect(Buffer.byteLength(fits.socket)).toBe(limit)
      prepareHome(fits)
      const tooLong = resolveHome({ STARLING_HOME: join(root, `${'x'.repeat(padding - 1)}\u00e4`) }, uid, platform)
      expect(() => prepareHome(tooLong)).toThrow(unusable(tooLong.socket, String(limit + 1), String(limit)))
      expect(() => prepareHome(tooLong)).toThrow(
        expect.objectContaining({ hint: expect.stringContaining('STARLING_HOME') })
      )
    })
  }

  test('looks for no directory of a Windows pipe, and for no length', () => {
    const windows = resolveHome({ STARLING_HOME: join(root, 'x'.repeat(200)) }, undefined, 'win32')
    expect(windows.socket).toMatch(/^\\\\\.\\pipe\\starling-/)
    prepareHome(windows)
  })
})
