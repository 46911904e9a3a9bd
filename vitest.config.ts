import { defineConfig } from 'vitest/config'

const everywhere = {
  // Two workers: the suites start PostgreSQL and Envoy of their own, and CI has two cores.
  maxWorkers: 2,
  testTimeout: 30_000,
  hookTimeout: 60_000,
}

export default defineConfig({
  test: {
    projects: [
      { test: { ...everywhere, name: 'all', include: ['test/**/*.test.ts'] } },
      // What goes through a check's listener, over the other transport.
      { test: { ...everywhere, name: 'h2', include: ['test/e2e/**/*.test.ts'], env: { CHECK_TRANSPORT: 'h2' } } },
    ],
  },
})
