// What the feed tells, turned into log lines and counts. One line a change of state, one a bad row; never one a cycle.
import type { FeedEvent, FeedObserver } from '../feed/feed-observer.ts'
import type { Log } from '../observe/log.ts'

/** Counts by cause. */
export interface FeedCounts {
  readonly reloads: ReadonlyMap<string, number>
  readonly errors: ReadonlyMap<string, number>
  readonly invalid: ReadonlyMap<string, number>
  readonly suspends: () => number
  readonly hintsMissed: () => number
  readonly loadsFailed: () => number
  readonly connectionsKilled: () => number
}

/** An observer of the feed, and what it counted. `onConfirmed` runs after each confirm. */
export function watchFeed(log: Log, onConfirmed: () => void): FeedObserver & { readonly counts: FeedCounts } {
  const reloads = new Map<string, number>()
  const errors = new Map<string, number>()
  const invalid = new Map<string, number>()
  let suspends = 0
  let hintsMissed = 0
  let loadsFailed = 0
  let connectionsKilled = 0
  let lastError = ''
  const record = (event: FeedEvent) => {
    switch (event.type) {
      case 'state':
        log.info('feed state', { state: event.state, reason: event.reason })
        return
      case 'reload':
        bump(reloads, event.cause)
        if (event.cause !== 'boot')
          log[event.cause === 'history' ? 'error' : 'warn']('loading everything anew', { cause: event.cause })
        return
      case 'loaded':
        log.info('loaded', {
          apiKeys: event.apiKeys,
          organizations: event.organizations,
          durationMs: Math.round(event.durationMs),
        })
        return
      case 'fault': {
        bump(errors, event.cause)
        if (event.step === 'load') loadsFailed += 1
        // A database that stays away would repeat the same line with every attempt.
        const text = `${event.step} ${event.cause} ${event.error instanceof Error ? event.error.message : ''}`
        if (text !== lastError) log.warn('feed error', { step: event.step, cause: event.cause, error: event.error })
        lastError = text
        return
      }
      case 'confirmed':
        lastError = ''
        onConfirmed()
        return
      case 'suspend':
        suspends += 1
        log.warn('this process was suspended: nothing is served until the table is confirmed again')
        return
      case 'row_invalid':
        bump(invalid, event.cause)
        log.error('a row cannot be read: its API keys answer 503', {
          table: event.table,
          subject: event.subject,
          cause: event.cause,
        })
        return
      case 'wrong_peppers':
        if (event.pepperIds.length === 0) log.info('the peppers are those of the database again')
        else log.error(wrongPeppersText, { pepperIds: event.pepperIds })
        return
      case 'unknown_kind':
        log.error('a newer writer recorded a change this version does not know: nothing is served', {
          kind: event.kind,
          revision: event.revision,
        })
        return
      case 'hint_missed':
        hintsMissed += 1
        return
      case 'timeline':
        log.warn('another server is primary', { from: event.from, to: event.to })
        return
      case 'clock_step':
        log.warn('database time made a step', { verdict: event.verdict })
        return
      case 'threw':
        bump(errors, 'threw')
        log.error('the feed threw', { error: event.error })
        return
      case 'connection_killed':
        connectionsKilled += 1
        return
    }
  }
  return {
    record,
    counts: {
      reloads,
      errors,
      invalid,
      suspends: () => suspends,
      hintsMissed: () => hintsMissed,
      loadsFailed: () => loadsFailed,
      connectionsKilled: () => connectionsKilled,
    },
  }
}

const wrongPeppersText =
  'a pepper file has not the content that the database knows under its id: keys that are not found answer 503; ' +
  'put the right file there and start anew'

function bump(counts: Map<string, number>, cause: string): void {
  counts.set(cause, (counts.get(cause) ?? 0) + 1)
}
