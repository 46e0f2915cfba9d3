import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { CAPABILITIES_MAX, SLOTS_MAX } from '../../src/core/limits.ts'
import { type ConfigSources, loadConfig } from '../../src/daemon/config.ts'
import { CONFIG_BYTES_MAX } from '../../src/daemon/config-file.ts'
import { PROBLEMS_MAX } from '../../src/daemon/config-problems.ts'
import { LISTEN_ADDRESSES_MAX } from '../../src/daemon/config-schema.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

let directory: string
let path: string

beforeEach(() => {
  directory = temporaryDirectory()
  path = join(directory, 'config.yaml')
})

function load(yaml: string | undefined, sources: Partial<ConfigSources> = {}) {
  if (yaml !== undefined) writeFileSync(path, yaml)
  return loadConfig({ path, env: {}, ...sources })
}

/** Lines of the error, without the path of the file. */
function problems(yaml: string | undefined, sources: Partial<ConfigSources> = {}): string[] {
  try {
    load(yaml, sources)
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', hint: expect.stringMatching(/\S/) })
    return String((error as Error).message)
      .replaceAll(path, 'FILE')
      .split('\n')
  }
  return []
}

describe('a configuration', () => {
  test('that says nothing has the documented defaults', () => {
    const defaults = {
      name: hostname(),
      listen: ['/ip4/0.0.0.0/tcp/0'],
      discovery: { mdns: true, peers: [] },
      capabilities: [],
      log: { level: 'info' }
    }
    expect(load(undefined)).toEqual(defaults)
    expect(load('')).toEqual(defaults)
    expect(load('# nothing yet\n')).toEqual(defaults)
  })

  test('is read from YAML', () => {
    const config = load(
      `name: alice
listen: [/ip4/0.0.0.0/tcp/4001, '/ip6/::/tcp/4001']
discovery: { mdns: false, peers: [/dns/bob.example/tcp/4001, /ip4/192.0.2.1/tcp/1/p2p/12D3KooWGzBqYvQ5eDk8o1pQy7kq8mY6b1vYy6Zf] }
log: { level: debug }
capabilities:
  lint:
    runtime: command
    command: [npx, eslint, --format, json, .]
    cwd: /srv/checkout
    slots: 2
    timeout: 10m
    env: [LANGUAGE, ABSENT]
  build/all: { runtime: command, command: ['{input.path}'], timeout: 1500, env: { MODE: fast } }
`,
      { env: { LANGUAGE: 'en', OTHER: 'x' } }
    )
    expect(config).toEqual({
      name: 'alice',
      listen: ['/ip4/0.0.0.0/tcp/4001', '/ip6/::/tcp/4001'],
      discovery: {
        mdns: false,
        peers: ['/dns/bob.example/tcp/4001', '/ip4/192.0.2.1/tcp/1/p2p/12D3KooWGzBqYvQ5eDk8o1pQy7kq8mY6b1vYy6Zf']
      },
      log: { level: 'debug' },
      capabilities: [
        {
          name: 'lint',
          runtime: 'command',
          command: ['npx', 'eslint', '--format', 'json', '.'],
          cwd: '/srv/checkout',
          slots: 2,
          timeoutMs: 600_000,
          env: { LANGUAGE: 'en' }
        },
        {
          name: 'build/all',
          runtime: 'command',
          command: ['{input.path}'],
          cwd: undefined,
          slots: availableParallelism(),
          timeoutMs: 1_500,
          env: { MODE: 'fast' }
        }
      ]
    })
  })

  test('has directories relative to its file', () => {
    const config = load('capabilities: { a: { runtime: command, command: [x], cwd: work } }')
    expect(config.capabilities[0]?.cwd).toBe(join(directory, 'work'))
  })

  test('is frozen to its depth', () => {
    const config = load('capabilities: { a: { runtime: command, command: [x], env: { A: b } } }')
    const visit = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      expect(Object.isFrozen(value)).toBe(true)
      Object.values(value).forEach(visit)
    }
    visit(config)
    expect(config.capabilities[0]?.env).toEqual({ A: 'b' })
  })

  test('may be a symbolic link, and may use anchors', () => {
    writeFileSync(join(directory, 'real.yaml'), 'capabilities:\n  a: &a { runtime: command, command: [x] }\n  b: *a\n')
    symlinkSync(join(directory, 'real.yaml'), path)
    expect(load(undefined).capabilities.map(capability => capability.name)).toEqual(['a', 'b'])
  })
})

