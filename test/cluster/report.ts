/** Prints a time that a test has measured; no test fails on it. */
export function report(what: string, ms: number): void {
  process.stdout.write(`    ${what}: ${(ms / 1_000).toFixed(2)} s\n`)
}
