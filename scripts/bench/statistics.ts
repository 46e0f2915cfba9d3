/** The value below which the share `p` (0..1) of the samples lies; nearest rank. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? Number.NaN
}

const P99_SAMPLES_MIN = 100

export interface Row {
  readonly what: string
  readonly unit: string
  readonly samples: readonly number[]
  /** Measured in the same run, for comparison. */
  readonly reference?: { readonly what: string; readonly samples: readonly number[] }
}

export function summary(row: Row): Record<string, string> {
  const { what, unit, samples, reference } = row
  const [p50, p95] = [percentile(samples, 0.5), percentile(samples, 0.95)]
  const shown = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(2))
  // Fewer samples have no 99th percentile of their own: it would be the greatest of them.
  const p99 = samples.length >= P99_SAMPLES_MIN ? shown(percentile(samples, 0.99)) : ''
  const base = { what, n: String(samples.length), p50: shown(p50), p95: shown(p95), p99, unit }
  if (reference === undefined) return { ...base, reference: '', ratio: '' }
  const other = percentile(reference.samples, 0.5)
  return { ...base, reference: `${reference.what}: ${shown(other)}`, ratio: (p50 / other).toFixed(2) }
}
