import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/index.ts'
import { BOB_ID, JOB_ID, jobDocument, peerDocument } from '../helpers/api-documents.ts'
import { runCliHere } from '../helpers/cli-in-process.ts'
import { type FakeDaemonServer, fakeDaemonServer } from '../helpers/fake-daemon-server.ts'

const EVIL = '$(touch /tmp/starling-evil)'

let daemon: FakeDaemonServer
beforeAll(async () => {
  const agent = { id: 'a', peerId: BOB_ID, runtime: 'command', capability: 'lint', state: 'working', usage: {} }
  daemon = await fakeDaemonServer({
    'GET /v1/peers': { body: { items: [peerDocument(), peerDocument({ name: EVIL }), peerDocument({ name: '-rf' })] } },
    'GET /v1/jobs': { body: { items: [jobDocument(), jobDocument({ id: 'zzzz' })] } },
    'GET /v1/agents': { body: { items: [agent, { ...agent, taskId: `${JOB_ID}.0` }] } }
  })
})
afterAll(() => daemon.close())

describe('the words that a shell asks for', () => {
  const ask = (kind: string, socket = daemon.socketPath) =>
    runCliHere(['__complete', kind], { env: { STARLING_SOCKET: socket } })

  it.each([
    ['peers', 'bob\n'],
    ['jobs', `${JOB_ID}\nzzzz\n`],
    ['tasks', `${JOB_ID}.0\n`],
    ['capabilities', 'lint\n']
  ])('are %s, each once, and only those that a shell reads as they are', async (kind, stdout) => {
    expect(await ask(kind)).toMatchObject({ code: 0, stdout, stderr: '' })
  })

  it('are none without a daemon, and no error in the middle of typing', async () => {
    expect(await ask('peers', `${daemon.socketPath}.gone`)).toMatchObject({ code: 0, stdout: '', stderr: '' })
  })

  it('are none when the daemon does not answer in time', async () => {
    const silent = await fakeDaemonServer({ 'GET /v1/peers': 'hang' })
    expect(await ask('peers', silent.socketPath)).toMatchObject({ code: 0, stdout: '' })
    await silent.close()
  })
})

describe('the script for bash', () => {
  let directory: string
  let script: string
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'starling-completion-'))
    script = join(directory, 'starling.bash')
    writeFileSync(script, (await runCliHere(['completion', 'bash'])).stdout)
    // Stands for the installed program: what `__complete` prints is tested above.
    writeFileSync(
      join(directory, 'starling'),
      `#!/bin/sh\necho "asked $*" >&2\nprintf '%s\\n' bob ben '${EVIL}' 'two words'\n`
    )
    chmodSync(join(directory, 'starling'), 0o755)
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  /** What Tab would offer after these words, the last of which is being typed. */
  function complete(...words: string[]): string[] {
    const program = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _starling; printf '%s\\n' "\${COMPREPLY[@]}"`
    const env = { PATH: `${directory}:${process.env.PATH}` }
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    const output = execFileSync('bash', ['-uc', program, 'bash', script, ...words], {
      cwd: directory,
      env,
      stdio: [...stdio]
    })
    return output
      .toString()
      .split('\n')
      .filter(word => word !== '')
  }

  it('offers every command, and no hidden one', () => {
    const visible = Object.keys(COMMANDS).filter(name => !name.startsWith('_'))
    expect(complete('starling', '')).toEqual([...visible, '--help', '--version'])
    expect(complete('starling', 'st')).toEqual(['status'])
    expect(complete('starling', 'nothing')).toEqual([])
  })

  it('offers the flags of the command, and no hidden one', () => {
    expect(complete('starling', 'run', '--')).toEqual(
      expect.arrayContaining(['--on', '--id', '--dry-run', '--timeout', '--json', '--socket', '--help'])
    )
    expect(complete('starling', 'run', 'lint', '--dr')).toEqual(['--dry-run'])
    for (const verb of ['run', 'submit', 'spawn']) {
      expect(complete('starling', verb, '--'), verb).toEqual(
        expect.arrayContaining(['--retry', '--backoff', '--deadline', '--exclusive'])
      )
    }
    expect(complete('starling', 'drain', 'bob', '--')).toEqual(
      expect.arrayContaining(['--deadline', '--end', '--no-wait'])
    )
    expect(complete('starling', 'up', '--no')).toEqual(['--no-mdns'])
    expect(complete('starling', 'up', '--b')).toEqual([])
  })

  it('offers subcommands, shells, files, and nothing for free text', () => {
    expect(complete('starling', 'token', '')).toEqual(['create'])
    expect(complete('starling', 'token', 'create', '--t')).toEqual(['--ttl'])
    expect(complete('starling', 'completion', '')).toEqual(['bash', 'zsh', 'fish'])
    expect(complete('starling', 'status', '--socket', 'starling.')).toEqual(['starling.bash'])
    expect(complete('starling', 'run', 'lint', '--timeout', '')).toEqual([])
  })

  it('asks the daemon for peers, jobs, tasks and capabilities, and runs nothing that it answers', () => {
    rmSync('/tmp/starling-evil', { force: true })
    expect(complete('starling', 'run', 'lint', '--on', '')).toEqual(['bob', 'ben', EVIL, 'two words'])
    expect(complete('starling', 'run', 'lint', '--on', 'bo')).toEqual(['bob'])
    for (const verb of ['drain', 'job', 'wait', 'cancel', 'logs', 'run', 'submit', 'spawn']) {
      expect(complete('starling', verb, 'be'), verb).toEqual(['ben'])
    }
    expect(spawnSync('ls', ['/tmp/starling-evil']).status).not.toBe(0)
  })
})

describe.each([
  ['zsh', ['-n']],
  ['fish', ['--no-execute']]
])('the script for %s', (shell, check) => {
  const exists = spawnSync(shell, ['--version']).error === undefined

  it('names every command and its flags', async () => {
    const { code, stdout } = await runCliHere(['completion', shell])
    expect(code).toBe(0)
    for (const name of Object.keys(COMMANDS).filter(name => !name.startsWith('_'))) expect(stdout).toContain(name)
    for (const what of ['peers', 'jobs', 'tasks', 'capabilities']) expect(stdout).toContain(`__complete ${what}`)
    expect(stdout).toContain('dry-run')
    expect(stdout).not.toMatch(/(--|-l )background/)
  })

  it.runIf(exists)('is a script that the shell can read', async () => {
    const { stdout } = await runCliHere(['completion', shell])
    const checked = spawnSync(shell, check, { input: stdout })
    expect({ status: checked.status, stderr: checked.stderr.toString() }).toEqual({ status: 0, stderr: '' })
  })
})
