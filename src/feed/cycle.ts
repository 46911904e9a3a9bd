// One cycle of the feed, rules R1 to R9 of freshness.md section 6: proves that the table is current, or says why not.
// Guarantees that nothing is confirmed but a snapshot whose head was applied wholly, counted from before the first
// statement. The order of the statements below is the proof; do not move one without reading section 10 there.
import { applyChange } from './apply-change.ts'
import { APPLY_SLICE_CHANGES, LEASE_MS, READ_TIMEOUT_MS } from './constants.ts'
import type { DbTime, LearnVerdict } from './db-time.ts'
import { ask, FeedFault } from './feed-fault.ts'
import type { FeedObserver, ReloadCause } from './feed-observer.ts'
import type {
  BeatReport,
  FeedClock,
  FeedConnection,
  FeedPage,
  FeedRevision,
  FeedTimers,
  LoadHead,
} from './feed-source.ts'
import type { FeedTable } from './feed-table.ts'
import type { CycleStart, Lease } from './lease.ts'

/** What the cycles of one process share (freshness.md section 5). */
export interface FeedContext {
  readonly clock: FeedClock
  readonly timers: FeedTimers
  readonly table: FeedTable
  readonly observer: FeedObserver
  readonly lease: Lease
  readonly dbTime: DbTime
  readonly staleCapMs: number
  /** Last revision wholly applied. */
  applied: LoadHead
  /** Head of the newest snapshot from which anything was stored; >= applied. */
  witness: LoadHead
  timeline: string | null
  /** A change of a newer writer was met in this history: nothing is confirmed any more. */
  blocked: boolean
  /** Ids of own peppers that the database contradicts, as of the last page. */
  wrongPeppers: readonly string[]
  /** Live sidecars per profile, this one included, as of the last beat. */
  liveSidecars: ReadonlyMap<string, number>
}

/**
 * How a cycle ended. `again`: more is waiting. `doubted`: confirmed, but database time needs another sample soon.
 * `void`: a suspend came between. `blocked`: at the head, or as far as it goes, and not to be confirmed.
 */
export type CycleOutcome =
  | { readonly kind: 'confirmed' | 'again' | 'void' | 'blocked' | 'doubted'; readonly changes: number }
  | { readonly kind: 'reload'; readonly cause: ReloadCause }

/** Largest value of the `confirm_age_ms` column. */
const CONFIRM_AGE_MAX_MS = 2 ** 31 - 1

/**
 * Runs one cycle on a connection. `beats` false: without R2, for `feed.proof: read` after a beat that failed.
 * @throws FeedFault when the database failed: nothing has changed. Anything else is a bug while applying: UNCONFIRMED.
 */
export async function runCycle(
  feed: FeedContext,
  connection: FeedConnection,
  pageRevisions: number,
  beats = true,
): Promise<CycleOutcome> {
  const start = feed.lease.begin() // R1: before anything is sent
  if (beats) await sendBeat(feed, connection) // R2: this server can still commit
  const sent = feed.clock.mono()
  const page = await ask(feed.timers, 'read', READ_TIMEOUT_MS, () =>
    connection.read(feed.applied.revision, feed.witness.revision, pageRevisions),
  ) // R3: one statement, one snapshot
  const received = feed.clock.mono()
  if (!feed.lease.holds(start)) return outcome('void') // R4
  if (page.timeline === null) throw new FeedFault('role', 'read')
  try {
    return await takePage(feed, start, page, sent, received)
  } catch (error) {
    feed.lease.revoke()
    throw error
  }
}

/** Statement 1 of a cycle; also what precedes a load. */
export async function sendBeat(feed: FeedContext, connection: FeedConnection): Promise<void> {
  const report: BeatReport = {
    appliedRevision: feed.applied.revision,
    appliedNonce: feed.applied.nonce,
    leaseMs: LEASE_MS,
    staleCapMs: feed.staleCapMs,
    wrongPeppers: feed.wrongPeppers,
    confirmAgeMs: Math.min(Math.round(feed.lease.ageMs()), CONFIRM_AGE_MAX_MS),
  }
  feed.liveSidecars = await ask(feed.timers, 'beat', READ_TIMEOUT_MS, () => connection.beat(report))
}

