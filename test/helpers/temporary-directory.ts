import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'

/** A new directory (0700), removed after the test. Call it inside a test or a `beforeEach`. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'starling-test-'))
  directories.push(path)
  return path
}

const directories: string[] = []

afterEach(() => {
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true })
})
