/** Bounds of the protocol. Each says its unit in its name and its reason above it. */

/** Input of a task, encoded as JSON. Bigger things are files: pass a path or a reference. */
export const INPUT_BYTES_MAX = 1024 * 1024

/** The quotes around a plain text, which a person who counts its bytes does not see: carried beside the limit. */
export const TEXT_QUOTES_BYTES = 2

/** Result of a task, encoded as JSON; the same as for inputs, since one task's result is another one's input. */
export const RESULT_BYTES_MAX = 1024 * 1024

/** Results up to this length are kept in the task's record, so that a job's result can be the sum of its tasks' results. */
export const RECORD_RESULT_BYTES_MAX = 2 * 1024

/** Text of an error that travels with a settle: enough for a message and the end of a log, not for a flood. */
export const ERROR_MESSAGE_CHARS_MAX = 2_000

/** One frame on the control stream: the largest input or result with its envelope. */
export const FRAME_BYTES_MAX = INPUT_BYTES_MAX + 64 * 1024

/** Records that ride on one settle frame; more travel in parts before it, so that frames stay under FRAME_BYTES_MAX. */
export const RECORDS_PER_FRAME_BYTES_MAX = 512 * 1024

/** Levels of spawning: a chain deeper than this is a runaway recursion, not a plan. */
export const DEPTH_MAX = 32

/** Children of one task. */
export const FAN_OUT_MAX = 10_000

/** Obligations that one daemon may hold for one job at one time. */
export const OBLIGATIONS_MAX = 100_000

/** Bytes of inputs that wait for a host at one daemon, over all jobs: beyond it spawn and submit are refused. */
export const WAITING_INPUT_BYTES_MAX = 256 * 1024 * 1024

/** Times that a task may be given back unfinished by its hosts (worker gone, host leaving) before it fails. */
export const RETURNS_MAX = 5

/**
 * Times that a task is issued again because its host was lost: a fourth host is not sacrificed to a task that may be the
 * reason (C11). Every attempt that was handed to the lost engagement counts, since its owner cannot know whether it began.
 */
export const LOSSES_MAX = 3

/** Engagements that a job may lose before it stops issuing lost work again: each level of a tree counts its own losses. */
export const LOST_ENGAGEMENTS_MAX = 64

/** Attempts of one task that may fail. */
export const ATTEMPTS_MAX = 100

/** Longest wait between two attempts of a task that fails. */
export const BACKOFF_MS_MAX = 10 * 60 * 1000

/** Deadlines of tasks and of draining: a month is longer than anybody waits. */
export const DEADLINE_MS_MAX = 31 * 24 * 60 * 60 * 1000

/** Superseded attempts that an owner remembers, so that their late ends can be told from repeated frames. */
export const SUPERSEDED_MAX = 1_000

/** Late ends kept for one job, to be shown. */
export const LATE_RECORDS_MAX = 1_000

/** Members that a daemon keeps in its view; the design is for twenty, ten times that is a bound, not a target. */
export const PEERS_MAX = 256

/** Multiaddrs of one peer in an advertisement or a peer exchange: more than any host has cards. */
export const ADDRESSES_MAX = 16

/** Parts of one settle that are kept until it is whole: 512 MiB of records, more than the largest job has. */
export const SETTLE_PARTS_MAX = 1_024

/** Capabilities that one daemon may offer. */
export const CAPABILITIES_MAX = 64

/** Slots of one capability at one daemon. */
export const SLOTS_MAX = 1_024

/** Jobs that may run at one submitting daemon at one time. */
export const RUNNING_JOBS_MAX = 1_000

/** Characters of a capability name. */
export const CAPABILITY_NAME_CHARS_MAX = 64

/** A capability name: lower-case words joined by `-`, `_`, `.` or `/`. */
export const CAPABILITY_NAME_PATTERN = /^[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?$/
