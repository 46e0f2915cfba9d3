/** Bounds of the store. Each says its unit in its name and its reason above it. */

/** Finished jobs that are kept for `jobs` and `job ID`; the oldest go first. */
export const FINISHED_JOBS_MAX = 1_000

/** Encoded bytes of one record: the settle of the largest job with room to spare, and well under SQLite's own limit of a blob. */
export const RECORD_BYTES_MAX = 256 * 1024 * 1024

/** Encoded bytes that wait for the next transaction: beyond it the transaction is made at once, within `commit`. */
export const PENDING_BYTES_MAX = 64 * 1024 * 1024

/** Writes that share one transaction: about 20 ms of a small machine, then the event loop gets its turn. */
export const GROUP_WRITES_MAX = 1_024

/** Tasks of a finished job that are encoded in one turn of the event loop and kept in one blob: about 5 ms. */
export const ITEMS_PER_PART = 500

/** Bytes of the write-ahead log that are kept on disk after it was folded into the database. */
export const WAL_BYTES_MAX = 16 * 1024 * 1024

/** Tokens that are kept at one time, used up or not. */
export const TOKENS_MAX = 1_000

/** How long a token outlives its expiry, so that a joiner whose answer was lost gets the same answer again. */
export const TOKEN_KEEP_MS = 24 * 3_600_000

/** Addresses kept per member, best first: more than any host has cards. */
export const MEMBER_ADDRESSES_MAX = 16
