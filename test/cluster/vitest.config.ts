import { defineConfig } from 'vitest/config'

/** Tests that need a LAN of their own. Run them with `test/cluster/run.sh`: it gives them private namespaces. */
// biome-ignore lint/style/noDefaultExport: Vitest reads its configuration from the default export.
export default defineConfig({
  test: {
    include: ['test/cluster/**/*.test.ts'],
    globalSetup: ['test/cluster/require-sandbox.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 60_000
  }
})