describe('precedence', () => {
  const yaml =
    'name: file\nlisten: [/ip4/127.0.0.1/tcp/1]\ndiscovery: { mdns: false, peers: [/ip4/10.0.0.1/tcp/1] }\nlog: { level: error }\n'
  const env = {
    STARLING_NAME: 'environment',
    STARLING_LISTEN: '/ip4/127.0.0.1/tcp/2, /ip4/127.0.0.1/tcp/3',
    STARLING_DISCOVERY_MDNS: 'true',
    STARLING_DISCOVERY_PEERS: '/ip4/10.0.0.2/tcp/1',
    STARLING_LOG_LEVEL: 'warn'
  }
  const flags = { name: 'flag', listen: ['/ip4/127.0.0.1/tcp/4'], peers: ['/ip4/10.0.0.3/tcp/1'], mdns: false }

  test('the file is stronger than the defaults', () => {
    expect(load(yaml)).toMatchObject({
      name: 'file',
      discovery: { mdns: false, peers: ['/ip4/10.0.0.1/tcp/1'] },
      log: { level: 'error' }
    })
  })

  test('the environment is stronger than the file', () => {
    expect(load(yaml, { env })).toMatchObject({
      name: 'environment',
      listen: ['/ip4/127.0.0.1/tcp/2', '/ip4/127.0.0.1/tcp/3'],
      discovery: { mdns: true, peers: ['/ip4/10.0.0.2/tcp/1'] },
      log: { level: 'warn' }
    })
  })

  test('flags are the strongest', () => {
    expect(load(yaml, { env, flags })).toMatchObject({
      name: 'flag',
      listen: ['/ip4/127.0.0.1/tcp/4'],
      discovery: { mdns: false, peers: ['/ip4/10.0.0.3/tcp/1'] },
      log: { level: 'warn' }
    })
  })

  test('a stronger source that says one key of a group leaves the others', () => {
    expect(load(yaml, { env: { STARLING_DISCOVERY_MDNS: '1' } }).discovery).toEqual({
      mdns: true,
      peers: ['/ip4/10.0.0.1/tcp/1']
    })
    expect(load(yaml, { flags: { peers: ['/ip4/10.0.0.3/tcp/1'] } }).discovery.mdns).toBe(false)
    expect(load(yaml, { flags: { name: undefined, mdns: undefined } })).toMatchObject({
      name: 'file',
      discovery: { mdns: false }
    })
  })

  test('an empty variable counts as unset', () => {
    const empty = Object.fromEntries(Object.keys(env).map(name => [name, '']))
    expect(load(yaml, { env: empty })).toEqual(load(yaml))
  })
})

