/** The membership view: who is alive, suspect, dead or has left, what they offer, and how far away they are. */
export * from './member-view.ts'
export * from './timing.ts'
