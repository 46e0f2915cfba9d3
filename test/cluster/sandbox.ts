import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { SandboxMessage, SandboxRequest, SpawnRequest } from './sandbox-protocol.ts'

const MESH = fileURLToPath(new URL('netns-mesh.sh', import.meta.url))
const INIT = fileURLToPath(new URL('sandbox-init.ts', import.meta.url))

/** Namespaces are made in milliseconds; the rest is the start of Node on a busy machine. */
const START_MS_MAX = 30_000

/** The kernel kills at once; the bound is for a machine that swaps. */
const STOP_MS_MAX = 10_000

type Exit = Extract<SandboxMessage, { kind: 'exited' }>
type Line = Extract<SandboxMessage, { kind: 'line' }>

/** A process in the sandbox; `pid` counts in the sandbox's own namespace. */
export interface SandboxProcess {
  readonly pid: number
  /** Wall clock, just before it was started. */
  readonly startedAtMs: number
  /** Its first line on stdout. Rejects when it ends before that. */
  readonly firstLine: Promise<Line>
  readonly exited: Promise<Exit>
  signal(name: NodeJS.Signals): Promise<void>
}

/** True when the user wants no test that needs namespaces. */
export const SKIP_CLUSTER = process.env.STARLING_SKIP_CLUSTER === '1'

/**
 * Private network, mount and process namespaces with a virtual LAN in them. Everything in it is gone when `stop`
 * resolves, and also when the process that started it dies.
 */
export class Sandbox {
  readonly #init: ChildProcess
  readonly #answers = new Map<number, (message: SandboxMessage) => void>()
  readonly #watchers = new Map<number, (message: Line | Exit) => void>()
  readonly #ended: Promise<void>
  #ref = 0

  private constructor(init: ChildProcess) {
    this.#init = init
    this.#ended = new Promise(resolve => init.once('exit', () => resolve()))
    init.on('message', message => this.#said(message as SandboxMessage))
  }

  /** @throws Error with the reason when this machine does not allow namespaces. */
  static async start(): Promise<Sandbox> {
    const child = spawn(MESH, ['sandbox', process.execPath, INIT], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    let stderr = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    const sandbox = new Sandbox(child)
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => refuse(`no answer in ${START_MS_MAX / 1_000} s`), START_MS_MAX)
      const refuse = (reason: string): void => {
        clearTimeout(timer)
        child.kill('SIGKILL')
        reject(new Error(unavailable(`${reason}\n${stderr}`.trim())))
      }
      child.once('error', error => refuse(error.message))
      const ended = (code: number | null): void => refuse(`exit code ${code}`)
      child.once('exit', ended)
      child.once('message', () => {
        clearTimeout(timer)
        child.off('exit', ended)
        resolve()
      })
    })
    return sandbox
  }

  /** Runs a verb of netns-mesh.sh. @throws Error with its output when it fails. */
  async verb(...args: readonly (string | number)[]): Promise<string> {
    const words = args.map(String)
    const answer = await this.#ask({ kind: 'verb', ref: 0, args: words })
    if (answer.kind === 'done' && answer.code === 0) return answer.output
    throw new Error(`netns-mesh.sh ${words.join(' ')} failed: ${JSON.stringify(answer)}`)
  }

  async spawn(request: SpawnRequest): Promise<SandboxProcess> {
    const answer = await this.#ask({ kind: 'spawn', ref: 0, ...request })
    if (answer.kind !== 'spawned') throw new Error(`cannot start ${request.command.join(' ')}`)
    const { pid, atMs } = answer
    const line = Promise.withResolvers<Line>()
    const exited = Promise.withResolvers<Exit>()
    line.promise.catch(() => undefined)
    this.#watchers.set(pid, message => {
      if (message.kind === 'line') return line.resolve(message)
      this.#watchers.delete(pid)
      line.reject(new Error(`process ${pid} ended (${message.code ?? message.signal}); see ${request.log}`))
      exited.resolve(message)
    })
    const signal = async (name: NodeJS.Signals): Promise<void> => {
      const sent = await this.#ask({ kind: 'signal', ref: 0, pid, signal: name })
      if (sent.kind !== 'done' || sent.code !== 0) throw new Error(`${name} to ${pid}: ${JSON.stringify(sent)}`)
    }
    return { pid, startedAtMs: atMs, firstLine: line.promise, exited: exited.promise, signal }
  }

  /** Ends everything in it. Idempotent. */
  async stop(): Promise<void> {
    if (this.#init.connected) this.#init.disconnect()
    const timer = setTimeout(() => this.#init.kill('SIGKILL'), STOP_MS_MAX)
    if (this.#init.exitCode === null && this.#init.signalCode === null) await this.#ended
    clearTimeout(timer)
  }

  #ask(request: SandboxRequest): Promise<SandboxMessage> {
    this.#ref += 1
    const ref = this.#ref
    return new Promise((resolve, reject) => {
      this.#answers.set(ref, resolve)
      this.#init.send({ ...request, ref }, error => {
        if (error !== null) reject(error)
      })
    })
  }

  #said(message: SandboxMessage): void {
    if (message.kind === 'line' || message.kind === 'exited') this.#watchers.get(message.pid)?.(message)
    if (message.kind !== 'done' && message.kind !== 'spawned') return
    this.#answers.get(message.ref)?.(message)
    this.#answers.delete(message.ref)
  }
}

function unavailable(reason: string): string {
  return `Network namespaces are not available here: ${reason}
The cluster tests need Linux with iproute2, nftables, python3, and root or user namespaces: run them as root, or set STARLING_SKIP_CLUSTER=1 to leave them out.`
}
