import { execFile, spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { SandboxMessage, SandboxRequest } from './sandbox-protocol.ts'

/**
 * Process 1 of a sandbox: runs the verbs of the virtual LAN and starts its processes. When it ends, by whatever cause,
 * the kernel kills every process of the sandbox and removes its links and namespaces; so it ends when its parent does.
 */
const MESH = fileURLToPath(new URL('netns-mesh.sh', import.meta.url))

/** Longest run of one verb: each is some calls of `ip` or `nft`. */
const VERB_MS_MAX = 20_000

function say(message: SandboxMessage): void {
  if (process.connected) process.send?.(message)
}

function run(request: SandboxRequest): void {
  if (request.kind === 'verb') verb(request)
  else if (request.kind === 'spawn') start(request)
  else signal(request)
}

function verb({ ref, args }: SandboxRequest & { kind: 'verb' }): void {
  execFile(MESH, [...args], { timeout: VERB_MS_MAX }, (error, stdout, stderr) => {
    const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
    say({ kind: 'done', ref, code, output: `${stdout}${stderr}`.trim() })
  })
}

function start({ ref, host, command, env, log }: SandboxRequest & { kind: 'spawn' }): void {
  const atMs = Date.now()
  const [program = '', ...args] = host === undefined ? command : [MESH, 'exec', String(host), ...command]
  const stderr = openSync(log, 'a')
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', stderr] })
  child.on('error', error => say({ kind: 'done', ref, code: null, output: error.message }))
  const { pid } = child
  if (pid === undefined) return
  say({ kind: 'spawned', ref, pid, atMs })
  if (child.stdout === null) return
  createInterface({ input: child.stdout }).on('line', line => say({ kind: 'line', pid, line, atMs: Date.now() }))
  child.on('exit', (code, signal) => say({ kind: 'exited', pid, code, signal, atMs: Date.now() }))
}

function signal({ ref, pid, signal: name }: SandboxRequest & { kind: 'signal' }): void {
  try {
    process.kill(pid, name)
    say({ kind: 'done', ref, code: 0, output: '' })
  } catch (error) {
    say({ kind: 'done', ref, code: 1, output: String(error) })
  }
}

process.on('message', message => run(message as SandboxRequest))
process.on('disconnect', () => process.exit(0))
say({ kind: 'up' })
