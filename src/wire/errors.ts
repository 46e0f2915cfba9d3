/**
 * The table of error codes, for those who may not import `core`. Apart from `index.ts` so that a short-lived program can
 * have it without the codecs.
 */
export { ERROR_CODES, type ErrorCode, isErrorCode, StarlingError } from '../core/errors.ts'
