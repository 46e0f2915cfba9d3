import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { MeshSession } from './mesh-session.ts'

/** Prometheus text of this daemon: what the mesh session in force counts, and the process's own figures. */
export function metricsOf(mesh: () => MeshSession): () => Promise<string> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'starling_' })
  const gauge = (name: string, help: string, labelNames: string[], collect: (of: Gauge) => void) =>
    new Gauge({
      name: `starling_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        collect(this)
      }
    })
  gauge('peers', 'Members by state, this daemon not counted.', ['state'], of => {
    for (const { state } of mesh().engine.node.view.members()) of.inc({ state })
  })
  gauge('jobs_running', 'Jobs submitted here that are not over.', [], of =>
    of.set(mesh().engine.node.roots.ledgers().length)
  )
  gauge('attempts_running', 'Task attempts that execute here.', [], of => of.set(mesh().engine.attempts.size))
  gauge('slots', 'Slots offered here, by capability.', ['capability'], of => {
    for (const { name, slots } of mesh().engine.node.host.slots.offered()) of.set({ capability: name }, slots)
  })
  gauge('network_events', 'Counts of the network adapter since it started.', ['event'], of => {
    for (const [event, count] of Object.entries(mesh().network.counters())) of.set({ event }, count)
  })
  gauge('job_frames_sent_total', 'Frames of jobs sent to other daemons, by kind.', ['kind'], of => {
    for (const [kind, count] of mesh().engine.framesSent) of.set({ kind }, count)
  })
  return () => registry.metrics()
}
