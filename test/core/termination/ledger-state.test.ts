import { expect, test } from 'vitest'
import { LEASE_EXPIRY_MS, Ledger, LedgerState } from '../../../src/core/termination/index.ts'
import { MessageSoup, SOUP_JOB } from '../../helpers/message-soup.ts'
import { Probe } from '../../helpers/termination-fixtures.ts'
import { heavyTailed, seeded } from '../../helpers/virtual-time.ts'

const SCHEDULES = 150

/** A job with crashes (of its root too), leaves and a cancel now and then: all kinds of records come up. */
function soupWithFaults(seed: number): MessageSoup {
  const random = seeded(seed)
  const plan = (path: string) => ({
    durationMs: heavyTailed(random, 20, 9_000),
    children: path.split('.').length <= 3 ? Math.floor(random() * 4) : 0
  })
  const soup = new MessageSoup({ hosts: 4, random, returns: 0.1, staleOffers: 0.1, plan })
  for (let fault = 0; fault < 4; fault += 1) {
    soup.time.later(random() * 4_000, () => {
      const host = soup.host(Math.floor(random() * 4))
      const dice = random()
      if (dice < 0.7) {
        soup.crash(host)
        soup.time.later(random() * 9_000, () => soup.restart(host))
      } else if (dice < 0.9) soup.leave(host)
      else soup.cancel()
    })
  }
  return soup
}

/** Everything that is decided by the records. The name of an attempt that is not bound yet has left no trace. */
function decided(state: LedgerState): unknown {
  const { obligation, grants, openFences, fences, records, result, error, engagementCounter } = state
  const owed = obligation && { ...obligation, id: obligation.binding === undefined ? 'unbound' : obligation.id }
  const open = [...openFences].map(([fence, { peer, waiting }]) => [fence, peer, [...waiting]])
  const { cancelRequested, announced, placement } = state
  const rest = { cancelRequested, announced, placement, engagementCounter }
  return { owed, grants: [...grants], open, fences: fences.list(), records: records.length, result, error, ...rest }
}

test('at every moment the state of a ledger is the fold of its records, through crashes of the root too', () => {
  const kinds = new Set<string>()
  let compared = 0
  for (let seed = 1; seed <= SCHEDULES; seed += 1) {
    const soup = soupWithFaults(seed)
    const folded = new LedgerState(soup.submitted)
    let applied = 0
    soup.observe = () => {
      if (applied === soup.journal.length) return
      for (const record of soup.journal.slice(applied)) {
        folded.apply(record)
        kinds.add(record.kind)
      }
      applied = soup.journal.length
      const live = soup.host(0).roots.ledger(SOUP_JOB)?.state
      if (live === undefined) return
      compared += 1
      expect(decided(folded), `seed ${seed}, record ${applied}`).toEqual(decided(live))
    }
    soup.run(60_000)
    expect(soup.announced, `seed ${seed}`).toHaveLength(1)
  }
  const all = [
    'granted',
    'bound',
    'settled',
    'reissued',
    'fence-opened',
    'fence-answered',
    'cancel-requested',
    'announced'
  ]
  expect([...kinds].toSorted()).toEqual(all.toSorted())
  expect(compared).toBeGreaterThan(1_000)
})

test('a root that restarts after any record of a journal waits for nothing that cannot come', () => {
  let restarts = 0
  for (let seed = 1; seed <= SCHEDULES; seed += 1) {
    const soup = soupWithFaults(seed)
    soup.run(60_000)
    for (let length = 0; length < soup.journal.length; length += 1) {
      const history = soup.journal.slice(0, length)
      const probe = new Probe(0)
      const ledger = new Ledger({ self: 'host0', encodeRecord: () => new Uint8Array(1) }, soup.submitted, history)
      ledger.start(0, probe)
      // Nobody ever comes back: all engagements run out.
      const late = new Probe(LEASE_EXPIRY_MS)
      ledger.tick(late)
      const placing = [...probe.effects('place'), ...late.effects('place')].length > 0
      const announced = [...probe.effects('announce'), ...late.effects('announce')].length
      restarts += 1
      expect({ placing, announced }, `seed ${seed}, ${length} records`).toEqual(
        placing ? { placing, announced: 0 } : { placing, announced: 1 }
      )
    }
  }
  expect(restarts).toBeGreaterThan(1_000)
})

test('records survive JSON but for their bytes, as a journal needs it', () => {
  const soup = soupWithFaults(3)
  soup.run(60_000)
  for (const record of soup.journal) {
    for (const [key, value] of Object.entries(record)) {
      if (value instanceof Uint8Array || key === 'records' || value === undefined) continue
      expect(JSON.parse(JSON.stringify(value))).toEqual(value)
    }
  }
})
