import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest begin first: a long one at the end would leave one of two cores idle. */
const longest = [
  'test/faults/',
  'test/transport/h2/fuzz',
  'test/docs/readme',
  'test/e2e/',
  'test/oracle/',
  'test/fuzz/',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = longest.findIndex(part => moduleId.includes(part))
      return at < 0 ? longest.length : at
    }
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}

const everywhere = {
  testTimeout: 30_000,
  hookTimeout: 60_000,
}

export default defineConfig({
  test: {
    // Two workers: the suites start PostgreSQL and Envoy of their own, and CI has two cores.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      { test: { ...everywhere, name: 'all', include: ['test/**/*.test.ts'] } },
      // What goes through a check's listener, over the other transport.
      {
        test: {
          ...everywhere,
          name: 'grpc-js',
          include: ['test/e2e/**/*.test.ts'],
          env: { CHECK_TRANSPORT: 'grpc-js' },
        },
      },
    ],
  },
})
