/**
 * The control socket: HTTP/1.1 with JSON, server-sent events and one WebSocket on a unix socket that only its owner can
 * open. It turns requests into calls of `DaemonApi` and errors into problems; what the calls mean is not known here.
 */
export type { ControlTiming } from './limits.ts'
export { type ControlServer, type ControlServerInit, controlServer } from './server.ts'
