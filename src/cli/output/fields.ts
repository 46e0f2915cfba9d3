import type { Terminal } from './terminal.ts'

/** Prints "name  value" lines, values under each other. */
export function printFields(terminal: Terminal, fields: readonly (readonly [string, string])[]): void {
  const width = Math.max(...fields.map(([name]) => name.length))
  for (const [name, value] of fields) terminal.out(`${terminal.style('dim', name.padEnd(width))}  ${value}`)
}
