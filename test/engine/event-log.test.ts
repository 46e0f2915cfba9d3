import { describe, expect, test } from 'vitest'
import { EVENTS_KEPT_MAX, EventLog } from '../../src/engine/event-log.ts'
import { type Event, eventSchema } from '../../src/wire/api/index.ts'
import { clockOf, WALL_AT_ZERO_MS } from '../helpers/engine-pool.ts'
import { VirtualTime } from '../helpers/virtual-time.ts'

const time = new VirtualTime(0)
const log = () => new EventLog('/peers/12D3A1ice/boots/1', clockOf(time, { alive: true }))

/** Reads into `events` until `stop`. */
function reader(of: EventLog, sinceId?: string) {
  const end = new AbortController()
  const events: Event[] = []
  const done = (async () => {
    for await (const event of of.read(sinceId, end.signal)) events.push(event)
  })()
  return {
    events,
    ids: () => events.map(({ id }) => Number(id)),
    stop: () => {
      end.abort()
      return done
    }
  }
}

const settle = () => new Promise(resolve => setImmediate(resolve))

const emit = (of: EventLog, count: number) => {
  for (let index = 0; index < count; index += 1) of.emit('test.event', 'subject', index)
}

describe('the events of a daemon', () => {
  test('are CloudEvents with ids that grow by one', async () => {
    const events = log()
    const all = reader(events, '0')
    events.emit('job.announced', 'job1', { verdict: 'completed' })
    events.emit('peer.alive', 'bob', null)
    await settle()
    await all.stop()
    expect(all.events.map(event => eventSchema.parse(event))).toEqual([
      {
        specversion: '1.0',
        id: '1',
        source: '/peers/12D3A1ice/boots/1',
        type: 'starling.job.announced',
        time: new Date(WALL_AT_ZERO_MS).toISOString(),
        subject: 'job1',
        data: { verdict: 'completed' }
      },
      expect.objectContaining({ id: '2', type: 'starling.peer.alive', data: null })
    ])
  })

  test('are told from now on, or after a given one, and then live', async () => {
    const events = log()
    emit(events, 5)
    const [live, resumed, ahead] = [reader(events), reader(events, '3'), reader(events, '99')]
    await settle()
    expect([live.ids(), resumed.ids(), ahead.ids()]).toEqual([[], [4, 5], []])
    emit(events, 2)
    await settle()
    expect([live.ids(), resumed.ids(), ahead.ids()]).toEqual([
      [6, 7],
      [4, 5, 6, 7],
      [6, 7]
    ])
    await Promise.all([live, resumed, ahead].map(({ stop }) => stop()))
  })

  test.each(['rubbish', '-7', '', '1.5'])('are told to one who resumes at "%s" all the same', async sinceId => {
    const events = log()
    emit(events, 3)
    const all = reader(events, sinceId)
    await settle()
    expect(all.ids().at(-1)).toBe(3)
    await all.stop()
  })

  test('are kept up to a number, and a reader who comes later hears what is missing', async () => {
    const events = log()
    emit(events, EVENTS_KEPT_MAX)
    const whole = reader(events, '0')
    await settle()
    expect(whole.ids()[0]).toBe(1)
    expect(whole.events.filter(({ type }) => type === 'starling.events.gap')).toEqual([])
    emit(events, 1)
    const late = reader(events, '0')
    await settle()
    const [gap, first] = late.events
    expect(eventSchema.parse(gap)).toMatchObject({ id: '1', type: 'starling.events.gap', data: { missing: 1 } })
    expect(first?.id).toBe('2')
    expect(late.events).toHaveLength(EVENTS_KEPT_MAX + 1)
    await Promise.all([whole.stop(), late.stop()])
  })

  test('tell a reader that falls behind how many it has missed, and its ids stay without a gap', async () => {
    const events = log()
    const reading = events.read('0', new AbortController().signal)
    emit(events, 1)
    const first = await reading.next()
    emit(events, EVENTS_KEPT_MAX + 10)
    const [gap, next] = [await reading.next(), await reading.next()]
    expect(first.value?.id).toBe('1')
    expect(gap.value).toMatchObject({ type: 'starling.events.gap', id: '11', data: { missing: 10 } })
    expect(next.value?.id).toBe('12')
    await reading.return(undefined)
  })

  test('end for a reader that stops, whether it waits or is in the middle', async () => {
    const events = log()
    emit(events, 3)
    const waiting = reader(events)
    await settle()
    await waiting.stop()
    const end = new AbortController()
    const seen: string[] = []
    for await (const { id } of events.read('0', end.signal)) {
      seen.push(id)
      if (seen.length === 2) end.abort()
    }
    expect(seen).toEqual(['1', '2'])
    emit(events, 1)
    await settle()
    expect(waiting.events).toEqual([])
  })
})
