// The stream of an import, read to its end before anything is written: the header first, then rows, each judged as it comes.
// The caller is authenticated before any row is held, and what is held has a bound.
import { createHash } from 'node:crypto'
import {
  type ImportApiKeysRequest,
  type ImportApiKeysRequest_Header,
  ImportApiKeysRequest_OnConflict,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { digestOfSha256 } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminCall } from './admin-call.ts'
import { type ApiKeyContext, findOrganization, requireActive } from './api-key-context.ts'
import { canonicalJson } from './canonical-json.ts'
import { authorise, checkRequestId, guarded } from './command.ts'
import { type ImportedKey, readImportRow } from './import-row.ts'
import { parseOrganizationName } from './resource-name.ts'
import { Violations } from './violations.ts'

export const importRpc = 'ApiKeyAdmin/ImportApiKeys'

/** Rows of one stream. */
export const importRowsMax = 10_000

/** Rows of an atomic import: what one revision can carry. */
export const importAtomicRowsMax = 1000

/** Octets of all rows together, as canonical JSON: they are held until the stream ends. */
const importOctetsMax = 64 * 1024 * 1024

/** A row that was read: a key, or what is wrong with it. */
export interface ReadRow {
  readonly index: number
  readonly key: ImportedKey | RpcError
  /** The digest under every live pepper; none for a row that is wrong. */
  readonly digests: readonly Buffer[]
}

/** A stream read to its end. */
export interface ImportStream {
  readonly header: ImportApiKeysRequest_Header
  readonly organization: string
  readonly rows: readonly ReadRow[]
  readonly requestHash: Buffer
}

/** @throws RpcError for what no row could mend */
export async function readImportStream(
  context: ApiKeyContext,
  requests: AsyncIterable<ImportApiKeysRequest>,
  call: AdminCall,
): Promise<ImportStream> {
  const hash = createHash('sha256').update(importRpc)
  let opened: Awaited<ReturnType<typeof openImport>> | undefined
  const rows: ReadRow[] = []
  let octets = 0
  for await (const { part } of requests) {
    if (opened === undefined) {
      if (part?.$case !== 'header') throw refusal('header', 'FIELD_REQUIRED', 'The first message must be the header.')
      opened = await openImport(context, part.value, call)
      hash.update(canonicalJson(part.value))
      continue
    }
    if (part?.$case !== 'row') throw refusal('row', 'FIELD_REQUIRED', 'After the header only rows may follow.')
    const text = canonicalJson(part.value)
    octets += text.length
    checkBounds(opened.header, rows.length + 1, octets)
    hash.update('\n').update(text)
    rows.push(readRow(context, part.value, rows.length, opened))
  }
  if (opened === undefined) throw refusal('header', 'FIELD_REQUIRED', 'The stream has no header.')
  return { header: opened.header, organization: opened.place.organization, rows, requestHash: hash.digest() }
}

function refusal(field: string, reason: 'FIELD_REQUIRED' | 'FIELD_INVALID', message: string): RpcError {
  return new RpcError(reason, `${field}: ${message}`, { violations: [{ field, reason, message }] })
}

function checkBounds(header: ImportApiKeysRequest_Header, rows: number, octets: number): void {
  const max = header.atomic ? importAtomicRowsMax : importRowsMax
  if (rows > max) throw refusal('row', 'FIELD_INVALID', `One import has at most ${max} rows.`)
  if (octets > importOctetsMax) throw refusal('row', 'FIELD_INVALID', 'The rows have more than 64 MiB together.')
}

/** Authenticates before any row is held, and finds the rules that rows are read by. */
async function openImport(context: ApiKeyContext, header: ImportApiKeysRequest_Header, call: AdminCall) {
  return guarded(context, call, () =>
    context.store.read(async tx => {
      const organizationId = parseOrganizationName(header.parent)
      const caller = await authorise(context, tx, call, importRpc, organizationId ?? '')
      const violations = new Violations()
      if (organizationId === undefined) {
        violations.add('header.parent', 'FIELD_INVALID', 'It is not organizations/{organization}.')
      }
      checkRequestId(header, 'required', violations)
      if (!Object.values<number>(ImportApiKeysRequest_OnConflict).includes(header.onConflict)) {
        violations.add('header.on_conflict', 'FIELD_INVALID', `${header.onConflict} is neither FAIL nor SKIP.`)
      }
      violations.throwIfAny()
      const { organization, profile } = await findOrganization(context, tx, organizationId ?? '')
      requireActive(organization)
      if (!profile.management.importable) {
        throw refusal('header.parent', 'FIELD_INVALID', 'The profile of the organization knows no imported keys.')
      }
      const place = {
        organization: organization.id,
        profile,
        pepper: context.peppers[0],
        creator: caller.principal,
        grantClass: caller.grantClass,
        now: tx.now,
      }
      return { header, place }
    }),
  )
}

function readRow(
  context: ApiKeyContext,
  row: Parameters<typeof readImportRow>[0],
  index: number,
  opened: Awaited<ReturnType<typeof openImport>>,
): ReadRow {
  try {
    const key = readImportRow(row, opened.place)
    return { index, key, digests: context.peppers.map(pepper => digestOfSha256(pepper, row.digest)) }
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    return { index, key: error, digests: [] }
  }
}