describe('a mistake in the file is told with line, column and key', () => {
  const cases: readonly (readonly [name: string, yaml: string, expected: string])[] = [
    ['unknown key', 'name: a\n\nlisen: []\n', 'FILE:3:1: unknown key "lisen"; did you mean "listen"?'],
    [
      'unknown key without a near one',
      'zzzzzzzz: 1\n',
      'FILE:1:1: unknown key "zzzzzzzz"; valid keys are name, listen, discovery, capabilities, log'
    ],
    [
      'unknown nested key',
      'discovery:\n  mdns: true\n  peer: []\n',
      'FILE:3:3: unknown key "peer" in discovery; did you mean "peers"?'
    ],
    [
      'unknown key of a capability',
      'capabilities:\n  lint:\n    runtime: command\n    command: [x]\n    slot: 1\n',
      'FILE:5:5: unknown key "slot" in capabilities.lint; did you mean "slots"?'
    ],
    [
      'wrong type',
      'name: a\nlisten: /ip4/0.0.0.0/tcp/4001\n',
      'FILE:2:1: listen: expected a list, got the text "/ip4/0.0.0.0/tcp/4001"'
    ],
    [
      'yes for true',
      'discovery: { mdns: yes }\n',
      'FILE:1:14: discovery.mdns: expected true or false, got the text "yes"'
    ],
    ['number for text', 'name: 12\n', 'FILE:1:1: name: expected text, got 12 (write it in quotes)'],
    ['nothing', 'name:\n', 'FILE:1:1: name: expected text, got nothing'],
    [
      'wrong item of a list',
      'listen:\n  - /ip4/0.0.0.0/tcp/1\n  - tcp://x\n',
      'FILE:3:5: listen.1: expected a multiaddr to listen on, like /ip4/0.0.0.0/tcp/4001 or /ip6/::/tcp/0'
    ],
    ['a list as a whole', '- a\n', 'FILE:1:1: expected a map, got a list'],
    [
      'name with a space',
      'name: "a b"\n',
      'FILE:1:1: name: a name has no spaces, slashes, colons or commas, and is not empty'
    ],
    [
      'unknown level',
      'log: { level: trace }\n',
      'FILE:1:8: log.level: expected one of error, warn, info, debug, silent'
    ],
    [
      'no command',
      'capabilities:\n  c: { runtime: command }\n',
      'FILE:2:3: capabilities.c.command: missing; expected a list'
    ],
    [
      'empty command',
      'capabilities:\n  c: { runtime: command, command: [] }\n',
      'FILE:2:26: capabilities.c.command: expected the program and its arguments'
    ],
    [
      'no runtime',
      'capabilities:\n  c: { command: [x] }\n',
      'FILE:2:3: capabilities.c.runtime: missing; expected runtime: command'
    ],
    [
      'unknown runtime',
      'capabilities:\n  c: { runtime: docker, image: x }\n',
      'FILE:2:8: capabilities.c.runtime: unknown runtime "docker"; available: command'
    ],
    [
      'runtime of a later version',
      'capabilities:\n  review: { runtime: claude, slots: 1, prompt: "Review this change", model: m }\n',
      'FILE:2:13: capabilities.review.runtime: runtime claude is not available in this version; available: command'
    ],
    [
      'another runtime of a later version',
      'capabilities:\n  refactor: { runtime: acp, command: [opencode, acp] }\n',
      'FILE:2:15: capabilities.refactor.runtime: runtime acp is not available in this version; available: command'
    ],
    [
      'models of a later version',
      'name: a\nmodels: { anthropic: {} }\n',
      'FILE:2:1: key "models" is not available in this version'
    ],
    [
      'models of a capability',
      'capabilities:\n  s: { runtime: command, command: [x], models: [anthropic] }\n',
      'FILE:2:40: key "models" in capabilities.s is not available in this version'
    ],
    [
      'name of a capability',
      'capabilities:\n  Bad Name: { runtime: command, command: [x] }\n',
      'FILE:2:3: capabilities.Bad Name: a capability is named with a-z, 0-9 and . _ / - between them, at most 64 characters'
    ],
    ['capability that is no map', 'capabilities:\n  c: true\n', 'FILE:2:3: capabilities.c: expected a map, got true'],
    [
      'slots out of range',
      'capabilities:\n  c: { runtime: command, command: [x], slots: 0 }\n',
      'FILE:2:40: capabilities.c.slots: a capability has at least 1 slot'
    ],
    [
      'slots with a fraction',
      'capabilities:\n  c: { runtime: command, command: [x], slots: 1.5 }\n',
      'FILE:2:40: capabilities.c.slots: expected a whole number, got 1.5'
    ],
    [
      'timeout',
      'capabilities:\n  c: { runtime: command, command: [x], timeout: 10x }\n',
      'FILE:2:40: capabilities.c.timeout: "10x" is no duration; write it like 500ms, 30s, 10m or 2h'
    ],
    [
      'variable of the daemon',
      'capabilities:\n  c: { runtime: command, command: [x], env: [STARLING_TASK] }\n',
      'FILE:2:40: capabilities.c.env: STARLING_TASK is set by the daemon itself'
    ],
    [
      'variable that is none',
      'capabilities:\n  c: { runtime: command, command: [x], env: { "A=B": x } }\n',
      'FILE:2:40: capabilities.c.env: "A=B" is no name of a variable'
    ],
    [
      'prototype key',
      'capabilities:\n  __proto__: { runtime: command, command: [x] }\n',
      'FILE:2:3: "__proto__" cannot be a key'
    ]
  ]
  for (const [name, yaml, expected] of cases) {
    test(name, () => {
      expect(problems(yaml)).toEqual([expected])
    })
  }

  test('all mistakes are told at once, up to a bound', () => {
    expect(problems('nam: a\nlisten: 1\n')).toHaveLength(2)
    const many = (count: number) => Array.from({ length: count }, (_, index) => `unknown${index}: 1`).join('\n')
    expect(problems(many(PROBLEMS_MAX))).toHaveLength(PROBLEMS_MAX)
    expect(problems(many(PROBLEMS_MAX + 3)).slice(PROBLEMS_MAX)).toEqual(['and 3 more'])
  })
})

