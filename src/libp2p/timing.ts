/** Times of the adapter in milliseconds. Only tests set them; users have no reason to. */
export interface NetworkTiming {
  /** One exchange of certificates, at either side. @default 2000: a LAN answers in 5, a starved machine in hundreds */
  readonly exchangeMs: number
  /** All of an inbound upgrade, silence before the first byte included. Below `exchangeMs`. @default 1900 */
  readonly inboundUpgradeMs: number
  /** One address of one dial. @default 4000: a LAN host that is there answers well before */
  readonly dialMs: number
  /** First wait after a failed dial; doubled with each further one. @default 250 */
  readonly backoffMinMs: number
  /** Longest wait between dials of one peer, for ever. @default 15000: a healed network is a mesh again within 20 s */
  readonly backoffMaxMs: number
  /** The peer with the higher id dials this much later (times 0.5 to 1.5): saves crossed handshakes. @default 300 */
  readonly politeMs: number
  /** Before the control stream is opened again on a live connection. @default 20 */
  readonly reopenMs: number
  /** A connection without control stream for this long is cut. @default 5000 */
  readonly controlMissingMs: number
  /** Between looks of the gossip watchdog. @default 1000 */
  readonly watchdogMs: number
  /** Age of a link before the watchdog judges it: at a busy start gossip opens its streams late. @default 3000 */
  readonly watchdogGraceMs: number
  /** Between looks for links whose membership has expired. @default 60000: certificates last a year */
  readonly expiryCheckMs: number
  /** Between mDNS queries at first and while members are missing. @default 2000 */
  readonly queryMs: number
  /** Between mDNS queries when all is well. @default 10000: each query costs one multicast answer per member */
  readonly calmQueryMs: number
  /** Between looks at the network interfaces. @default 1000 */
  readonly interfacesMs: number
  /** Longest wait of `stop` until the others have read all frames (a goodbye). @default 500: a frozen one never will */
  readonly flushMs: number
}

export const DEFAULT_TIMING: NetworkTiming = {
  exchangeMs: 2_000,
  inboundUpgradeMs: 1_900,
  dialMs: 4_000,
  backoffMinMs: 250,
  backoffMaxMs: 15_000,
  politeMs: 300,
  reopenMs: 20,
  controlMissingMs: 5_000,
  watchdogMs: 1_000,
  watchdogGraceMs: 3_000,
  expiryCheckMs: 60_000,
  queryMs: 2_000,
  calmQueryMs: 10_000,
  interfacesMs: 1_000,
  flushMs: 500
}
