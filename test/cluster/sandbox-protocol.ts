/** What goes over the IPC channel between a test and the init process of its sandbox. Answers carry the request's `ref`. */
export type SandboxRequest =
  | { readonly kind: 'verb'; readonly ref: number; readonly args: readonly string[] }
  | ({ readonly kind: 'spawn'; readonly ref: number } & SpawnRequest)
  | { readonly kind: 'signal'; readonly ref: number; readonly pid: number; readonly signal: NodeJS.Signals }

export interface SpawnRequest {
  /** Number of the virtual host; undefined: no host, no network. */
  readonly host: number | undefined
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** File that stderr is appended to. */
  readonly log: string
}

/** Times are milliseconds since 1970: all processes of a sandbox share the machine's clock. */
export type SandboxMessage =
  | { readonly kind: 'up' }
  | { readonly kind: 'done'; readonly ref: number; readonly code: number | null; readonly output: string }
  | { readonly kind: 'spawned'; readonly ref: number; readonly pid: number; readonly atMs: number }
  | { readonly kind: 'line'; readonly pid: number; readonly line: string; readonly atMs: number }
  | {
      readonly kind: 'exited'
      readonly pid: number
      readonly code: number | null
      readonly signal: NodeJS.Signals | null
      readonly atMs: number
    }
