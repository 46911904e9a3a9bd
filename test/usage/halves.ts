// Access-log halves and a scripted store for suites of the join.
import { randomBytes } from 'node:crypto'
import type { AccessHalfStore } from '../../src/usage/als-join.ts'
import type { AccessHalf } from '../../src/usage/usage-row.ts'

/** A UUIDv7 of an instant, Unix milliseconds. */
export function uuid7(unixMs: number): string {
  const time = Math.floor(unixMs).toString(16).padStart(12, '0')
  const random = randomBytes(10).toString('hex')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`
}

export function halfOf(decisionId: string, more: Partial<AccessHalf> = {}): AccessHalf {
  return {
    decisionId,
    finalStatus: 200,
    durationUs: 1500,
    requestBytes: 300,
    responseBytes: 120,
    responseFlags: '',
    upstream: 'api 10.0.0.7:3000',
    grpcStatus: null,
    ...more,
  }
}

/** A table of decisions: id → its half, null while it has none. Fails while `failure` is set. */
export class FakeHalfStore implements AccessHalfStore {
  readonly rows = new Map<string, AccessHalf | null>()
  failure: Error | undefined
  /** Halves that were asked for, by call. */
  readonly calls: number[] = []
  closed = false
  /** Runs in the middle of a call. */
  during: () => void = () => undefined

  async join(halves: readonly AccessHalf[]): Promise<ReadonlyMap<string, boolean>> {
    this.calls.push(halves.length)
    this.during()
    if (this.failure !== undefined) throw this.failure
    const found = new Map<string, boolean>()
    for (const half of halves) {
      const row = this.rows.get(half.decisionId)
      if (row === undefined) continue
      if (row === null) this.rows.set(half.decisionId, half)
      found.set(half.decisionId, row === null)
    }
    return found
  }

  async close(): Promise<void> {
    this.closed = true
  }
}
