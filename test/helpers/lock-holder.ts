/**
 * Child process of the lock test: `node lock-holder.ts DIRECTORY`. Tries to take the home there and prints one line:
 * `won PID`, or the refusal's code and message. A winner holds the home until it is killed or its stdin ends.
 */
import { writeSync } from 'node:fs'
import { StarlingError } from '../../src/core/errors.ts'
import { lockHome, resolveHome } from '../../src/daemon/home.ts'

try {
  lockHome(resolveHome({ STARLING_HOME: process.argv[2] }, process.getuid?.(), process.platform))
  writeSync(1, `won ${process.pid}\n`)
  process.stdin.resume()
} catch (error) {
  if (!(error instanceof StarlingError)) throw error
  writeSync(1, `${error.code} ${error.message}\n`)
}
