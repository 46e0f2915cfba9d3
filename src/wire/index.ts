/**
 * What is written on the network and on the control socket: protocol ids, topic names, frames, schemas of the API.
 * The only place where bytes from elsewhere are understood. Imports `core/` for the values that it encodes.
 */
export { ERROR_CODES, type ErrorCode, isErrorCode, StarlingError } from '../core/errors.ts'
export * from './frame-codec.ts'
export * from './names.ts'
