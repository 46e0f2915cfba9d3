import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'

const ROOT = resolve(import.meta.dirname, '../..')
const MEMBERS = ['alice', 'bob', 'carol', 'dave', 'erin']
const PROFILES = ['partition', 'kill']

interface Service {
  readonly image?: string
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly profiles?: readonly string[]
  readonly user?: string
  readonly init?: boolean
  readonly privileged?: boolean
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly cap_add?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly entrypoint: readonly string[]
  readonly networks?: readonly string[]
  readonly network_mode?: string
  readonly pid?: string
  readonly ports?: readonly string[]
  readonly ulimits?: unknown
  readonly tmpfs?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: readonly string[]
}

interface ComposeFile {
  readonly name?: string
  readonly services: Readonly<Record<string, Service>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>
  readonly volumes: Readonly<Record<string, unknown>>
}

const file: ComposeFile = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true })
const services = Object.entries(file.services)
const dockerfile = readFileSync(join(ROOT, 'docker/Dockerfile'), 'utf8')

describe('docker-compose.yml', () => {
  test('has five members and a job without any profile, and one service for each profile', () => {
    const always = services.filter(([, { profiles }]) => profiles === undefined).map(([name]) => name)
    expect(always.sort()).toEqual([...MEMBERS, 'job'].sort())
    const others = services.filter(([, { profiles }]) => profiles !== undefined)
    expect(Object.fromEntries(others.map(([name, { profiles }]) => [name, profiles]))).toEqual({
      partition: ['partition'],
      kill: ['kill']
    })
  })

  test.each(services)('%s has a read-only root, no capability, an init, and may gain no privileges', (_, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      init: true,
      security_opt: ['no-new-privileges:true']
    })
    expect(service.privileged).toBeUndefined()
  })

  test('only the service that cuts the network has a capability, and only that one runs as root', () => {
    const capable = services.filter(([, { cap_add }]) => cap_add !== undefined)
    expect(capable.map(([name, { cap_add }]) => [name, cap_add])).toEqual([['partition', ['NET_ADMIN']]])
    const root = services.filter(([, { user }]) => user !== '1000:1000')
    expect(root.map(([name, { user }]) => [name, user])).toEqual([['partition', '0:0']])
  })

  test('nobody gets the engine, a port of the host, or anything of the host to write', () => {
    for (const [name, { volumes = [], ports, network_mode, pid }] of services) {
      expect(ports, name).toBeUndefined()
      expect([undefined, 'none', 'service:erin'], name).toContain(network_mode)
      expect([undefined, 'service:erin'], name).toContain(pid)
      for (const volume of volumes) {
        const isNamed = Object.keys(file.volumes).some(volumeName => volume.startsWith(`${volumeName}:`))
        if (!isNamed) expect(volume, name).toMatch(/^\$\{DEMO_DIR:-\.\}:\/data:ro$/)
      }
    }
  })

  test('the members meet on one bridge that mDNS passes', () => {
    expect(Object.keys(file.networks)).toEqual(['mesh'])
    for (const network of Object.values(file.networks)) expect(network?.internal).toBeUndefined()
    for (const name of MEMBERS) expect(file.services[name]?.networks, name).toEqual(['mesh'])
  })

  test('every member keeps its own home, sees the shared token and the tree, and one of them makes the swarm', () => {
    for (const name of MEMBERS) {
      expect(file.services[name]?.volumes, name).toEqual(
        expect.arrayContaining([`${name}:/var/lib/starling`, 'swarm:/swarm', `\${DEMO_DIR:-.}:/data:ro`])
      )
    }
    const founders = MEMBERS.filter(name => file.services[name]?.entrypoint.includes('found'))
    expect(founders).toEqual(['alice'])
  })

  test('uses nothing that docker-compose 1.29 or an engine with a low limit of open files refuses', () => {
    expect(file.name).toBeUndefined()
    for (const [name, service] of services) {
      expect(service.ulimits, name).toBeUndefined()
      expect(Array.isArray(service.depends_on ?? []), name).toBe(true)
    }
    expect(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')).not.toMatch(/start_interval|@sha256:/)
  })

  test('every program that a service starts is in the repository', () => {
    const started = services.flatMap(([, { entrypoint }]) => entrypoint.filter(word => word.startsWith('/app/')))
    expect(started).toHaveLength(services.length)
    for (const path of started) expect(existsSync(join(ROOT, path.slice('/app/'.length))), path).toBe(true)
  })

  test('every service is built from the one Dockerfile, so that none is pulled', () => {
    for (const [name, { build }] of services) {
      expect(build, name).toMatchObject({ context: '.', dockerfile: 'docker/Dockerfile' })
    }
  })

  const program = composeProgram()
  const title = 'is accepted by docker-compose'
  if (program === undefined) {
    test.skip(`${title} (skipped: neither docker compose nor docker-compose is installed)`, () => undefined)
  } else {
    test.each(['no profile', ...PROFILES])(`${title} with %s`, profile => {
      const [command = '', ...words] = program
      const { status, stderr } = spawnSync(
        command,
        [...words, ...(profile === 'no profile' ? [] : ['--profile', profile]), 'config', '-q'],
        {
          cwd: ROOT,
          encoding: 'utf8'
        }
      )
      expect(stderr).toBe('')
      expect(status).toBe(0)
    })
  }
})

describe('the Dockerfile', () => {
  test('copies only what is in the repository, and into the context', () => {
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = '']) => paths.split(' '))
    expect(copied.length).toBeGreaterThan(3)
    const context = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n')
    for (const path of copied) {
      expect(existsSync(join(ROOT, path)), path).toBe(true)
      expect(
        context.some(line => line === `!${path}` || line.startsWith(`!${path}/`)),
        path
      ).toBe(true)
    }
  })

  test('stays within what the legacy builder and a base image without a digest can do', () => {
    expect(dockerfile).not.toMatch(/^# *syntax=|--mount=|@sha256:/m)
    expect(dockerfile).toMatch(/^ARG NODE_IMAGE=node:24-bookworm-slim$/m)
    for (const [, image] of dockerfile.matchAll(/^FROM (\S+)/gm)) expect(image).toBe('$' + '{NODE_IMAGE}')
  })

  test('ends as an unprivileged user with a health check by the daemon itself', () => {
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))
    expect(last).toMatch(/^USER node$/m)
    expect(last).toMatch(/^HEALTHCHECK .*CMD \["starling", "status"\]$/m)
  })
})

test.each(['docker/member.sh', 'scripts/compose-e2e.sh', 'scripts/docker-engine.sh'])(
  '%s can be parsed by its shell and run',
  path => {
    const shell = path.startsWith('docker/') ? 'sh' : 'bash'
    execFileSync(shell, ['-n', join(ROOT, path)])
    expect(execFileSync('test', ['-x', join(ROOT, path)]).length).toBe(0)
  }
)

/** The words that start Compose here; undefined where neither generation is installed. */
function composeProgram(): string[] | undefined {
  const programs = [['docker', 'compose'], ['docker-compose']]
  return programs.find(([command = '', ...words]) => spawnSync(command, [...words, 'version']).status === 0)
}
