/**
 * Environment variable by which the processes of a task are found again wherever they have gone: children inherit it,
 * also those that leave the process group and those that outlive the daemon. Its value is a list of marks, outermost
 * first, since a task may run a daemon of its own.
 */
export const JAIL_VARIABLE = 'STARLING_JAIL'

/** Daemons within tasks of daemons: more than any sensible nesting; the outermost marks are dropped beyond it. */
const NESTED_MARKS_MAX = 8

/** Which processes are meant: all of a home, all of one life of its daemon, or one jail. */
export interface Mark {
  /** 16 lower-case hex digits, see `homeId`. */
  readonly home: string
  /** Letters, digits, `-` and `_` only. */
  readonly boot: string
  readonly jail: string
}

const MARK_PATTERN = /^([0-9a-f]{16}):([A-Za-z0-9_-]{1,64}):([a-z0-9]{1,64})$/

export function markText(mark: Mark): string {
  return `${mark.home}:${mark.boot}:${mark.jail}`
}

/** Marks in the value of the variable; what is no mark is left out. */
export function parseMarks(value: string): Mark[] {
  const marks: Mark[] = []
  for (const item of value.split(',')) {
    const match = MARK_PATTERN.exec(item)
    if (match?.[1] !== undefined && match[2] !== undefined && match[3] !== undefined) {
      marks.push({ home: match[1], boot: match[2], jail: match[3] })
    }
  }
  return marks
}

/** Value of the variable for a task, under what the daemon itself has inherited. */
export function markValue(inherited: string | undefined, mark: Mark): string {
  const outer = parseMarks(inherited ?? '').map(markText)
  return [...outer.slice(1 - NESTED_MARKS_MAX), markText(mark)].join(',')
}

export function isBootName(boot: string): boolean {
  return /^[A-Za-z0-9_-]{1,64}$/.test(boot)
}

/** Name of the control group of one life of a daemon; with an empty boot the prefix of all of its home. */
export function bootCgroupName(home: string, boot: string): string {
  return `starling-${home}-${boot}`
}
