// ImportApiKeys: keys that existed before, as digests. All rows are read and judged before the first is written; then they
// go in by transactions of their own revision, or all in one when the caller says atomic. Each transaction stores what became of
// its rows: a call that broke off and is repeated with its request id goes on behind them, and answers for all.
import {
  type ImportApiKeysRequest,
  type ImportApiKeysRequest_Header,
  ImportApiKeysRequest_OnConflict,
  ImportApiKeysResponse,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { RpcError } from '../rpc/errors.ts'
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
import { authorise, claim, finish, guarded, tokenAt } from './command.ts'
import { newKeyId } from './create-api-key.ts'
import { type ImportOutcome, type ImportTally, importReply, outcomesOf } from './import-reply.ts'
import { type ImportStream, importAtomicRowsMax, importRpc, type ReadRow, readImportStream } from './import-stream.ts'
import { apiKeyName, organizationName } from './resource-name.ts'
import { revisionTokenOf } from './revision-token.ts'

/** Rows of one revision otherwise: the head of the feed is locked for a short transaction each time. */
export const importChunkRows = 500

export function importApiKeys(
  context: ApiKeyContext,
): (requests: AsyncIterable<ImportApiKeysRequest>, call: AdminCall) => Promise<ImportApiKeysResponse> {
  return async (requests, call) => {
    const stream = await readImportStream(context, requests, call)
    const { header, rows } = stream
    const size = header.atomic ? importAtomicRowsMax : importChunkRows
    const total: ImportTally = { outcomes: [], revision: 0n, revisionToken: '' }
    for (let from = 0; from < Math.max(rows.length, 1); from += size) {
      const chunk = rows.slice(from, from + size)
      const isLast = from + size >= rows.length
      const replayed = await importChunk(context, call, stream, { rows: chunk, from, isLast }, total)
      if (replayed !== null) return replayed
    }
    return importReply(total, call, context)
  }
}

/** Rows of one transaction. */
interface Chunk {
  readonly rows: readonly ReadRow[]
  /** Number of the first. */
  readonly from: number
  readonly isLast: boolean
}

/** What a chunk came to; `replayed`: the whole call was answered before. */
interface ChunkEnd {
  readonly outcomes: readonly ImportOutcome[]
  readonly replayed: ImportApiKeysResponse | null
  /** Where the feed was after an earlier attempt had imported the chunk. */
  readonly earlier?: { readonly revision: bigint; readonly revisionToken: string }
}

/** Imports a chunk in one transaction. Resolves to the stored reply if the whole call was answered before. */
async function importChunk(
  context: ApiKeyContext,
  call: AdminCall,
  stream: ImportStream,
  chunk: Chunk,
  total: ImportTally,
): Promise<ImportApiKeysResponse | null> {
  const { header } = stream
  const { value, point } = await guarded(context, call, () =>
    context.store.transact(async (tx): Promise<Ended<ChunkEnd>> => {
      const caller = await authorise(context, tx, call, importRpc, stream.organization)
      const earlier = header.validateOnly ? null : await findEarlier(tx, caller, stream, chunk)
      if (earlier !== null) return { end: 'rollback', value: earlier }
      const written = await writeRows(context, tx, stream, chunk.rows, total)
      const outcomes = settle(header, written.outcomes)
      const done = { outcomes, replayed: null }
      const imported = outcomes.filter(outcome => outcome.kind === 'imported')
      const isSilent =
        imported.length === 0 && !(chunk.isLast && total.outcomes.some(({ kind }) => kind === 'imported'))
      if (header.validateOnly || isSilent) return { end: 'rollback', value: done }
      const kept = chunk.isLast ? [...total.outcomes, ...outcomes] : outcomes
      const reply = importReply({ outcomes: [...kept], revision: 0n, revisionToken: '' }, call, context)
      call.signal.throwIfAborted()
      await finish(tx, call, caller, {
        rpc: importRpc,
        requestId: header.requestId,
        idempotency: storedReply(stream, caller, chunk.isLast ? header.requestId : chunkId(stream, chunk), reply),
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
  } else if (value.earlier !== undefined) Object.assign(total, value.earlier)
  return null
}

/** What an earlier attempt of the same call did: all of it, or this chunk. @throws RpcError */
async function findEarlier(tx: AdminTx, caller: Caller, stream: ImportStream, chunk: Chunk): Promise<ChunkEnd | null> {
  const whole = await claim(tx, caller, stream.header, importRpc, stream.requestHash)
  if (whole !== null) {
    const revisionToken = await tokenAt(tx, whole.revision)
    const reply = ImportApiKeysResponse.decode(whole.reply)
    return { outcomes: [], replayed: { ...reply, revision: whole.revision, revisionToken } }
  }
  if (chunk.isLast) return null
  const requestId = chunkId(stream, chunk)
  const part = await claim(tx, caller, { requestId }, importRpc, stream.requestHash)
  if (part === null) return null
  const numbers = chunk.rows.map(row => row.index)
  const outcomes = outcomesOf(ImportApiKeysResponse.decode(part.reply), numbers)
  const revisionToken = await tokenAt(tx, part.revision)
  return { outcomes, replayed: null, earlier: { revision: part.revision, revisionToken } }
}

/** Under which a chunk is remembered: no caller can take it for a request of its own, because it is no UUID. */
function chunkId({ header }: ImportStream, { from }: Chunk): string {
  return `${header.requestId}#${from}`
}

/** An atomic import of which one row failed imports nothing. */
function settle(header: ImportApiKeysRequest_Header, outcomes: readonly ImportOutcome[]): readonly ImportOutcome[] {
  if (!header.atomic || !outcomes.some(outcome => outcome.kind === 'failed')) return outcomes
  return outcomes.filter(outcome => outcome.kind !== 'imported')
}

async function writeRows(
  context: ApiKeyContext,
  tx: AdminTx,
  stream: ImportStream,
  chunk: readonly ReadRow[],
  total: ImportTally,
): Promise<{ readonly outcomes: readonly ImportOutcome[]; readonly digests: readonly Buffer[] }> {
  const { organization, profile } = await findOrganization(context, tx, stream.organization)
  requireActive(organization)
  await requirePropagatedPepper(context, tx)
  await requireQuota(context, tx, organization.id, chunk.length)
  const known = new Set(await tx.apiKeys.knownDigests(chunk.flatMap(row => row.digests)))
  // A dry run writes nothing that the next chunk could find: rows of the stream itself are remembered.
  for (const row of stream.rows.slice(0, total.outcomes.length))
    for (const digest of row.digests) known.add(hex(digest))
  const fresh: NewApiKey[] = []
  const judged = chunk.map(({ index, key, digests }): ImportOutcome | NewApiKey => {
    if (key instanceof RpcError) return { kind: 'failed', row: index, error: key }
    if (digests.some(digest => known.has(hex(digest)))) return conflict(stream.header, index)
    for (const digest of digests) known.add(hex(digest))
    const id = newKeyId(context, profile, tx)
    const row = { ...key, id, lineage: id }
    fresh.push(row)
    return row
  })
  const inserted = await tx.apiKeys.insertAll(fresh)
  const outcomes = judged.map((outcome, at): ImportOutcome => {
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

function conflict(header: ImportApiKeysRequest_Header, row: number): ImportOutcome {
  if (header.onConflict === ImportApiKeysRequest_OnConflict.SKIP) return { kind: 'skipped', row }
  const text = 'A key with this digest exists already, or existed and was purged.'
  return { kind: 'failed', row, error: new RpcError('DIGEST_EXISTS', text) }
}

function storedReply(
  stream: ImportStream,
  caller: Caller,
  requestId: string,
  reply: ImportApiKeysResponse,
): IdempotencyRecord {
  return {
    principal: caller.principal,
    requestId: requestId.toLowerCase(),
    method: importRpc,
    requestHash: stream.requestHash,
    reply: Buffer.from(ImportApiKeysResponse.encode(reply).finish()),
  }
}
