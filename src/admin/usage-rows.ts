// What admin asks of the usage log. Read from beside admin's transactions: a question about many rows takes longer than a
// change may. Each question names the organizations it is about; the store shows no row of another.
import type { Cidr } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import type { UsageField } from '../profile/compiled-profile.ts'
import type { AccessHalf, UsageRow } from '../usage/usage-row.ts'
import type { Filter } from './filter.ts'

/** One request as it is shown. `status`: the final one where the access log is joined, else the denial's; 0: not known. */
export type UsageEntry = Omit<UsageRow, 'sidecar' | 'clientIpMode'> &
  Pick<AccessHalf, 'durationUs' | 'requestBytes' | 'responseBytes'>

/** A place in the order of the log. */
export interface UsagePosition {
  readonly time: Micros
  /** UUID. */
  readonly decisionId: string
}

/** Which rows, in which order. */
export interface UsageQuery {
  /** Null: all of them, and the requests that belong to none. */
  readonly organizations: readonly string[] | null
  readonly from: Micros
  /** Exclusive. */
  readonly to: Micros
  readonly filter: Filter | null
  /** Newest first. */
  readonly descending: boolean
  /** The last row of the part before; null: from the start. */
  readonly after: UsagePosition | null
  readonly limit: number
}

/** A row for an export: its place in the log, then a cell for each column asked for; '': nothing known. */
export type UsageCells = readonly [time: Micros, decisionId: string, ...cells: string[]]

/** Whose requests are counted. */
export interface UsageSubject {
  readonly organization: string
  /** Ids; null: all keys of the organization. */
  readonly apiKeys: readonly string[] | null
}

export interface UsageCountQuery extends UsageSubject {
  readonly from: Micros
  /** Exclusive. */
  readonly to: Micros
  /** Rows older than this may be gone: whole hours are counted there. */
  readonly rowsSince: Micros
  readonly byDay: boolean
  readonly byApiKey: boolean
  /** Most rows of the answer. */
  readonly limit: number
}

/** Requests that share what they were grouped by. */
export interface UsageCount {
  /** `2026-03-01`, UTC; '': not asked. */
  readonly day: string
  /** '': not asked, or not known. */
  readonly apiKeyId: string
  /** '': allowed. */
  readonly reason: string
  /** 0: not known. */
  readonly status: number
  readonly requests: bigint
}

/** Requests of a key and of those it replaced in an interval. */
export interface UsageTrafficQuery {
  readonly organization: string
  readonly apiKeys: readonly string[]
  readonly from: Micros
  /** Exclusive. */
  readonly to: Micros
}

/** What an allowlist would have done. `denied` counts those of unknown address only where the list has entries. */
export interface UsageReplay {
  readonly requests: bigint
  readonly denied: bigint
  readonly unknownAddress: bigint
  /** Denied addresses, the most frequent first; how many there are beside. */
  readonly top: readonly { readonly address: string; readonly requests: bigint; readonly lastTime: Micros }[]
  readonly deniedAddresses: bigint
}

/** What one address did. */
export interface UsageAddress {
  /** Canonical text. */
  readonly address: string
  readonly requests: bigint
  readonly firstTime: Micros
  readonly lastTime: Micros
}

/** The adapter is src/store/usage-queries.ts. Every method @throws StoreFault. */
export interface UsageReads {
  list(query: UsageQuery): Promise<readonly UsageEntry[]>
  cells(query: UsageQuery, columns: readonly UsageField[]): Promise<readonly UsageCells[]>
  /** Counts by reason and status, and by what is asked beside. */
  count(query: UsageCountQuery): Promise<readonly UsageCount[]>
  /** When a key was last used by a request that was allowed; null: never. */
  lastUsed(subject: UsageSubject): Promise<Micros | null>
  /** Whether a request was allowed in the interval. `rowsSince`: rows older than this may be gone, whole hours count there. */
  hasAllowed(subject: UsageSubject, from: Micros, to: Micros, rowsSince: Micros): Promise<boolean>
  /** Replays the requests whose fate the address decides against blocks. `top` holds at most `topMax`. */
  replay(query: UsageTrafficQuery, blocks: readonly Cidr[], emptyDenies: boolean, topMax: number): Promise<UsageReplay>
  /** Whether requests that may lie in the interval were given up by a sidecar, and are in no row. */
  hasLosses(from: Micros, to: Micros): Promise<boolean>
  /** The `limit` most frequent addresses of allowed requests, in the order of addresses; and all allowed requests. */
  addresses(
    query: UsageTrafficQuery,
    limit: number,
  ): Promise<{ readonly addresses: readonly UsageAddress[]; readonly requests: bigint }>
  /** Among the newest allowed requests, at most `rowsMax`, those from outside the blocks. Answers within `limitMs` or rejects. */
  outside(
    query: UsageTrafficQuery,
    blocks: readonly Cidr[],
    rowsMax: number,
    limitMs: number,
  ): Promise<{ readonly requests: bigint; readonly outside: bigint; readonly addresses: bigint }>
}
