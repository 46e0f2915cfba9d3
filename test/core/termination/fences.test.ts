import { expect, test } from 'vitest'
import { Fences } from '../../../src/core/termination/fences.ts'
import type { Vertex } from '../../../src/core/termination/index.ts'

const vertex = (owner: string, ownerEngagement: number) => ({ owner, ownerEngagement }) as Vertex

test('a fence covers the engagements of its peer up to it, and nobody else', () => {
  const fences = new Fences()
  fences.add({ fence: 5, peer: 'bob', cause: 'lost' })
  expect([4, 5].map(engagement => fences.covers('bob', engagement))).toEqual([true, true])
  expect(fences.covers('bob', 6)).toBe(false)
  expect(fences.covers('carol', 5)).toBe(false)
})

test('the virtual root is never fenced, though its owner number is the lowest', () => {
  const fences = new Fences()
  fences.add({ fence: 5, peer: 'bob', cause: 'lost' })
  expect(fences.covers('bob', 0)).toBe(false)
})

test('an older fence that comes late does not lift a newer one', () => {
  const fences = new Fences([{ peer: 'bob', upTo: 9 }])
  fences.add({ fence: 5, peer: 'bob', cause: 'lost' })
  expect(fences.covers('bob', 9)).toBe(true)
  expect(fences.list()).toEqual([{ peer: 'bob', upTo: 9 }])
})

test('a fence is answerable when no vertex is left under it, once for each time that it is asked', () => {
  const fences = new Fences()
  fences.add({ fence: 5, peer: 'bob', cause: 'lost' })
  expect(fences.answerable([vertex('bob', 5)])).toEqual([])
  expect(fences.answerable([vertex('bob', 6), vertex('carol', 5), vertex('bob', 0)])).toEqual([5])
  expect(fences.answerable([])).toEqual([])
  fences.add({ fence: 5, peer: 'bob', cause: 'lost' })
  expect(fences.answerable([])).toEqual([5])
})

test('of two fences the one without vertices is answered', () => {
  const fences = new Fences()
  fences.add({ fence: 5, peer: 'bob', cause: 'lost' })
  fences.add({ fence: 7, peer: 'bob', cause: 'lost' })
  expect(fences.answerable([vertex('bob', 6)])).toEqual([5])
})

test('what a grant says is fenced is not asked: there is nothing to answer', () => {
  expect(new Fences([{ peer: 'bob', upTo: 9 }]).answerable([])).toEqual([])
})