describe('a file that cannot be used', () => {
  test('is told with the place of what is no YAML', () => {
    expect(problems('name: a\nlisten: [1\nlog: {}\n')[0]).toMatch(/^FILE:[34]:\d+: /)
    expect(problems('name: a\nname: b\n')[0]).toMatch(/^FILE:2:1: /)
    expect(problems('name: !secret a\n')[0]).toMatch(/^FILE:1:7: /)
  })

  test('may not be a bomb of aliases', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level},`.repeat(9)}]`
    )
    expect(problems(`l0: &l0 [x]\n${levels.join('\n')}\n`)[0]).toMatch(/alias/i)
  })

  test('may not be written by everybody, since its commands run here', () => {
    writeFileSync(path, '')
    chmodSync(path, 0o666)
    expect(problems(undefined)).toEqual(['FILE can be written by everybody, and its commands run here'])
    chmodSync(path, 0o664)
    expect(problems(undefined)).toEqual([])
  })

  test('may not be a directory', () => {
    mkdirSync(path)
    expect(problems(undefined)[0]).toMatch(/^cannot read FILE: /)
  })

  test('may have CONFIG_BYTES_MAX bytes and no more', () => {
    expect(problems(`#${' '.repeat(CONFIG_BYTES_MAX - 1)}`)).toEqual([])
    expect(problems(`#${' '.repeat(CONFIG_BYTES_MAX)}`)[0]).toContain(`${CONFIG_BYTES_MAX + 1} bytes`)
  })

  test('must be UTF-8', () => {
    writeFileSync(path, Buffer.from([0x6e, 0xff, 0xfe]))
    expect(problems(undefined)[0]).toMatch(/^cannot read FILE: /)
  })
})

