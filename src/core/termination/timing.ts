/** Times of leases, in milliseconds of a monotonic clock (termination.md 1.6.9). */

/** Length of a lease: event-loop stalls of about four seconds do no harm. */
export const LEASE_MS = 6_000

/** A daemon renews its leases this often, so that several renewals fit into one lease. */
export const RENEW_INTERVAL_MS = 1_000

/** Largest difference of two hosts' clock rates that is borne (1 %). */
export const CLOCK_DRIFT = 0.01

/** Executors are gone this long after the end of their lease (kill ladder). */
export const KILL_GRACE_MS = 1_000

/** Covers timers that fire late at the root. */
export const LEASE_MARGIN_MS = 250

/** The root may take an engagement for lost this long after it last heard a renewal. */
export const LEASE_EXPIRY_MS = LEASE_MS * (1 + 3 * CLOCK_DRIFT) + KILL_GRACE_MS + LEASE_MARGIN_MS

/**
 * A root that has not answered for this long after an engagement ended is taken to be gone: its job is logged as abandoned
 * and asked for again only when there is a link to it.
 */
export const ABANDONED_AFTER_MS = 60_000

/** An ENGAGE without an answer is sent again after this. */
export const ENGAGE_RETRY_MS = 1_000

/** Unacknowledged settles and cancels are sent again this often, besides at every new link. */
export const RESEND_INTERVAL_MS = 10_000
