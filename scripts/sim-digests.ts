/**
 * Runs the same seeds under this Node and under another major version (from the npm registry), and compares the digests
 * of all that happened: `node scripts/sim-digests.ts [FROM..TO] [VERSION]`. Exit 1 when they differ.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

const [seeds = '1..200', version = '22'] = process.argv.slice(2)
const main = join(import.meta.dirname, '../dist/cli/main.js')
const args = [main, 'sim', '--seeds', seeds, '--json']

const here = digest(process.execPath, args)
const other = ['--yes', `--package=node@${version}`, '--', 'node']
const otherVersion = execFileSync('npx', [...other, '--version'], { encoding: 'utf8' })
  .trim()
  .slice(1)
const there = digest('npx', [...other, ...args])
console.log(`${here.digest}  Node ${process.versions.node}`)
console.log(`${there.digest}  Node ${otherVersion}, ${there.schedules} schedules`)
const isOther = otherVersion.split('.')[0] === version && process.versions.node.split('.')[0] !== version
process.exitCode = here.digest === there.digest && isOther ? 0 : 1

function digest(program: string, argv: readonly string[]): { digest: string; schedules: number } {
  return JSON.parse(execFileSync(program, argv, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }))
}
