import { networkInterfaces } from 'node:os'
import type { PeerDiscovery, PeerInfo } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { isPrivate } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../core/ids.ts'
import type { Clock, Random, Timer } from '../ports/clock.ts'
import type { Logger } from '../ports/logger.ts'
import type { Discovery } from '../ports/network.ts'
import { isLoopback, ownHosts, parseAddress } from './addresses.ts'
import type { NetworkTiming } from './timing.ts'

/** The service's own query timer is not used: ours knows whether a query was sent and heard. */
const NEVER_MS = 2_147_483_647

/** Own queries in a row that are not heard before the service counts as deaf and is started again. */
const UNHEARD_QUERIES_MAX = 3

/** Between restarts for deafness: the cause may last (a firewall), and the state says so anyway. */
const DEAF_RESTART_MS = 30_000

/** Time after a start during which queries are frequent: answers and queries get lost while a network comes up. */
const EAGER_MS = 30_000

/** A timer that comes later than this was slept through: sockets may be dead without a sign. */
const WOKE_AFTER_MS = 5_000

/** The service and the multicast socket inside it, as far as they are used here. */
interface MdnsService extends PeerDiscovery {
  start(): Promise<void>
  stop(): Promise<void>
  readonly mdns?: MulticastSocket | undefined
}

interface MulticastSocket {
  on(event: 'packet' | 'query', listener: (packet: Packet, from: { address: string }) => void): unknown
  on(event: 'error' | 'warning', listener: (error: Error & { code?: string }) => void): unknown
  query(query: { questions: readonly Question[] }, sent: (error?: Error & { code?: string }) => void): void
}

interface Question {
  readonly name: string
  readonly type: 'PTR'
}

interface Packet {
  readonly questions?: readonly { readonly name: string }[]
}

/** What libp2p hands to a service. */
export type LanComponents = Parameters<ReturnType<typeof mdns>>[0]

export interface LanInit {
  readonly serviceTag: string
  readonly clock: Clock
  readonly random: Random
  readonly timing: NetworkTiming
  readonly logger: Logger
  /** Whether members are missing, so that queries are worth their cost. */
  missing(): boolean
  /** A peer has announced itself; only private addresses, and loopback ones only when it is on this host. */
  sighted(peer: PeerId, addresses: string[]): void
}

/**
 * Discovery on the LAN by mDNS. It owns the service and never registers it with libp2p, which would put unverified
 * addresses into its peer store and would report each peer once only. Restarts it when the interfaces change, when the
 * host has slept, and when own queries are not heard: multicast loops back, so a healthy socket hears them.
 */
