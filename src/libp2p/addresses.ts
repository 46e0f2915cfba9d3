import { networkInterfaces } from 'node:os'
import { multiaddr } from '@multiformats/multiaddr'
import { StarlingError } from '../core/errors.ts'
import type { PeerId } from '../core/ids.ts'

/** Addresses kept per peer: enough for a host with several cards, few enough that a round of dials ends soon. */
export const ADDRESSES_PER_PEER_MAX = 8

/** Longest multiaddr that is looked at; the longest sensible one is a DNS name of 253 characters with a port. */
const ADDRESS_CHARS_MAX = 320

const HOST_NAMES: ReadonlySet<string> = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6'])

export interface Address {
  /** Multiaddr without peer id, in its canonical form. */
  readonly address: string
  readonly peer: PeerId | undefined
  /** IP address or DNS name. */
  readonly host: string
}

/** Reads a TCP multiaddr with or without `/p2p/ID`; undefined when it is anything else. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > ADDRESS_CHARS_MAX) return undefined
  try {
    const [host, tcp, p2p, ...rest] = multiaddr(text).getComponents()
    if (host?.value === undefined || !HOST_NAMES.has(host.name) || tcp?.name !== 'tcp' || rest.length > 0)
      return undefined
    if (p2p !== undefined && p2p.name !== 'p2p') return undefined
    return { address: `/${host.name}/${host.value}/tcp/${tcp.value}`, peer: p2p?.value, host: host.value }
  } catch {
    return undefined
  }
}

/** As `parseAddress`, for what a user wrote. @throws StarlingError CONFIG_INVALID */
export function requireAddress(text: string, where: string): Address {
  const address = parseAddress(text)
  if (address === undefined)
    throw new StarlingError('CONFIG_INVALID', `${where}: "${text}" is no TCP multiaddr`, {
      hint: 'write it like /ip4/0.0.0.0/tcp/4001 or /dns4/host.lan/tcp/4001'
    })
  return address
}

export function isLoopback(host: string): boolean {
  return /^127\./.test(host) || host === '::1' || host === 'localhost' || host.endsWith('.localhost')
}

/** Addresses of this host's own network interfaces. */
export function ownHosts(): ReadonlySet<string> {
  return new Set(
    Object.values(networkInterfaces())
      .flatMap(entries => entries ?? [])
      .map(entry => entry.address)
  )
}

/**
 * Addresses of one peer in the order in which they are to be dialled. Another host's loopback address is left out:
 * dialled from here it would be this host. It is kept, last, when the peer shares one of this host's other addresses,
 * and when loopback is all that this daemon itself can be reached at (`onlyLoopback`: then all its members are here).
 */
export function dialOrder(
  addresses: readonly string[],
  here: { readonly own: ReadonlySet<string>; readonly onlyLoopback: boolean; readonly trusted: ReadonlySet<string> }
): string[] {
  const parsed = addresses.flatMap(address => parseAddress(address) ?? [])
  const elsewhere = parsed.filter(({ host }) => !isLoopback(host))
  const sameHost = elsewhere.length > 0 ? elsewhere.some(({ host }) => here.own.has(host)) : here.onlyLoopback
  const loopback = parsed.filter(({ host, address }) => isLoopback(host) && (sameHost || here.trusted.has(address)))
  return [...elsewhere, ...loopback].map(({ address }) => address)
}
