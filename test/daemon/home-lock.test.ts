import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Home, lockHome, resolveHome } from '../../src/daemon/home.ts'
import { temporaryDirectory } from '../helpers/temporary-directory.ts'

const HOLDER = fileURLToPath(new URL('../helpers/lock-holder.ts', import.meta.url))
const STARTS = 20

let directory: string
let home: Home
const children: ChildProcessByStdio<Writable, Readable, null>[] = []

beforeEach(() => {
  directory = temporaryDirectory()
  home = resolveHome({ STARLING_HOME: directory }, process.getuid?.(), process.platform)
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Starts a process that tries to take the home; resolves with what it says. */
async function start(): Promise<{ child: ChildProcessByStdio<Writable, Readable, null>; line: string }> {
  const child = spawn(process.execPath, [HOLDER, directory], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  return { child, line: String(line) }
}

async function kill(child: ChildProcessByStdio<Writable, Readable, null>): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

describe('the lock of a home', () => {
  test(`is won by exactly one of ${STARTS} processes that start at one time, and the others name it`, async () => {
    const starts = await Promise.all(Array.from({ length: STARTS }, start))
    const winners = starts.filter(({ line }) => line.startsWith('won '))
    expect(winners).toHaveLength(1)
    const pid = winners[0]?.child.pid
    for (const { line } of starts.filter(({ line }) => !line.startsWith('won '))) {
      expect(line).toBe(`ALREADY_RUNNING a daemon runs on ${directory} already (pid ${pid})`)
    }
  }, 60_000)

  test('is free again at once when its holder was killed with SIGKILL', async () => {
    for (let round = 0; round < 3; round += 1) {
      const { child, line } = await start()
      expect(line).toBe(`won ${child.pid}`)
      expect(() => lockHome(home)).toThrow(
        expect.objectContaining({ code: 'ALREADY_RUNNING', message: expect.stringContaining(`${child.pid}`) })
      )
      await kill(child)
      lockHome(home).release()
    }
  }, 60_000)

  test('is refused to a second daemon in the same process, and the first keeps it', async () => {
    const lock = lockHome(home)
    expect(() => lockHome(home)).toThrow(expect.objectContaining({ code: 'ALREADY_RUNNING' }))
    expect((await start()).line).toContain(`pid ${process.pid}`)
    lock.release()
  })

  test('is given back by release, which may be called twice and then harms no later holder', () => {
    const first = lockHome(home)
    first.release()
    const second = lockHome(home)
    first.release()
    expect(() => lockHome(home)).toThrow(expect.objectContaining({ code: 'ALREADY_RUNNING' }))
    second.release()
    expect(existsSync(`${home.lock}.pid`)).toBe(false)
  })

  test('is not inherited by children that outlive their daemon', async () => {
    const lock = lockHome(home)
    const child = spawn('sleep', ['30'], { stdio: ['pipe', 'pipe', 'inherit'] })
    children.push(child)
    await once(child, 'spawn')
    lock.release()
    lockHome(home).release()
  })

  test('is taken although a dead daemon has left its pid', () => {
    writeFileSync(`${home.lock}.pid`, '999999999\n')
    lockHome(home).release()
  })

  test('names no dead pid while the winner has not said who it is', () => {
    const lock = lockHome(home)
    writeFileSync(`${home.lock}.pid`, '999999999\n')
    expect(() => lockHome(home)).toThrow(
      expect.objectContaining({ code: 'ALREADY_RUNNING', message: expect.stringContaining('just starting') })
    )
    lock.release()
  })

  test('cannot be taken where its file cannot be made', () => {
    mkdirSync(home.lock)
    expect(() => lockHome(home)).toThrow(
      expect.objectContaining({ code: 'HOME_UNUSABLE', message: expect.stringContaining(home.lock) })
    )
  })
})
