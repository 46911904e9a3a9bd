// The metrics of the check role: each is read from its owner when somebody scrapes.
import type { Names } from '../core/names.ts'
import { ALLOW, reasonOf } from '../core/reason.ts'
import type { Feed } from '../feed/feed.ts'
import type { KeyTable } from '../keys/key-table.ts'
import type { LimitBuckets } from '../keys/limit-buckets.ts'
import type { DecisionCounts } from '../observe/decision-counts.ts'
import { type Metrics, type Sample, samplesOfMap } from '../observe/metrics.ts'
import type { FeedCounts } from './feed-watch.ts'

/** What the metrics are read from. */
export interface CheckParts {
  readonly names: Names
  readonly feed: Feed
  readonly table: KeyTable
  readonly limits: LimitBuckets
  readonly decisions: DecisionCounts
  readonly counts: FeedCounts
}

/** Shows everything that the check role counts. */
export function showCheckMetrics(metrics: Metrics, parts: CheckParts): void {
  const { names, feed, table, limits, decisions, counts } = parts
  metrics.read('gatewarden_decisions_total', () => decisionSamples(decisions, names))
  metrics.read('gatewarden_confirm_age_seconds', () => feed.confirmAgeMs() / 1000)
  metrics.read('gatewarden_fresh', () => (feed.fresh() ? 1 : 0))
  metrics.read('gatewarden_applied_revision', () => Number(feed.appliedRevision()))
  metrics.read('gatewarden_table_keys', () => table.size)
  metrics.read('gatewarden_table_bytes', () => table.bytes)
  metrics.read('gatewarden_table_invalid', () => table.invalidCount)
  metrics.read('gatewarden_table_missing_peppers', () => table.missingPeppers())
  metrics.read('gatewarden_wrong_peppers', () => feed.wrongPeppers().length)
  metrics.read('gatewarden_feed_reload_total', () => samplesOfMap('cause', counts.reloads))
  metrics.read('gatewarden_feed_errors_total', () => samplesOfMap('cause', counts.errors))
  metrics.read('gatewarden_feed_load_failed_total', counts.loadsFailed)
  metrics.read('gatewarden_db_conn_killed_total', counts.connectionsKilled)
  metrics.read('gatewarden_record_invalid_total', () => samplesOfMap('cause', counts.invalid))
  metrics.read('gatewarden_suspend_detected_total', () => counts.suspends())
  metrics.read('gatewarden_hint_missed_total', () => counts.hintsMissed())
  metrics.read('gatewarden_limit_buckets', () => limits.size)
  metrics.read('gatewarden_limit_evictions_total', () => limits.evicted)
}

function decisionSamples(decisions: DecisionCounts, names: Names): Sample[] {
  const samples: Sample[] = []
  decisions.forEach((profile, code, value) => {
    const labels = {
      profile: profile === null ? '' : names.profiles.text(profile),
      reason: code === ALLOW ? 'allow' : reasonOf(code),
    }
    samples.push({ labels, value })
  })
  return samples
}
