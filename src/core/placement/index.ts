/**
 * Who gets the work: tasks wait at their owner (`Placer`), slots at their host (`SlotTable`); a task is bound to a host
 * only when that host has a free slot for it.
 */
export * from './placer.ts'
export * from './slot-table.ts'
