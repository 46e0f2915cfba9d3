/**
 * Durable state of one daemon in one SQLite file: the journal of its jobs, its membership, its incarnation. Commits are
 * grouped, one fsync per turn of the event loop; rows carry checksums; the file is locked while it is open.
 *
 * ```ts
 * const store = openStore({ path: home.database, logger, clock })
 * const boot = store.meta.nextBoot()
 * for (const { job, record } of store.journal.replay()) fold(job, record)
 * await store.journal.commit([{ kind: 'record', job, record }])
 * ```
 */
export type { JournalDamage } from './damage.ts'
export type { StoredJournal } from './journal.ts'
export { FINISHED_JOBS_MAX, RECORD_BYTES_MAX } from './limits.ts'
export type { StoredMembership } from './membership.ts'
export { type Meta, openStore, type Store, type StoreInit } from './store.ts'