async function takePage(
  feed: FeedContext,
  start: CycleStart,
  page: FeedPage,
  sent: number,
  received: number,
): Promise<CycleOutcome> {
  if (page.floor > feed.applied.revision) return reload(feed, 'truncated') // R6
  if (page.witnessNonce !== feed.witness.nonce) return reload(feed, 'history') // R5, also when the row is missing
  if (page.head < feed.witness.revision) return reload(feed, 'history') // a head that went back contradicts its own rows
  noteTimeline(feed, page.timeline)
  const time = learnTime(feed, page, sent, received)
  if (time === 'ahead') return reload(feed, 'clock') // A1: both own clocks stood still
  feed.witness = { revision: page.head, nonce: page.headNonce } // before anything of this snapshot is stored
  judgePeppers(feed, page) // before its rows: no row under a wrong pepper makes a miss look final, not for a turn
  let changes = 0
  for (const revision of page.revisions) {
    if (isGap(feed, revision)) return reload(feed, 'gap') // R6
    for (const change of revision.rows) {
      const verdict = applyChange(change, feed.table, feed.observer) // R7
      if (verdict === 'unreadable') return reload(feed, 'unreadable') // a load reads what the change does not name
      if (verdict === 'unknown') return block(feed, change.kind, revision.revision)
      if (++changes % APPLY_SLICE_CHANGES !== 0) continue
      await feed.timers.nextTurn() // a large page never stalls checks
      if (!feed.lease.holds(start)) return outcome('void')
    }
    feed.applied = { revision: revision.revision, nonce: revision.nonce }
  }
  if (feed.applied.revision !== page.head) {
    return page.revisions.length === 0 ? reload(feed, 'gap') : outcome('again', changes) // R8
  }
  if (feed.blocked || !feed.dbTime.usable()) return outcome('blocked', changes)
  feed.lease.confirm(start) // R9: last
  return outcome(time === 'doubted' ? 'doubted' : 'confirmed', changes)
}

/** Every page has the proofs of its own snapshot, so that no confirm rests on a pepper which the database contradicts. */
function judgePeppers(feed: FeedContext, { pepperProofs }: FeedPage): void {
  const wrong = feed.table.judgePeppers(pepperProofs)
  if (wrong.join() === feed.wrongPeppers.join()) return
  feed.wrongPeppers = wrong
  feed.observer.record({ type: 'wrong_peppers', pepperIds: wrong })
}

function isGap(feed: FeedContext, revision: FeedRevision): boolean {
  return revision.revision !== feed.applied.revision + 1n || revision.rows.length !== revision.changes
}

/** Voids everything at once, in the same turn as the finding; the loading itself follows. */
function reload(feed: FeedContext, cause: ReloadCause): CycleOutcome {
  feed.lease.voidAll()
  return { kind: 'reload', cause }
}

/** A change of a newer writer: never skipped, not even by a later load in this history. */
function block(feed: FeedContext, kind: number, revision: bigint): CycleOutcome {
  if (!feed.blocked) feed.observer.record({ type: 'unknown_kind', kind, revision })
  feed.blocked = true
  feed.lease.revoke()
  return outcome('blocked')
}

function noteTimeline(feed: FeedContext, timeline: string | null): void {
  if (feed.timeline !== null && timeline !== null && timeline !== feed.timeline) {
    feed.observer.record({ type: 'timeline', from: feed.timeline, to: timeline })
    feed.dbTime.relearn()
  }
  feed.timeline = timeline
}

function learnTime(feed: FeedContext, page: FeedPage, sent: number, received: number): LearnVerdict {
  const verdict = feed.dbTime.learn(page.dbTimeMs, sent, received)
  if (verdict !== 'learned' && verdict !== 'ignored') feed.observer.record({ type: 'clock_step', verdict })
  if (verdict === 'refused') feed.lease.revoke()
  return verdict
}

function outcome(kind: Exclude<CycleOutcome['kind'], 'reload'>, changes = 0): CycleOutcome {
  return { kind, changes }
}
