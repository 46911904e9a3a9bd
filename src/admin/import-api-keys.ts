// ImportApiKeys: keys that existed before, as digests. All rows are read and judged before the first is written; then they
// go in by transactions of their own revision, or all in one when the caller says atomic.
import { createHash } from 'node:crypto'
import {
  type ImportApiKeysRequest,
  type ImportApiKeysRequest_Header,
  ImportApiKeysRequest_OnConflict,
  ImportApiKeysResponse,
  type ImportApiKeysResponse_Result,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { Status } from '../gen/google/rpc/status.ts'
import { digestOfSha256 } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import { toRpcStatus } from '../rpc/status.ts'
import type { AdminCall } from './admin-call.ts'
import type { AdminTx, Ended, IdempotencyRecord } from './admin-store.ts'
import {
  type ApiKeyContext,
  findOrganization,
  requireActive,
  requirePropagatedPepper,
  requireQuota,
} from './api-key-context.ts'
import type { NewApiKey } from './api-key-rows.ts'
import type { Caller } from './caller.ts'
import { canonicalJson } from './canonical-json.ts'
import { authorise, checkRequestId, claim, finish, guarded, tokenAt } from './command.ts'
import { newKeyId } from './create-api-key.ts'
import { type ImportedKey, readImportRow } from './import-row.ts'
import { apiKeyName, organizationName, parseOrganizationName } from './resource-name.ts'
import { revisionTokenOf } from './revision-token.ts'
import { Violations } from './violations.ts'

const rpc = 'ApiKeyAdmin/ImportApiKeys'

/** Rows of one stream. */
export const importRowsMax = 10_000

/** Rows of an atomic import: what one revision can carry. */
export const importAtomicRowsMax = 1000

/** Rows of one revision otherwise: the head of the feed is locked for a short transaction each time. */
export const importChunkRows = 500

/** Octets of all rows together, as canonical JSON: they are held until the stream ends. */
const importOctetsMax = 64 * 1024 * 1024

/** Octets of row errors with all their details; 10,000 failures must fit into a message of 4 MiB. */
const detailOctetsMax = 1024 * 1024

/** Characters of the text of a row error without details. */
const shortTextMax = 100

/** Successes listed in the reply; failures are all listed. */
const listedSuccessesMax = 1000

/** A row that was read: a key, or what is wrong with it. */
interface ReadRow {
  readonly index: number
  readonly key: ImportedKey | RpcError
  /** The digest under every live pepper, in hex. */
  readonly digests: readonly Buffer[]
}

interface Stream {
  readonly header: ImportApiKeysRequest_Header
  readonly organization: string
  readonly rows: readonly ReadRow[]
  readonly requestHash: Buffer
}

/** What became of one row. */
type Outcome =
  | { readonly kind: 'imported'; readonly row: number; readonly name: string }
  | { readonly kind: 'skipped'; readonly row: number }
  | { readonly kind: 'failed'; readonly row: number; readonly error: RpcError }

export function importApiKeys(
  context: ApiKeyContext,
): (requests: AsyncIterable<ImportApiKeysRequest>, call: AdminCall) => Promise<ImportApiKeysResponse> {
  return async (requests, call) => {
    const stream = await readStream(context, requests, call)
    const { header, rows } = stream
    const size = header.atomic ? importAtomicRowsMax : importChunkRows
    const total: Tally = { outcomes: [], revision: 0n, revisionToken: '' }
    for (let from = 0; from < Math.max(rows.length, 1); from += size) {
      const chunk = rows.slice(from, from + size)
      const isLast = from + size >= rows.length
      const replayed = await importChunk(context, call, stream, chunk, isLast, total)
      if (replayed !== null) return replayed
    }
    return replyOf(total, call)
  }
}

/** What has happened so far. */
interface Tally {
  outcomes: Outcome[]
  revision: bigint
  revisionToken: string
}

// --- Reading -----------------------------------------------------------------------------------------------------------

async function readStream(
  context: ApiKeyContext,
  requests: AsyncIterable<ImportApiKeysRequest>,
  call: AdminCall,
): Promise<Stream> {
  const hash = createHash('sha256').update(rpc)
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
      const caller = await authorise(context, tx, call, rpc, organizationId ?? '')
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

// --- Writing -----------------------------------------------------------------------------------------------------------

/** What a chunk came to; `replayed`: the whole call was answered before. */
interface ChunkEnd {
  readonly outcomes: readonly Outcome[]
  readonly replayed: ImportApiKeysResponse | null
}

/** Imports a chunk in one transaction. Resolves to the stored reply if the whole call was answered before. */
async function importChunk(
  context: ApiKeyContext,
  call: AdminCall,
  stream: Stream,
  chunk: readonly ReadRow[],
  isLast: boolean,
  total: Tally,
): Promise<ImportApiKeysResponse | null> {
  const { header } = stream
  const { value, point } = await guarded(context, call, () =>
    context.store.transact(async (tx): Promise<Ended<ChunkEnd>> => {
      const caller = await authorise(context, tx, call, rpc, stream.organization)
      const earlier = header.validateOnly ? null : await claim(tx, caller, header, rpc, stream.requestHash)
      if (earlier !== null) {
        const reply = ImportApiKeysResponse.decode(earlier.reply)
        const revisionToken = await tokenAt(tx, earlier.revision)
        return {
          end: 'rollback',
          value: { outcomes: [], replayed: { ...reply, revision: earlier.revision, revisionToken } },
        }
      }
      const written = await writeRows(context, tx, stream, chunk, total)
      const outcomes = settle(header, written.outcomes)
      const done = { outcomes, replayed: null }
      const imported = outcomes.filter(outcome => outcome.kind === 'imported')
      const isSilent = imported.length === 0 && !(isLast && total.outcomes.some(({ kind }) => kind === 'imported'))
      if (header.validateOnly || isSilent) return { end: 'rollback', value: done }
      const whole = { ...total, outcomes: [...total.outcomes, ...outcomes], revision: 0n, revisionToken: '' }
      const idempotency = isLast ? storedReply(stream, caller, replyOf(whole, call)) : null
      call.signal.throwIfAborted()
      await finish(tx, call, caller, {
        rpc,
        requestId: header.requestId,
        idempotency,
        feed: written.digests.map(digest => ({ kind: 'api_key' as const, digest })),
        audit: {
          organization: stream.organization,
          resource: organizationName(stream.organization),
          before: null,
          after: { imported: imported.map(outcome => outcome.name) },
        },
      })
      return { end: 'commit', value: done }
    }),
  )
  if (value.replayed !== null) return value.replayed
  total.outcomes.push(...value.outcomes)
  if (point.revision !== 0n) {
    total.revision = point.revision
    total.revisionToken = revisionTokenOf(point)
  }
  return null
}

/** An atomic import of which one row failed imports nothing. */
function settle(header: ImportApiKeysRequest_Header, outcomes: readonly Outcome[]): readonly Outcome[] {
  if (!header.atomic || !outcomes.some(outcome => outcome.kind === 'failed')) return outcomes
  return outcomes.filter(outcome => outcome.kind !== 'imported')
}

async function writeRows(
  context: ApiKeyContext,
  tx: AdminTx,
  stream: Stream,
  chunk: readonly ReadRow[],
  total: Tally,
): Promise<{ readonly outcomes: readonly Outcome[]; readonly digests: readonly Buffer[] }> {
  const { organization, profile } = await findOrganization(context, tx, stream.organization)
  requireActive(organization)
  await requirePropagatedPepper(context, tx)
  await requireQuota(context, tx, organization.id, chunk.length)
  const known = new Set(await tx.apiKeys.knownDigests(chunk.flatMap(row => row.digests)))
  // A dry run writes nothing that the next chunk could find: rows of the stream itself are remembered.
  for (const row of stream.rows.slice(0, total.outcomes.length))
    for (const digest of row.digests) known.add(hex(digest))
  const fresh: NewApiKey[] = []
  const judged = chunk.map(({ index, key, digests }): Outcome | NewApiKey => {
    if (key instanceof RpcError) return { kind: 'failed', row: index, error: key }
    if (digests.some(digest => known.has(hex(digest)))) return conflict(stream.header, index)
    for (const digest of digests) known.add(hex(digest))
    const id = newKeyId(context, profile, tx)
    const row = { ...key, id, lineage: id }
    fresh.push(row)
    return row
  })
  const inserted = await tx.apiKeys.insertAll(fresh)
  const outcomes = judged.map((outcome, at): Outcome => {
    if ('kind' in outcome) return outcome
    const index = chunk[at]?.index ?? 0
    // Not inserted although its digest was unknown a moment ago: another import was faster.
    if (!inserted.has(outcome.id)) return conflict(stream.header, index)
    return { kind: 'imported', row: index, name: apiKeyName(organization.id, outcome.id) }
  })
  return { outcomes, digests: fresh.filter(row => inserted.has(row.id)).map(row => row.digest) }
}

function hex(digest: Buffer): string {
  return digest.toString('hex')
}

function conflict(header: ImportApiKeysRequest_Header, row: number): Outcome {
  if (header.onConflict === ImportApiKeysRequest_OnConflict.SKIP) return { kind: 'skipped', row }
  const text = 'A key with this digest exists already, or existed and was purged.'
  return { kind: 'failed', row, error: new RpcError('DIGEST_EXISTS', text) }
}

// --- Answering ---------------------------------------------------------------------------------------------------------

function storedReply(stream: Stream, caller: Caller, reply: ImportApiKeysResponse): IdempotencyRecord {
  return {
    principal: caller.principal,
    requestId: stream.header.requestId.toLowerCase(),
    method: rpc,
    requestHash: stream.requestHash,
    reply: Buffer.from(ImportApiKeysResponse.encode(reply).finish()),
  }
}

function replyOf(total: Tally, call: AdminCall): ImportApiKeysResponse {
  const results: ImportApiKeysResponse_Result[] = []
  const counts = { imported: 0, skipped: 0, failed: 0 }
  let octets = 0
  for (const outcome of total.outcomes) {
    counts[outcome.kind]++
    if (outcome.kind === 'failed') {
      const error = rowError(outcome.error, call, octets < detailOctetsMax)
      octets += Status.encode(error).finish().length
      results.push({ row: outcome.row, outcome: { $case: 'error', value: error } })
    } else if (outcome.kind === 'imported' && counts.imported <= listedSuccessesMax) {
      results.push({ row: outcome.row, outcome: { $case: 'name', value: outcome.name } })
    }
  }
  return { ...counts, results, revision: total.revision, revisionToken: total.revisionToken }
}

/** The error of a row. Where many rows fail the later ones keep reason and text only, so that the reply can be sent. */
function rowError(error: RpcError, call: AdminCall, withDetails: boolean): Status {
  return toRpcStatus(
    withDetails ? error : new RpcError(error.reason, error.message.slice(0, shortTextMax)),
    call.callId,
  )
}
