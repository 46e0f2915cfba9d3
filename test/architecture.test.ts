import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

/** Which folder of src may import which, and why not more. A folder may always import itself. */
const RULES: Readonly<Record<string, { readonly may: readonly string[]; readonly why: string }>> = {
  core: { may: [], why: 'the protocol is pure: the simulator must be able to run it without anything else' },
  wire: { may: ['core'], why: 'bytes are understood here; who sends them does not matter' },
  ports: { may: ['core', 'wire'], why: 'contracts know no implementation' },
  engine: { may: ['core', 'wire', 'ports'], why: 'the engine drives the core over ports, whatever is behind them' },
  libp2p: { may: ['core', 'wire', 'ports'], why: 'adapters never know each other' },
  store: { may: ['core', 'wire', 'ports'], why: 'adapters never know each other' },
  runtimes: { may: ['core', 'wire', 'ports'], why: 'adapters never know each other' },
  control: { may: ['core', 'wire', 'ports'], why: 'the server serves an API; it must not reach around it' },
  sdk: { may: ['wire', 'ports'], why: 'programs that use the SDK must not load a daemon' },
  daemon: {
    may: ['core', 'wire', 'ports', 'engine', 'libp2p', 'store', 'runtimes', 'control'],
    why: 'the composition root'
  },
  demo: { may: ['sdk', 'daemon'], why: 'the demo is a user of the product' },
  testing: {
    may: ['core', 'wire', 'ports', 'engine', 'runtimes'],
    why: 'the simulator runs the real engine over simulated ports; of the runtimes it takes the times of their watchdog'
  },
  cli: { may: ['sdk', 'wire', 'demo'], why: 'the command line is a client like any other; only `up` starts a daemon' }
}

/** Single files that may do more than their folder. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  'src/cli/commands/up.ts': ['daemon'],
  'src/cli/commands/sim.ts': ['testing']
}

/** Packages that only one folder may import. */
const OWNED_PACKAGES: readonly { readonly pattern: RegExp; readonly folder: string; readonly why: string }[] = [
  {
    pattern: /^(libp2p$|@libp2p\/|@chainsafe\/libp2p|@multiformats\/)/,
    folder: 'libp2p',
    why: 'one adapter talks to the network'
  },
  {
    pattern: /^node:sqlite$/,
    folder: 'store,daemon',
    why: 'one adapter talks to the database; the home lock is an SQLite lock'
  },
  { pattern: /^(hono|@hono\/)/, folder: 'control', why: 'one adapter serves HTTP' },
  { pattern: /^commander$/, folder: 'cli', why: 'only the command line parses arguments' }
]

const FILE_LINES_MAX = 500
const ROOT = resolve(import.meta.dirname, '..')
const GENERATED = 'src/wire/generated/frames.ts'

interface Source {
  readonly path: string
  readonly text: string
  readonly imports: readonly string[]
}

const sources = filesBelow('src')
const tests = filesBelow('test')

