// Every metric of the product: name, kind, labels, meaning. What is not here cannot be registered.
// docs/metrics.md is held against this table; labels come from closed sets, never from a request.

export interface MetricRow {
  readonly kind: 'counter' | 'gauge'
  readonly labels: readonly string[]
  readonly help: string
}

export const metricCatalogue = {
  gatewarden_decisions_total: {
    kind: 'counter',
    labels: ['profile', 'reason'],
    help: 'Decisions by profile and reason; reason allow is an allow, an empty profile is a request that matched none.',
  },
  gatewarden_confirm_age_seconds: {
    kind: 'gauge',
    labels: [],
    help: 'Time since the start of the cycle that last proved the key table current; +Inf before the first.',
  },
  gatewarden_fresh: {
    kind: 'gauge',
    labels: [],
    help: '1 while the key table may be used, 0 while checks that need it get 503.',
  },
  gatewarden_ready: { kind: 'gauge', labels: [], help: '1 while the process is ready for checks.' },
  gatewarden_applied_revision: {
    kind: 'gauge',
    labels: [],
    help: 'Revision of the change feed that is wholly applied.',
  },
  gatewarden_table_keys: { kind: 'gauge', labels: [], help: 'API keys in memory.' },
  gatewarden_table_bytes: { kind: 'gauge', labels: [], help: 'Octets of the key table.' },
  gatewarden_table_invalid: { kind: 'gauge', labels: [], help: 'API keys whose row cannot be read; each answers 503.' },
  gatewarden_table_missing_peppers: {
    kind: 'gauge',
    labels: [],
    help: 'API keys under a pepper this process lacks or has wrongly; above 0 an unknown key answers 503, and the process is not ready unless keys are found under that pepper.',
  },
  gatewarden_wrong_peppers: {
    kind: 'gauge',
    labels: [],
    help: 'Pepper files whose content is not the one that the database knows under their id.',
  },
  gatewarden_hint_missed_total: {
    kind: 'counter',
    labels: [],
    help: 'Reads that found changes no hint had announced.',
  },
  gatewarden_record_invalid_total: {
    kind: 'counter',
    labels: ['cause'],
    help: 'Rows that could not be read, by column.',
  },
  gatewarden_feed_reload_total: { kind: 'counter', labels: ['cause'], help: 'Loads of the whole table, by cause.' },
  gatewarden_feed_errors_total: { kind: 'counter', labels: ['cause'], help: 'Feed cycles that failed, by cause.' },
  gatewarden_feed_load_failed_total: {
    kind: 'counter',
    labels: [],
    help: 'Loads of the whole table that did not end.',
  },
  gatewarden_db_conn_killed_total: { kind: 'counter', labels: [], help: 'Feed connections given up and destroyed.' },
  gatewarden_suspend_detected_total: {
    kind: 'counter',
    labels: [],
    help: 'Times the process found that it had been suspended.',
  },
  gatewarden_config_reload_failed: {
    kind: 'gauge',
    labels: [],
    help: '1 while a changed profile file is refused and the last good one serves.',
  },
  gatewarden_safety_opt_out: {
    kind: 'gauge',
    labels: ['setting'],
    help: '1 while a setting takes away some of the safety of its default.',
  },
  gatewarden_h2_limit_total: {
    kind: 'counter',
    labels: ['limit'],
    help: 'How often connections met a limit of the h2 transport.',
  },
  gatewarden_h2_resets_total: {
    kind: 'counter',
    labels: [],
    help: 'RST_STREAM that the h2 transport got: clients of an Envoy that left, and checks past its timeout.',
  },
  gatewarden_h2_goaway_total: {
    kind: 'counter',
    labels: [],
    help: 'Connections of the h2 transport that were told to end: by age, by a drain, for a violation.',
  },
  gatewarden_h2_read_paused_total: {
    kind: 'counter',
    labels: [],
    help: 'Times the h2 transport did not read a connection for a while: replies not taken, too many resets.',
  },
  gatewarden_limit_buckets: { kind: 'gauge', labels: [], help: 'Rate-limit counters in memory.' },
  gatewarden_limit_evictions_total: {
    kind: 'counter',
    labels: [],
    help: 'Rate-limit counters given up because the bound was reached.',
  },
  gatewarden_upkeep_runs_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: 'Rounds of clearing away in the database by the admin role, ok or failed.',
  },
  gatewarden_upkeep_removed_total: {
    kind: 'counter',
    labels: ['what'],
    help: 'Rows cleared away: purged API keys, feed revisions, remembered requests, heartbeats of sidecars long gone.',
  },
  gatewarden_usage_recorded_total: {
    kind: 'counter',
    labels: [],
    help: 'Requests recorded in the spool by this process.',
  },
  gatewarden_usage_written_total: {
    kind: 'counter',
    labels: [],
    help: 'Recorded requests stored in the database by this process.',
  },
  gatewarden_usage_replayed_total: {
    kind: 'counter',
    labels: [],
    help: 'Of those stored, the ones that a process which has ended had left in the spool.',
  },
  gatewarden_usage_dropped_total: {
    kind: 'counter',
    labels: ['decision', 'cause'],
    help: 'Recorded requests given up: spool full, age, memory full, corrupt, set aside, refused by the database.',
  },
  gatewarden_usage_spool_bytes: { kind: 'gauge', labels: [], help: 'Octets of the usage spool on disk.' },
  gatewarden_usage_spool_limit_bytes: { kind: 'gauge', labels: [], help: 'Bound of the usage spool.' },
  gatewarden_usage_memory_bytes: {
    kind: 'gauge',
    labels: [],
    help: 'Octets of memory taken for usage while the spool cannot be written.',
  },
  gatewarden_usage_set_aside_total: {
    kind: 'counter',
    labels: [],
    help: 'Spool segments renamed to .bad, for a person to look at.',
  },
  gatewarden_spool_write_errors_total: {
    kind: 'counter',
    labels: [],
    help: 'Failed writes, truncations and removals of spool files.',
  },
  gatewarden_disk_free_bytes: { kind: 'gauge', labels: [], help: 'Free octets where the usage spool lies.' },
  gatewarden_facade_requests_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: 'Requests to the facade: created, repeated, invalid, or the reason why they were denied.',
  },
  gatewarden_als_streams: { kind: 'gauge', labels: [], help: 'Access log streams that are open.' },
  gatewarden_als_streams_total: { kind: 'counter', labels: [], help: 'Access log streams that have begun.' },
  gatewarden_als_entries_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: 'Entries of access log streams by what became of them; only taken ones wait for a decision.',
  },
  gatewarden_als_malformed_messages_total: {
    kind: 'counter',
    labels: [],
    help: 'Messages of access log streams that could not be decoded; each ended its stream.',
  },
  gatewarden_als_read_paused_total: {
    kind: 'counter',
    labels: [],
    help: 'Times an access log stream was not read because too many halves waited for the database.',
  },
  gatewarden_usage_halves: {
    kind: 'gauge',
    labels: ['state'],
    help: 'Access-log halves in memory: new ones, and orphans that were looked for in vain so far.',
  },
  gatewarden_usage_joined_total: {
    kind: 'counter',
    labels: ['when'],
    help: 'Decisions that got their access-log half, as they were stored or later.',
  },
  gatewarden_usage_orphans_total: {
    kind: 'counter',
    labels: ['cause'],
    help: 'Access-log halves given up: their decision was not found in 8 minutes, or there was no room to wait.',
  },
  gatewarden_usage_unjoined: {
    kind: 'gauge',
    labels: [],
    help: 'Decisions stored more than 10 minutes ago that never got their access-log half; add up all processes.',
  },
  gatewarden_log_dropped_total: { kind: 'counter', labels: [], help: 'Log lines lost to a slow or gone reader.' },
  gatewarden_loop_delay_seconds: {
    kind: 'gauge',
    labels: [],
    help: 'Longest delay of the event loop since the last scrape.',
  },
  gatewarden_build_info: { kind: 'gauge', labels: ['version', 'node', 'role'], help: 'Always 1.' },
} as const satisfies Readonly<Record<string, MetricRow>>

export type MetricName = keyof typeof metricCatalogue
