/** Times of failure detection, in milliseconds. They drive display and placement only; recovery waits for leases. */

/** Every member is greeted this often on its control stream: 380 small frames a second among twenty. */
export const HEARTBEAT_INTERVAL_MS = 1_000

/** Silence after which a linked member is suspect: three missed heartbeats and a little. */
export const SUSPECT_AFTER_MS = 3_300

/** Silence after which a member is dead and its link is cut. */
export const DEAD_AFTER_MS = 6_000

/** A member that is dead or has left is shown for a day. */
export const FORGET_AFTER_MS = 24 * 3_600_000

/** An own timer that fires later than this makes the host itself the suspect (Lifeguard: local health). */
export const LATE_TIMER_MS = 250

/** Highest local-health score; time-outs are multiplied by score + 1 (memberlist's awareness has 8 steps as well). */
export const AWARENESS_MAX = 7
