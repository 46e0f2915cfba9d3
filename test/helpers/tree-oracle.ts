import { ROOT_ENGAGEMENT } from '../../src/core/ids.ts'
import { type MessageSoup, SOUP_JOB } from './message-soup.ts'

/**
 * EWD687a, invariant CountersConsistent, with names instead of counts: what an owner is owed by a host is exactly the
 * attempts alive there, and what is on its way between the two. Holds while no frame is lost and no host fails.
 */
export function countersConsistent(soup: MessageSoup): string[] {
  const wrong: string[] = []
  const owed = new Map<string, string>()
  for (const [owner, obligations] of obligationsOf(soup)) {
    for (const { id, binding } of obligations) {
      if (binding === undefined) continue
      owed.set(id, `${owner} ${binding.to}`)
      const host = soup.hosts.find(({ peer }) => peer === binding.to)
      const alive = host !== undefined && soup.tree(host)?.vertex(id) !== undefined
      const flying = (kind: string) => (soup.inFlight.get(`${kind} ${id}`) ?? 0) > 0
      const handing = !soup.accepted(id) && flying('handoff')
      const settling = soup.accepted(id) && !alive && flying('settle')
      const phases = [alive, handing, settling].filter(Boolean).length
      if (phases !== 1) wrong.push(`${id} is in ${phases} places: ${JSON.stringify({ alive, handing, settling })}`)
    }
  }
  for (const host of soup.hosts) {
    for (const { id, owner } of soup.tree(host)?.vertices() ?? []) {
      if (owed.get(id) !== `${owner} ${host.peer}`) wrong.push(`${id} at ${host.peer} is not owed to ${owner}`)
    }
  }
  return wrong
}

/** EWD687a, invariant TreeWithRoot: following the owners of any live vertex leads to the virtual root. */
export function treeWithRoot(soup: MessageSoup): string[] {
  const wrong: string[] = []
  const parentOf = new Map<string, string>()
  const vertices = new Set<string>()
  for (const host of soup.hosts) {
    for (const { id, obligations } of soup.tree(host)?.vertices() ?? []) {
      vertices.add(id)
      for (const child of obligations.keys()) parentOf.set(child, id)
    }
  }
  for (const vertex of vertices) {
    let at = vertex
    for (let steps = 0; !at.startsWith(`${ROOT_ENGAGEMENT}:`); steps += 1) {
      const parent = parentOf.get(at)
      if (parent === undefined || steps > vertices.size) {
        wrong.push(`${vertex} does not hang on the root`)
        break
      }
      at = parent
    }
    if (at.startsWith(`${ROOT_ENGAGEMENT}:`) && rootObligation(soup)?.id !== at)
      wrong.push(`${at} is not owed by the root`)
  }
  return wrong
}

function rootObligation(soup: MessageSoup) {
  return soup.host(0).roots.ledger(SOUP_JOB)?.state.obligation
}

function* obligationsOf(soup: MessageSoup) {
  const root = rootObligation(soup)
  if (root !== undefined) yield [soup.host(0).peer, [root]] as const
  for (const host of soup.hosts) {
    for (const { obligations } of soup.tree(host)?.vertices() ?? [])
      yield [host.peer, [...obligations.values()]] as const
  }
}
