/**
 * The demo: five real daemons and workers on this machine share a job that nobody could list in advance. `runDemo` does
 * it; `daemon-main` and `worker-main` are the programs of its processes.
 */
export { type DemoResult, type DemoView, type FirstAct, type PoolWalk, runDemo } from './run.ts'
export type { TreeTotal } from './tree-walk.ts'
