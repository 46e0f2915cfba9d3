import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/cluster/**', '**/node_modules/**'],
    // Many tests wait for processes rather than compute: two at a time even on one core.
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      // Programs of their own processes and generated code: the system tests run them, but cannot count their lines.
      exclude: ['src/wire/generated/**', 'src/**/*-main.ts', 'src/cli/main.ts', 'src/demo/**', 'src/daemon/daemon.ts'],
      reporter: ['text-summary', 'json-summary'],
      reportsDirectory: 'coverage',
      thresholds: {
        lines: 80,
        'src/core/**': { lines: 90 },
        'src/wire/**': { lines: 90 },
        'src/engine/**': { lines: 90 },
        'src/store/**': { lines: 90 }
      }
    }
  }
})
