/** Bounds of the control socket. Local programs of one user are trusted, but a broken one must not take the daemon along. */

/** Open connections: above the sum of the bounds below, so that these answer first, with a problem. */
export const CONNECTIONS_MAX = 1_024

/** Requests that wait for a job or a child at one time. */
export const WAITS_MAX = 512

/** Readers of event and log streams at one time. */
export const STREAMS_MAX = 128

/** Connected SDK workers. */
export const SESSIONS_MAX = 128

/** Spawns of one worker that the daemon has not answered yet: beyond it the worker is out of control. */
export const SESSION_SPAWNS_MAX = 10_000

/** Bytes that wait on one worker's connection; a worker that far behind is cut off and its attempts are taken back. */
export const SESSION_BUFFER_BYTES_MAX = 64 * 1024 * 1024

/** Levels of nesting of a JSON value from a client: what recursive code after it can take without a full stack. */
export const JSON_DEPTH_MAX = 256

/** Time between two pings to a worker: it takes a daemon that is silent for five of them for stopped. */
export const SESSION_PING_MS = 1_000

/**
 * Silence after which a worker counts as dead. A killed process is noticed at once, since its socket closes; this is for
 * a stopped or frozen one, and leaves room for a handler that computes for seconds without a break.
 */
export const SESSION_SILENCE_MS_MAX = 30_000

/** Time between two comments on a quiet stream, by which a reader sees that the daemon lives. */
export const STREAM_HEARTBEAT_MS = 15_000

/** Time for which a stream's reader may take nothing before it is cut. It may resume, and is told what it has lost. */
export const STREAM_STALL_MS_MAX = 15_000

/** Time that a source may take for its first item or error, so that an error is still answered with its own status. */
export const STREAM_FIRST_ITEM_MS = 50

/** Least time for which a child's outcome is waited for, so that one that has settled is always reported. */
export const CHILD_LOOK_MS = 20

/** Time for which stop lets requests end before it cuts their connections. */
export const STOP_GRACE_MS = 1_000

/** Time for which the socket of another daemon may take to accept: the kernel does it, so this is generous. */
export const PROBE_MS_MAX = 2_000

/** Times of the server; tests make them short. */
export interface ControlTiming {
  readonly sessionPingMs: number
  readonly sessionSilenceMs: number
  readonly streamHeartbeatMs: number
  readonly streamStallMs: number
}

export const CONTROL_TIMING: ControlTiming = {
  sessionPingMs: SESSION_PING_MS,
  sessionSilenceMs: SESSION_SILENCE_MS_MAX,
  streamHeartbeatMs: STREAM_HEARTBEAT_MS,
  streamStallMs: STREAM_STALL_MS_MAX
}
