import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { StarlingError } from '../../core/index.ts'

/** Where programs are looked for without PATH, as confstr(_CS_PATH) says. */
const DEFAULT_PATH = '/usr/bin:/bin'

/**
 * Path of the program, as execvp(3) would find it from directory `cwd`.
 * @throws StarlingError TASK_FAILED when the directory or the program is missing, or it cannot be executed
 */
export function findProgram(program: string, cwd: string, path: string | undefined): string {
  if (!isDirectory(cwd)) {
    throw new StarlingError('TASK_FAILED', `working directory ${cwd} does not exist`, {
      hint: 'make it, or correct `cwd` of the capability'
    })
  }
  if (program.includes('/')) {
    const file = resolve(cwd, program)
    if (isExecutable(file)) return file
    throw notFound(`${file} is no executable file`)
  }
  for (const directory of (path ?? DEFAULT_PATH).split(delimiter)) {
    const file = isAbsolute(directory) ? join(directory, program) : resolve(cwd, directory, program)
    if (isExecutable(file)) return file
  }
  throw notFound(`no program ${JSON.stringify(program)} in PATH`)
}

function notFound(message: string): StarlingError {
  return new StarlingError('TASK_FAILED', message, { hint: 'install it, or correct `command` of the capability' })
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    // Missing or not executable: the answer of this function.
    return false
  }
}
