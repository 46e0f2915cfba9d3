/**
 * The composition root: configuration, home directory, and everything that runs in one daemon, started in order and
 * stopped in reverse. The only place that knows every class.
 */
export { type DaemonOptions, type RunningDaemon, startDaemon } from './daemon.ts'
