import { createHash } from 'node:crypto'
import { createReadStream, type Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { extname, join } from 'node:path'

/** Capability that the demo's workers serve: look at one directory. */
export const WALK = 'walk'

/** Counts of one language: files, lines, bytes. */
export type Counts = [files: number, lines: number, bytes: number]

/** What is known of one directory, its sub-directories not included. Small enough to ride on the task's record. */
export interface DirectoryReport {
  /** Path below the root of the walk, "." for the root itself. */
  readonly dir: string
  readonly languages: Readonly<Record<string, Counts>>
  /** SHA-256 over the names and contents of its files. */
  readonly digest: string
  /** Files and sub-directories that could not be read. */
  readonly unreadable: number
}

/** Sum of a whole tree. */
export interface TreeTotal {
  readonly directories: number
  readonly files: number
  readonly lines: number
  readonly bytes: number
  readonly unreadable: number
  readonly languages: Readonly<Record<string, Counts>>
  /** SHA-256 over all directories and their digests, in the order of their paths. */
  readonly digest: string
}

/** Few enough that a report stays below the bytes that a task's record may carry. */
const LANGUAGES: Readonly<Record<string, string>> = {
  '.ts': 'TypeScript',
  '.tsx': 'TypeScript',
  '.mts': 'TypeScript',
  '.cts': 'TypeScript',
  '.js': 'JavaScript',
  '.jsx': 'JavaScript',
  '.mjs': 'JavaScript',
  '.cjs': 'JavaScript',
  '.json': 'JSON',
  '.map': 'source maps',
  '.md': 'Markdown',
  '.html': 'HTML',
  '.css': 'CSS',
  '.yml': 'YAML',
  '.yaml': 'YAML',
  '.proto': 'Protobuf',
  '.sh': 'Shell',
  '.py': 'Python',
  '.go': 'Go',
  '.rs': 'Rust',
  '.c': 'C',
  '.h': 'C',
  '.cc': 'C++',
  '.cpp': 'C++',
  '.java': 'Java',
  '.node': 'binaries',
  '.wasm': 'binaries'
}

const NEWLINE = 10

/**
 * Looks at one directory: reads every file, follows no link. Returns its report and the names of its sub-directories.
 * A file that cannot be read is counted, never guessed.
 */
export async function walkDirectory(
  root: string,
  dir: string
): Promise<{ report: DirectoryReport; children: string[] }> {
  const languages: Record<string, Counts> = {}
  const hash = createHash('sha256')
  const children: string[] = []
  let unreadable = 0
  for (const entry of await entriesOf(join(root, dir))) {
    if (entry.isDirectory()) children.push(join(dir, entry.name))
    if (!entry.isFile()) continue
    const content = await readFile(join(root, dir, entry.name)).catch(() => undefined)
    hash.update(`${entry.name}\0${content?.digest ?? 'unreadable'}\n`)
    if (content === undefined) {
      unreadable += 1
      continue
    }
    const language = LANGUAGES[extname(entry.name).toLowerCase()] ?? 'other'
    const [files, lines, bytes] = languages[language] ?? [0, 0, 0]
    languages[language] = [files + 1, lines + content.lines, bytes + content.bytes]
  }
  return { report: { dir, languages, digest: hash.digest('hex'), unreadable }, children }
}

/** The same walk in this process, one directory after another: what the pool's result is compared with. */
export async function walkSequentially(root: string, signal?: AbortSignal): Promise<DirectoryReport[]> {
  const reports: DirectoryReport[] = []
  const waiting = ['.']
  for (let dir = waiting.pop(); dir !== undefined; dir = waiting.pop()) {
    signal?.throwIfAborted()
    const { report, children } = await walkDirectory(root, dir)
    reports.push(report)
    waiting.push(...children)
  }
  return reports
}

/** Directories that only one side has seen, or that the two sides have seen differently. */
export function differences(a: readonly DirectoryReport[], b: readonly DirectoryReport[]): string[] {
  const left = new Map(a.map(({ dir, digest }) => [dir, digest]))
  const right = new Map(b.map(({ dir, digest }) => [dir, digest]))
  const dirs = new Set([...left.keys(), ...right.keys()])
  return [...dirs].filter(dir => left.get(dir) !== right.get(dir)).sort()
}

/** The sum of all directories, whatever the order in which they were looked at. */
export function sumOf(reports: readonly DirectoryReport[]): TreeTotal {
  const languages: Record<string, Counts> = {}
  const hash = createHash('sha256')
  const sum = { files: 0, lines: 0, bytes: 0, unreadable: 0 }
  for (const report of [...reports].sort((a, b) => (a.dir < b.dir ? -1 : 1))) {
    hash.update(`${report.dir}\0${report.digest}\n`)
    sum.unreadable += report.unreadable
    for (const [language, [files, lines, bytes]] of Object.entries(report.languages)) {
      const known = languages[language] ?? [0, 0, 0]
      languages[language] = [known[0] + files, known[1] + lines, known[2] + bytes]
      sum.files += files
      sum.lines += lines
      sum.bytes += bytes
    }
  }
  return { directories: reports.length, ...sum, languages, digest: hash.digest('hex') }
}

/** In a fixed order, so that the digest does not depend on the file system. */
async function entriesOf(path: string): Promise<Dirent[]> {
  const entries = await readdir(path, { withFileTypes: true })
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function readFile(path: string): Promise<{ lines: number; bytes: number; digest: string }> {
  const hash = createHash('sha256')
  let lines = 0
  let bytes = 0
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) lines += 1
  }
  return { lines, bytes, digest: hash.digest('hex') }
}
