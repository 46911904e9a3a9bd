// Result rows of the feed's statements into the feed's own shapes. Structure only: what stands in the columns of an API key
// or an organization is passed on as the driver gave it.
import type { FeedChange, FeedPage, FeedRevision, RawRow } from '../feed/feed-source.ts'
import {
  apiKeyColumns,
  type FeedColumn,
  organizationColumns,
  proofsColumn,
  readHeadColumns,
} from './feed-statements.ts'

/** Builds a row object from an array, beginning at `offset`. */
export function rawRow(values: readonly unknown[], columns: readonly FeedColumn[], offset = 0): RawRow {
  const row: Record<string, unknown> = {}
  let at = offset
  for (const { name } of columns) row[name] = values[at++]
  return row
}

/** The page of a read. @throws TypeError when the rows are not those of the read statement: a defect, or a foreign schema. */
export function toFeedPage(rows: readonly (readonly unknown[])[]): FeedPage {
  const first = rows[0]
  if (first === undefined) throw new TypeError('the feed has no head row')
  return {
    head: integer(first[0]),
    floor: integer(first[1]),
    headNonce: integer(first[2]),
    witnessNonce: first[3] === null ? null : integer(first[3]),
    dbTimeMs: number(first[4]),
    timeline: first[5] === null ? null : String(first[5]),
    pepperProofs: proofsOf(first[proofsColumn]),
    revisions: revisionsOf(rows),
  }
}

/** Null where the database knows none of the peppers, a boolean where it has no table for them. */
function proofsOf(value: unknown): ReadonlyMap<string, Uint8Array> {
  if (typeof value !== 'string') return new Map()
  const proofs = Object.entries(JSON.parse(value) as Record<string, unknown>)
  return new Map(proofs.map(([id, proof]) => [id, Buffer.from(String(proof), 'hex')]))
}

/** Rows arrive by revision and ordinal; a revision without changes has one row without an ordinal. */
function revisionsOf(rows: readonly (readonly unknown[])[]): readonly FeedRevision[] {
  const revisions: FeedRevision[] = []
  let changes: FeedChange[] = []
  let current: bigint | undefined
  for (const row of rows) {
    if (row[6] === null) continue // nothing after the applied revision
    const revision = integer(row[6])
    if (revision !== current) {
      current = revision
      changes = []
      revisions.push({ revision, nonce: integer(row[7]), changes: number(row[8]), rows: changes })
    }
    if (row[9] !== null) changes.push(toChange(row))
  }
  return revisions
}

function toChange(row: readonly unknown[]): FeedChange {
  const [digest, organization] = [row[11], row[12]]
  return {
    kind: number(row[10]),
    digest: digest instanceof Uint8Array ? digest : null,
    organization: typeof organization === 'string' ? organization : null,
    row: currentRow(row, number(row[10])),
  }
}

/** The current row of what the change names, from the same snapshot; null when it is gone or not of a served profile. */
function currentRow(row: readonly unknown[], kind: number): RawRow | null {
  const organizationsAt = readHeadColumns + apiKeyColumns.length
  const [isKeyServed, isOrganizationServed] = [row[13], row[14]]
  // The primary key tells whether there is a row.
  if (kind === 1 && row[readHeadColumns] !== null && isKeyServed === true)
    return rawRow(row, apiKeyColumns, readHeadColumns)
  if (kind === 2 && row[organizationsAt] !== null && isOrganizationServed === true)
    return rawRow(row, organizationColumns, organizationsAt)
  return null
}

function integer(value: unknown): bigint {
  if (typeof value !== 'bigint') throw new TypeError('the feed has a column of an unexpected type')
  return value
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new TypeError('the feed has a column of an unexpected type')
  return value
}