describe('a mistake elsewhere', () => {
  test('in a variable names it', () => {
    expect(problems(undefined, { env: { STARLING_DISCOVERY_MDNS: 'maybe' } })).toEqual([
      'environment variable STARLING_DISCOVERY_MDNS: discovery.mdns: expected true or false, got the text "maybe"'
    ])
    expect(problems(undefined, { env: { STARLING_LISTEN: '/ip4/0.0.0.0/tcp/1,4001' } })[0]).toMatch(
      /^environment variable STARLING_LISTEN: listen.1: /
    )
  })

  test('in a flag names it', () => {
    expect(problems(undefined, { flags: { name: 'a b' } })[0]).toMatch(/^flag --name: /)
    expect(problems(undefined, { flags: { listen: ['4001'] } })[0]).toMatch(/^flag --listen: /)
    expect(problems(undefined, { flags: { peers: ['bob'] } })[0]).toMatch(/^flag --peer: /)
  })

  test('an unknown STARLING_ variable is refused with the one that was meant', () => {
    expect(problems(undefined, { env: { STARLING_NAEM: 'a' } })).toEqual([
      'unknown environment variable STARLING_NAEM; did you mean STARLING_NAME?'
    ])
    expect(problems(undefined, { env: { STARLING_SOMETHING_ELSE: '' } })).toEqual([
      'unknown environment variable STARLING_SOMETHING_ELSE'
    ])
  })

  test('the variables that a task gets are no mistake, so that a task can start a daemon', () => {
    const env = {
      STARLING_TASK: 'x',
      STARLING_SOCKET: 'x',
      STARLING_ATTEMPT: '1',
      STARLING_JAIL: 'x',
      STARLING_HOME: '/x',
      PATH: '/bin'
    }
    expect(problems(undefined, { env })).toEqual([])
  })
})

describe('bounds', () => {
  const capabilities = (count: number) =>
    `capabilities:\n${Array.from({ length: count }, (_, index) => `  c${index}: { runtime: command, command: [x] }`).join('\n')}`
  const listen = (count: number) =>
    `listen: [${Array.from({ length: count }, (_, index) => `/ip4/127.0.0.1/tcp/${index}`).join(', ')}]`
  const slots = (count: number) => `capabilities: { c: { runtime: command, command: [x], slots: ${count} } }`

  test('each list has one, and is taken up to it', () => {
    expect(problems(capabilities(CAPABILITIES_MAX))).toEqual([])
    expect(problems(capabilities(CAPABILITIES_MAX + 1))).toEqual([
      `FILE:1:1: capabilities: more than ${CAPABILITIES_MAX} capabilities`
    ])
    expect(problems(listen(LISTEN_ADDRESSES_MAX))).toEqual([])
    expect(problems(listen(LISTEN_ADDRESSES_MAX + 1))).toEqual([
      `FILE:1:1: listen: more than ${LISTEN_ADDRESSES_MAX} addresses`
    ])
    expect(problems(slots(SLOTS_MAX))).toEqual([])
    expect(problems(slots(SLOTS_MAX + 1))[0]).toContain(`at most ${SLOTS_MAX}`)
  })
})

describe('addresses', () => {
  for (const address of ['/ip4/0.0.0.0/tcp/0', '/ip4/127.0.0.1/tcp/65535', '/ip6/::1/tcp/4001']) {
    test(`${address} can be listened on`, () => {
      expect(problems(undefined, { flags: { listen: [address] } })).toEqual([])
    })
  }
  for (const address of [
    '',
    '/ip4/256.0.0.1/tcp/1',
    '/ip4/::1/tcp/1',
    '/ip4/127.0.0.1/tcp/65536',
    '/ip4/127.0.0.1/udp/1',
    '/dns/a/tcp/1',
    '/ip4/127.0.0.1/tcp/1/ws',
    '/ip4/127.0.0.1/tcp'
  ]) {
    test(`"${address}" cannot be listened on`, () => {
      expect(problems(undefined, { flags: { listen: [address] } })).toHaveLength(1)
    })
  }
  for (const address of [
    '/ip4/10.0.0.1/tcp/0',
    '/dns/a b/tcp/1',
    '/ip4/10.0.0.1/tcp/1/p2p',
    '/ip4/10.0.0.1/tcp/1/p2p/0OIl',
    'bob:4001'
  ]) {
    test(`"${address}" is no peer`, () => {
      expect(problems(undefined, { flags: { peers: [address] } })).toHaveLength(1)
    })
  }
})
