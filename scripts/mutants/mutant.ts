/** One place that is changed: `find` occurs exactly once in the file, so that a mutant cannot rot unnoticed. */
export interface Edit {
  /** Below src. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** One cure taken out of the sources. The simulator must notice. */
export interface Mutant {
  readonly name: string
  /** Rule, cure or hole of the protocol that it undoes. */
  readonly cure: string
  readonly edits: readonly Edit[]
  /** Seeds that may be tried, unless BUDGET_SEEDS. */
  readonly budget?: number
}

export const BUDGET_SEEDS = 1_500
