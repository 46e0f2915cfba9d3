/** Schemas of the control API and of the worker session; types are derived from them, never written twice. */
export * from './limits.ts'
export * from './schemas.ts'
export * from './session.ts'
