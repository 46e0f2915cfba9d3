import { describe, expect, test } from 'vitest'
import {
  Admission,
  BAD_PER_ADDRESS_MAX,
  BAD_WINDOW_MS,
  PENDING_MAX,
  PENDING_PER_ADDRESS_MAX
} from '../../src/libp2p/admission.ts'
import { ManualClock } from './manual-clock.ts'

describe('admission', () => {
  test('one address holds only its share of the pending upgrades', () => {
    const admission = new Admission(new ManualClock())
    const keys = Array.from({ length: PENDING_PER_ADDRESS_MAX }, () => ({}))
    for (const key of keys) expect(admission.enter('10.0.0.1', key)).toBeUndefined()
    expect(admission.enter('10.0.0.1', {})).toBe('address-full')
    expect(admission.enter('10.0.0.2', {})).toBeUndefined()
    expect(PENDING_PER_ADDRESS_MAX).toBeLessThan(PENDING_MAX)
    const [first] = keys
    if (first === undefined) throw new Error('no key')
    admission.leave('10.0.0.1', first)
    admission.leave('10.0.0.1', first)
    expect(admission.enter('10.0.0.1', {})).toBeUndefined()
    expect(admission.enter('10.0.0.1', {})).toBe('address-full')
  })

  test('an address that fails again and again is dropped unread until its window is over', async () => {
    const clock = new ManualClock()
    const admission = new Admission(clock)
    for (let count = 1; count < BAD_PER_ADDRESS_MAX; count += 1) admission.failed('10.0.0.1')
    expect(admission.enter('10.0.0.1', {})).toBeUndefined()
    admission.failed('10.0.0.1')
    expect(admission.enter('10.0.0.1', {})).toBe('address-bad')
    expect(admission.enter('10.0.0.2', {})).toBeUndefined()
    await clock.advance(BAD_WINDOW_MS)
    expect(admission.enter('10.0.0.1', {})).toBeUndefined()
  })
})