export class Lan {
  readonly #init: LanInit
  readonly #make: () => MdnsService
  #service: MdnsService | undefined
  #state: Discovery['mdns'] = { state: 'silent', detail: 'no query heard back yet' }
  #queryTimer: Timer | undefined
  #watchTimer: Timer | undefined
  #mark = ''
  #unheard = 0
  #startedAt = 0
  #restartedAt = Number.NEGATIVE_INFINITY
  #restarts = 0
  #interfaces = ''
  #lastSource = ''
  #restarting: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(components: LanComponents, init: LanInit) {
    this.#init = init
    this.#make = () => mdns({ serviceTag: init.serviceTag, interval: NEVER_MS })(components) as MdnsService
  }

  get restarts(): number {
    return this.#restarts
  }

  state(): Discovery['mdns'] {
    return this.#state
  }

  async start(): Promise<void> {
    this.#startedAt = this.#init.clock.now()
    this.#interfaces = fingerprint()
    await this.#open()
    this.#watch()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#queryTimer?.cancel()
    this.#watchTimer?.cancel()
    await this.#restarting
    await this.#service?.stop()
  }

  async #open(): Promise<void> {
    const service = this.#make()
    this.#service = service
    this.#mark = `${this.#init.random.hex(8)}.${this.#init.serviceTag}`
    this.#unheard = 0
    service.addEventListener('peer', event => this.#sighted(event.detail))
    await service.start()
    const socket = service.mdns
    // Errors of the bind come in a later turn of the loop; libp2p itself only logs them.
    socket?.on('error', error => {
      if (this.#service === service) this.#failed(error)
    })
    socket?.on('packet', (_packet, from) => {
      this.#lastSource = from.address
    })
    socket?.on('query', packet => {
      if (this.#service === service && packet.questions?.[1]?.name === this.#mark) this.#heard()
    })
    this.#query(service)
  }

  /** Asks who is there. The second question only marks the query as ours; everybody ignores it. */
  #query(service: MdnsService): void {
    this.#queryTimer?.cancel()
    if (this.#stopped || this.#service !== service) return
    if (this.#unheard >= UNHEARD_QUERIES_MAX) this.#deaf()
    this.#unheard += 1
    const questions: Question[] = [
      { name: this.#init.serviceTag, type: 'PTR' },
      { name: this.#mark, type: 'PTR' }
    ]
    service.mdns?.query({ questions }, error => {
      if (error && this.#service === service) this.#failed(error)
    })
    const { clock, timing } = this.#init
    const eager = clock.now() - this.#startedAt < EAGER_MS || this.#unheard > 1 || this.#init.missing()
    this.#queryTimer = clock.after(eager ? timing.queryMs : timing.calmQueryMs, () => this.#query(service))
  }

  #heard(): void {
    this.#unheard = 0
    this.#setState({ state: 'ok' })
  }

  #failed(error: Error & { code?: string }): void {
    const detail =
      error.code === 'EADDRINUSE'
        ? 'UDP port 5353 is taken by a program that does not share it'
        : `cannot send: ${error.code ?? error.message}`
    this.#setState({ state: 'failed', detail })
  }

  #deaf(): void {
    if (this.#state.state !== 'failed')
      this.#setState({ state: 'silent', detail: `${this.#unheard} own queries were not heard back` })
    if (this.#init.clock.now() - this.#restartedAt > DEAF_RESTART_MS) this.#restart('deaf')
  }

  #setState(state: Discovery['mdns']): void {
    if (state.state !== this.#state.state)
      this.#init.logger[state.state === 'ok' ? 'info' : 'warn']('mDNS state', { ...state })
    this.#state = state
  }

  /** Looks at the interfaces and at the clock, for ever. */
  #watch(): void {
    const { clock, timing } = this.#init
    const armedAt = clock.now()
    this.#watchTimer = clock.after(timing.interfacesMs, () => {
      const print = fingerprint()
      const changed = print !== this.#interfaces
      const woke = clock.now() - armedAt > timing.interfacesMs + WOKE_AFTER_MS
      this.#interfaces = print
      if (changed || woke) {
        this.#startedAt = clock.now()
        this.#restart(changed ? 'interfaces changed' : 'woke')
      }
      if (!this.#stopped) this.#watch()
    })
  }

  /** One restart at a time; never rejects. */
  #restart(reason: string): void {
    this.#restartedAt = this.#init.clock.now()
    this.#restarting = this.#restarting.then(async () => {
      if (this.#stopped) return
      this.#restarts += 1
      this.#init.logger.info('mDNS restarted', { reason })
      try {
        const old = this.#service
        this.#service = undefined
        await old?.stop()
        await this.#open()
      } catch (error) {
        this.#failed(error instanceof Error ? error : new Error(String(error)))
      }
    })
  }

  #sighted(info: PeerInfo): void {
    const sameHost = ownHosts().has(this.#lastSource)
    const addresses = info.multiaddrs.map(String).filter(address => {
      const parsed = parseAddress(address)
      return parsed !== undefined && isPrivate(multiaddr(parsed.address)) && (sameHost || !isLoopback(parsed.host))
    })
    if (addresses.length > 0) this.#init.sighted(info.id.toString(), addresses)
  }
}

/** Changes when a card comes, goes, or is replaced by another one with the same address. */
function fingerprint(): string {
  return Object.entries(networkInterfaces())
    .flatMap(([name, entries]) => (entries ?? []).map(entry => `${name} ${entry.address} ${entry.mac}`))
    .sort()
    .join('\n')
}
