import Table from 'cli-table3'
import type { Terminal } from './terminal.ts'
import { printable } from './text.ts'

/** Space between columns; no lines, so that a table can be searched and cut with ordinary tools. */
const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  '
}

/** Prints rows under headings. What would end a line or steer a terminal within a cell is made visible. */
export function printTable(
  terminal: Terminal,
  headings: readonly string[],
  rows: readonly (readonly string[])[]
): void {
  const table = new Table({
    head: headings.map(heading => terminal.style('dim', heading)),
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  })
  for (const row of rows) table.push(row.map(cell => printable(cell.replaceAll('\n', ' '))))
  terminal.out(trimLines(table.toString()))
}

function trimLines(text: string): string {
  return text
    .split('\n')
    .map(line => line.trimEnd())
    .join('\n')
}
