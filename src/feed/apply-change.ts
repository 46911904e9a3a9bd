// One change onto the table (R7): the current row replaces what was held, or its absence removes it. Total over any
// row; what it cannot understand it reports, so that the cycle never moves past a change it has not applied.
import { decodeApiKey, decodeOrganization, readDigest } from './decode-row.ts'
import type { FeedObserver } from './feed-observer.ts'
import type { FeedChange, RawRow } from './feed-source.ts'
import type { FeedTable } from './feed-table.ts'

const KIND_API_KEY = 1
const KIND_ORGANIZATION = 2

/** `unknown`: a kind of a newer writer. `unreadable`: of a known kind, but it does not say of what. */
export type ApplyVerdict = 'applied' | 'unknown' | 'unreadable'

/** Applies one change of a page. @throws only what the table throws. */
export function applyChange(change: FeedChange, table: FeedTable, observer: FeedObserver): ApplyVerdict {
  if (change.kind === KIND_API_KEY) return applyApiKey(change, table, observer)
  if (change.kind === KIND_ORGANIZATION) return applyOrganization(change, table, observer)
  return 'unknown'
}

/** Stores the API keys of a load. A row whose digest cannot be one names no secret: it is reported and left out. */
export function storeApiKeys(rows: readonly RawRow[], table: FeedTable, observer: FeedObserver): void {
  for (const row of rows) {
    const digest = readDigest(row['digest'])
    if (digest === null) reportInvalid(observer, 'api_key', subjectOf(row), 'digest')
    else storeApiKey(digest, row, table, observer)
  }
}

/** Stores the organizations of a load. One without a readable id holds no key that could name it. */
export function storeOrganizations(rows: readonly RawRow[], table: FeedTable, observer: FeedObserver): void {
  for (const row of rows) {
    const entry = decodeOrganization(row)
    if (entry === null || !entry.valid) reportInvalid(observer, 'organization', entry?.id ?? '', 'row')
    if (entry !== null) table.setOrganization(entry)
  }
}

function applyApiKey(change: FeedChange, table: FeedTable, observer: FeedObserver): ApplyVerdict {
  if (!(change.digest instanceof Uint8Array)) return 'unreadable'
  const digest = readDigest(change.digest)
  // No secret has a digest of this length, so there is nothing to replace and nothing to remove.
  if (digest === null) reportInvalid(observer, 'api_key', subjectOf(change.row ?? {}), 'digest')
  else if (change.row === null) table.remove(digest)
  else storeApiKey(digest, change.row, table, observer)
  return 'applied'
}

function applyOrganization(change: FeedChange, table: FeedTable, observer: FeedObserver): ApplyVerdict {
  if (typeof change.organization !== 'string') return 'unreadable'
  if (change.row === null) {
    table.removeOrganization(change.organization)
    return 'applied'
  }
  const decoded = decodeOrganization(change.row)
  const readable = decoded?.valid === true && decoded.id === change.organization
  if (!readable) reportInvalid(observer, 'organization', change.organization, 'row')
  table.setOrganization(readable ? decoded : { id: change.organization, profile: '', suspended: false, valid: false })
  return 'applied'
}

function storeApiKey(digest: Uint8Array, row: RawRow, table: FeedTable, observer: FeedObserver): void {
  const fault = table.replace(decodeApiKey(digest, row))
  if (fault !== null) reportInvalid(observer, 'api_key', subjectOf(row), fault)
}

function reportInvalid(
  observer: FeedObserver,
  table: 'api_key' | 'organization',
  subject: string,
  cause: string,
): void {
  observer.record({ type: 'row_invalid', table, subject, cause })
}

/** The id of a row for the log, if it is one at all. */
function subjectOf(row: RawRow): string {
  try {
    const id = row['id']
    return typeof id === 'string' && /^[\w-]{1,255}$/.test(id) ? id : ''
  } catch {
    return '' // A row that cannot even be read has no name.
  }
}