describe('the architecture', () => {
  test('every folder of src has its rule', () => {
    const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter(entry => entry.isDirectory())
    expect(folders.map(({ name }) => name).sort()).toEqual(Object.keys(RULES).sort())
  })

  test('no folder imports what its rule forbids', () => {
    const broken: string[] = []
    for (const { path, imports } of sources) {
      const folder = path.split('/')[1] ?? ''
      const rule = RULES[folder]
      const may = [...(rule?.may ?? []), ...(EXCEPTIONS[path] ?? []), folder]
      for (const specifier of imports.filter(name => name.startsWith('.'))) {
        const target = relative(ROOT, resolve(ROOT, dirname(path), specifier)).split('/')[1] ?? ''
        if (!may.includes(target)) broken.push(`${path} imports ${specifier}: ${rule?.why}`)
      }
    }
    expect(broken).toEqual([])
  })

  test('the core imports nothing but itself, and uses no clock, randomness or IO', () => {
    const forbidden =
      /\b(Math\.random|Date\.now|new Date\(\)|performance\.|setTimeout|setInterval|setImmediate|process\.|console\.|crypto\.)/
    const broken: string[] = []
    for (const { path, text, imports } of sources.filter(({ path }) => path.startsWith('src/core/'))) {
      for (const name of imports) if (!name.startsWith('.')) broken.push(`${path} imports ${name}`)
      const use = forbidden.exec(text.replaceAll(/\/\*[\s\S]*?\*\//g, ''))
      if (use !== null) broken.push(`${path} uses ${use[0]}`)
    }
    expect(broken).toEqual([])
  })

  test('packages with an owner are imported by their owner alone', () => {
    const broken: string[] = []
    for (const { path, imports } of sources) {
      const folder = path.split('/')[1] ?? ''
      for (const { pattern, folder: owners, why } of OWNED_PACKAGES) {
        const name = imports.find(specifier => pattern.test(specifier))
        if (name !== undefined && !owners.split(',').includes(folder)) broken.push(`${path} imports ${name}: ${why}`)
      }
    }
    expect(broken).toEqual([])
  })

  test('sources do not import tests, and every folder with an index says what lives there', () => {
    const broken: string[] = []
    for (const { path, text, imports } of sources) {
      if (imports.some(name => /(^|\/)test\//.test(name))) broken.push(`${path} imports a test`)
      if (path.endsWith('/index.ts') && !text.trimStart().startsWith('/**')) broken.push(`${path} has no doc comment`)
    }
    for (const folder of Object.keys(RULES)) {
      if (!sources.some(({ path }) => path === `src/${folder}/index.ts`)) broken.push(`src/${folder} has no index.ts`)
    }
    expect(broken).toEqual([])
  })

  test(`no file is longer than ${FILE_LINES_MAX} lines`, () => {
    const long = [...sources, ...tests]
      .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
      .filter(({ path, lines }) => lines > FILE_LINES_MAX && path !== GENERATED)
    expect(long).toEqual([])
  })

  test('no source file is dead: each is imported, or is a program', () => {
    const programs = [
      'src/cli/main.ts',
      'src/demo/daemon-main.ts',
      'src/demo/worker-main.ts',
      'src/runtimes/jail/supervisor-main.ts',
      'src/testing/worker-main.ts'
    ]
    const used = new Set(programs)
    for (const { path, imports } of [...sources, ...tests]) {
      for (const name of imports.filter(specifier => specifier.startsWith('.'))) {
        used.add(relative(ROOT, resolve(ROOT, dirname(path), name)))
      }
    }
    expect(sources.map(({ path }) => path).filter(path => !used.has(path) && !path.endsWith('/index.ts'))).toEqual([])
  })

  test('nothing unfinished, loosely typed or swallowed is left in the sources', () => {
    const words =
      /\b(TODO|FIXME|XXX|not (yet )?implemented|placeholder code|@ts-ignore|@ts-expect-error|as any)\b|: any\b|\.catch\(\(\) => \{\}\)/
    const broken = sources
      .filter(({ path, text }) => path !== GENERATED && words.test(text))
      .map(({ path, text }) => {
        return `${path}: ${words.exec(text)?.[0]}`
      })
    expect(broken).toEqual([])
  })
})

function filesBelow(folder: string): Source[] {
  const found: Source[] = []
  for (const name of readdirSync(join(ROOT, folder))) {
    const path = `${folder}/${name}`
    if (statSync(join(ROOT, path)).isDirectory()) found.push(...filesBelow(path))
    else if (name.endsWith('.ts')) found.push(read(path))
  }
  return found
}

function read(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8')
  const specifiers = text.matchAll(/\bfrom '([^'\n]+)'$|^import '([^'\n]+)'$|\bimport\('([^'\n]+)'\)/gm)
  return { path, text, imports: [...specifiers].map(match => match[1] ?? match[2] ?? match[3] ?? '') }
}
