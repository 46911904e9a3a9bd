// A load: everything served, from one snapshot (freshness.md section 6). A load is a boot: it begins with an empty table
// and confirms nothing. What it brought is kept only if it came to its end; no part of it is ever served.
import { storeApiKeys, storeOrganizations } from './apply-change.ts'
import { LOAD_LIMIT_MS, LOAD_ROWS_PER_LIMIT, LOAD_STALL_MS } from './constants.ts'
import type { FeedContext } from './cycle.ts'
import { FeedFault } from './feed-fault.ts'
import type { FeedConnection, LoadHead, LoadSink, RawRow } from './feed-source.ts'

/**
 * Loads through a connection. False: no load slot was free, ask again later.
 * @throws FeedFault when the database failed or stalled; anything else is a bug of the table. Either way the table is empty.
 */
export async function runLoad(feed: FeedContext, connection: FeedConnection): Promise<boolean> {
  feed.lease.voidAll()
  feed.table.clear()
  const intake = new LoadIntake(feed)
  try {
    const head = await intake.take(connection)
    if (head === null) return false
    feed.applied = head
    feed.witness = head
    feed.observer.record({ type: 'loaded', ...intake.counts() })
    return true
  } catch (error) {
    feed.table.clear()
    throw error
  } finally {
    intake.close()
  }
}

/** Takes the slices into the table, and ends the load when they stop coming or take too long. */
class LoadIntake implements LoadSink {
  private readonly feed: FeedContext
  private readonly startedAt: number
  private open = true
  private apiKeyCount = 0
  private organizationCount = 0
  /** What the table threw, to be told from a failure of the database. */
  private bug: { readonly error: unknown } | null = null
  private cancelStall: () => void = () => undefined
  private fail: (error: unknown) => void = () => undefined

  constructor(feed: FeedContext) {
    this.feed = feed
    this.startedAt = feed.clock.mono()
  }

  take(connection: FeedConnection): Promise<LoadHead | null> {
    return new Promise((resolve, reject) => {
      this.fail = reject
      this.armStall()
      const failed = (error: unknown): void =>
        reject(this.bug === null ? new FeedFault('load', 'load', error) : this.bug.error)
      try {
        connection.load(this).then(resolve, failed)
      } catch (error) {
        failed(error)
      }
    })
  }

  close(): void {
    this.open = false
    this.cancelStall()
  }

  counts() {
    return {
      apiKeys: this.apiKeyCount,
      organizations: this.organizationCount,
      durationMs: this.feed.clock.mono() - this.startedAt,
    }
  }

  expect(apiKeys: number): void {
    this.accept(() => this.feed.table.reserve(apiKeys))
  }

  organizations(rows: readonly RawRow[]): void {
    this.organizationCount += rows.length
    this.accept(() => storeOrganizations(rows, this.feed.table, this.feed.observer))
  }

  apiKeys(rows: readonly RawRow[]): void {
    this.apiKeyCount += rows.length
    this.accept(() => storeApiKeys(rows, this.feed.table, this.feed.observer))
  }

  private accept(store: () => void): void {
    if (!this.open) throw new FeedFault('timeout', 'load')
    const limits = Math.max(1, Math.ceil((this.apiKeyCount + this.organizationCount) / LOAD_ROWS_PER_LIMIT))
    if (this.feed.clock.mono() - this.startedAt > limits * LOAD_LIMIT_MS) throw this.end()
    this.armStall()
    try {
      store()
    } catch (error) {
      this.bug = { error }
      throw error
    }
  }

  private armStall(): void {
    this.cancelStall()
    this.cancelStall = this.feed.timers.after(LOAD_STALL_MS, () => this.end())
  }

  private end(): FeedFault {
    const fault = new FeedFault('timeout', 'load')
    this.close()
    this.fail(fault)
    return fault
  }
}
