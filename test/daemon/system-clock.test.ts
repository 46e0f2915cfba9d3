import { execFileSync } from 'node:child_process'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { systemClock, systemRandom } from '../../src/daemon/system-clock.ts'

describe('the system clock', () => {
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  test('never fires before the delay has passed by its own count', async () => {
    const delays = await Promise.all(
      Array.from({ length: 50 }, (_, index) => {
        const begun = systemClock.now()
        const delayMs = index / 7
        return new Promise<number>(resolve =>
          systemClock.after(delayMs, () => resolve(systemClock.now() - begun - delayMs))
        )
      })
    )
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0)
  })

  test('fires once, and not after cancel, which may be called twice', () => {
    vi.useFakeTimers()
    const fire = vi.fn()
    const cancelled = vi.fn()
    systemClock.after(100, fire)
    const timer = systemClock.after(100, cancelled)
    timer.cancel()
    timer.cancel()
    vi.advanceTimersByTime(1_000)
    expect(fire).toHaveBeenCalledTimes(1)
    expect(cancelled).not.toHaveBeenCalled()
  })

  test('bears delays that are longer than a Node timer takes', () => {
    vi.useFakeTimers()
    const fire = vi.fn()
    const timer = systemClock.after(2 ** 31 + 1_000, fire)
    vi.advanceTimersByTime(2 ** 31)
    expect(fire).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1_000)
    expect(fire).toHaveBeenCalledTimes(1)
    timer.cancel()
  })

  test('does not keep the process alive', () => {
    const clock = new URL('../../src/daemon/system-clock.ts', import.meta.url).href
    const script = `import { systemClock } from ${JSON.stringify(clock)}; systemClock.after(3_600_000, () => {})`
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 })
  })

  test('tells the wall clock in milliseconds since 1970', () => {
    expect(Math.abs(systemClock.wall() - Date.now())).toBeLessThan(1_000)
  })
})

describe('system random numbers', () => {
  test('ids are 26 characters of lower-case base32, all of them used, none twice', () => {
    const ids = Array.from({ length: 2_000 }, () => systemRandom.id())
    for (const id of ids) expect(id).toMatch(/^[a-z2-7]{26}$/)
    expect(new Set(ids).size).toBe(ids.length)
    expect(new Set(ids.join('')).size).toBe(32)
  })

  test('hex gives two digits per byte', () => {
    expect(systemRandom.hex(8)).toMatch(/^[0-9a-f]{16}$/)
    expect(systemRandom.hex(0)).toBe('')
  })

  test('next is spread over [0, 1)', () => {
    const values = Array.from({ length: 5_000 }, () => systemRandom.next())
    for (const value of values) expect(value >= 0 && value < 1).toBe(true)
    const quarters = [0, 1, 2, 3].map(quarter => values.filter(value => Math.floor(value * 4) === quarter).length)
    expect(Math.min(...quarters)).toBeGreaterThan(1_000)
  })
})
