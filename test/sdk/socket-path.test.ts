import { expect, test } from 'vitest'
import { socketPath } from '../../src/sdk/socket-path.ts'
import { controlSocketPath } from '../../src/wire/places.ts'

const ALL = {
  STARLING_SOCKET: '/a/socket',
  STARLING_HOME: '/b',
  XDG_RUNTIME_DIR: '/c',
  XDG_STATE_HOME: '/d',
  HOME: '/e'
}

test.each([
  [ALL, '/a/socket'],
  [{ ...ALL, STARLING_SOCKET: '' }, '/b/run/starling.sock'],
  [{ ...ALL, STARLING_SOCKET: undefined, STARLING_HOME: '/b/' }, '/b/run/starling.sock'],
  [{ XDG_RUNTIME_DIR: '/c', XDG_STATE_HOME: '/d', HOME: '/e' }, '/c/starling/starling.sock'],
  [{ XDG_RUNTIME_DIR: 'relative', XDG_STATE_HOME: '/d', HOME: '/e' }, '/d/starling/run/starling.sock'],
  [{ XDG_STATE_HOME: 'relative', HOME: '/e' }, '/e/.local/state/starling/run/starling.sock'],
  [{ HOME: '/' }, '//.local/state/starling/run/starling.sock'],
  [{ HOME: '/e' }, '/e/.local/state/starling/run/starling.sock']
])('%j puts the socket at %s', (env, path) => {
  expect(controlSocketPath(env, 'linux')).toBe(path)
  expect(controlSocketPath(env, 'darwin')).toBe(path)
})

test('without any place the error says what to set', () => {
  expect(() => controlSocketPath({}, 'linux')).toThrow(
    expect.objectContaining({ code: 'HOME_UNUSABLE', hint: expect.stringContaining('STARLING_HOME') })
  )
})

test('on Windows it is a pipe of the home or the user', () => {
  expect(controlSocketPath({ USERNAME: 'Ada L' }, 'win32')).toBe('\\\\.\\pipe\\starling-Ada-L')
  expect(controlSocketPath({ USERNAME: 'a', STARLING_HOME: 'C:\\x y\\z' }, 'win32')).toBe(
    '\\\\.\\pipe\\starling-C-x-y-z'
  )
})

test('the environment of the process is the default', () => {
  expect(socketPath(undefined, 'linux')).toBe(controlSocketPath(process.env, 'linux'))
})
