import { stat } from 'node:fs/promises'
import type { Clock, Network } from '../ports/index.ts'
import type { Finding } from '../wire/api/index.ts'
import type { MeshSession } from './mesh-session.ts'

/** A timer that fires this much late in a quiet check means a starved host. */
const TIMER_LATE_WARN_MS = 250

/** How long the timer check takes. */
const TIMER_CHECK_MS = 100

export interface DoctorInit {
  readonly mesh: () => MeshSession
  readonly clock: Clock
  /** Directories that hold secrets, with what they hold. */
  readonly privatePaths: readonly { readonly path: string; readonly holds: string }[]
}

/** Looks at what most often keeps a pool from working; every finding says what was measured. */
export async function diagnose(init: DoctorInit): Promise<Finding[]> {
  const { network, engine } = init.mesh()
  const permissions = await Promise.all(init.privatePaths.map(({ path, holds }) => checkPrivate(path, holds)))
  return [
    checkNode(),
    ...checkDiscovery(network),
    checkListening(network),
    checkPeers(init.mesh()),
    await checkTimers(init.clock),
    checkClock(init.clock),
    checkWork(engine.node.host.slots.offered()),
    ...permissions
  ]
}

function checkNode(): Finding {
  return { check: 'node', state: 'ok', detail: `Node.js ${process.versions.node} on ${process.platform}` }
}

function checkDiscovery(network: Network): Finding[] {
  const { mdns, unreachable, refused } = network.discovery()
  const findings: Finding[] = []
  const detail = mdns.detail ?? ''
  if (mdns.state === 'ok') {
    findings.push({ check: 'discovery', state: 'ok', detail: 'own mDNS queries are heard on the wire' })
  } else if (mdns.state === 'off') {
    findings.push({
      check: 'discovery',
      state: 'ok',
      detail: 'mDNS is off by configuration; only given peers are dialled'
    })
  } else {
    const hint = 'multicast does not work here: name another host with --peer ADDR, or free UDP port 5353'
    findings.push({ check: 'discovery', state: 'warning', detail: `mDNS is ${mdns.state} ${detail}`.trim(), hint })
  }
  for (const { peer, addresses, lastError } of unreachable) {
    const hint = `is it running, and may this host reach ${addresses[0] ?? 'its addresses'}?`
    findings.push({ check: 'reachability', state: 'warning', detail: `${peer || addresses[0]}: ${lastError}`, hint })
  }
  const reasons = Object.entries(refused).filter(([, count]) => count > 0)
  if (reasons.length > 0) {
    const text = reasons.map(([reason, count]) => `${reason} ${count}`).join(', ')
    findings.push({ check: 'strangers', state: 'ok', detail: `refused at the gate since start: ${text}` })
  }
  return findings
}

function checkListening(network: Network): Finding {
  const addresses = network.addresses()
  const outside = addresses.filter(address => !address.startsWith('/ip4/127.') && !address.startsWith('/ip6/::1/'))
  if (outside.length > 0) return { check: 'port', state: 'ok', detail: `listening on ${outside.join(', ')}` }
  const hint = 'connect a network, or start with --listen /ip4/0.0.0.0/tcp/4001'
  const detail =
    addresses.length === 0 ? 'no address is listened on' : 'only loopback: other hosts cannot reach this one'
  return { check: 'port', state: 'warning', detail, hint }
}

function checkPeers({ engine }: MeshSession): Finding {
  const members = engine.node.view.members().filter(({ state }) => state !== 'left')
  const alive = members.filter(({ state }) => state === 'alive').length
  const rest = members.length - alive
  if (members.length === 0) {
    const hint = 'add a machine: run `starling token create` here and `starling up --join TOKEN` there'
    return { check: 'peers', state: 'ok', detail: 'this daemon is alone in its swarm', hint }
  }
  const detail = `${alive} alive${rest > 0 ? `, ${rest} not` : ''}`
  return { check: 'peers', state: alive === 0 ? 'warning' : 'ok', detail }
}

async function checkTimers(clock: Clock): Promise<Finding> {
  const begun = clock.now()
  await new Promise<void>(resolve => clock.after(TIMER_CHECK_MS, resolve))
  const late = Math.max(0, clock.now() - begun - TIMER_CHECK_MS)
  const detail = `a timer fired ${late.toFixed(1)} ms late`
  if (late < TIMER_LATE_WARN_MS) return { check: 'load', state: 'ok', detail }
  return { check: 'load', state: 'warning', detail, hint: 'the host is starved: offer fewer slots' }
}

/** No other clock is asked: only one that is plainly unset can be told from here. */
function checkClock(clock: Clock): Finding {
  const wall = clock.wall()
  const year = new Date(wall).getUTCFullYear()
  const detail = `wall clock says ${new Date(wall).toISOString()}`
  if (year >= 2025) return { check: 'clock', state: 'ok', detail }
  return { check: 'clock', state: 'failed', detail, hint: 'set the clock: certificates are judged by it' }
}

function checkWork(offered: readonly { name: string; slots: number; free: number }[]): Finding {
  if (offered.length > 0) {
    const text = offered.map(({ name, slots, free }) => `${name} (${free} of ${slots} free)`).join(', ')
    return { check: 'capabilities', state: 'ok', detail: text }
  }
  const hint = 'declare one in config.yaml, or connect an SDK worker'
  return { check: 'capabilities', state: 'ok', detail: 'none: this host takes no work', hint }
}

async function checkPrivate(path: string, holds: string): Promise<Finding> {
  const check = 'permissions'
  try {
    const { mode } = await stat(path)
    const open = (mode & 0o077) !== 0
    if (!open) return { check, state: 'ok', detail: `${holds}: only you can read ${path}` }
    return { check, state: 'failed', detail: `${holds}: others can open ${path}`, hint: `chmod go= ${path}` }
  } catch (error) {
    const detail = `${holds}: ${error instanceof Error ? error.message : String(error)}`
    return { check, state: 'unknown', detail, hint: 'start the daemon again: it makes what is missing' }
  }
}
