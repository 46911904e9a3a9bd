// ExportUsageLogs: the log as CSV, in chunks of whole rows, each with a token that continues behind it. Memory is flat: two
// batches an export at most, one being read while the other is sent, and few exports at a time. What is there throughout is in
// the file exactly once.
import type { ExportUsageLogsRequest, ExportUsageLogsResponse } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import type { CompiledProfile, UsageField } from '../profile/compiled-profile.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminCall } from './admin-call.ts'
import type { AdminReads } from './admin-store.ts'
import { type ApiKeyContext, findOrganization } from './api-key-context.ts'
import type { Caller } from './caller.ts'
import { guarded } from './command.ts'
import { everyOrganization, organizationOfParent, organizationsOfParent } from './listing-parent.ts'
import { parseOrganizationName } from './resource-name.ts'
import { quoted } from './text-fields.ts'
import { checked, planned } from './usage-call.ts'
import { csvLine } from './usage-csv.ts'
import { readUsageListing, type UsageListing, usageToken } from './usage-listing.ts'
import type { UsageCells, UsageReads } from './usage-rows.ts'
import type { Violations } from './violations.ts'

/** Bounds of an export. */
export interface ExportBounds {
  /** Rows of one export, all its parts together (admin-api.md section 5.5). */
  readonly rowsMax: number
  /** Rows read at a time. */
  readonly batchRows: number
  /** Octets after which a chunk is sent: far below a message, large enough to cost little. */
  readonly chunkOctets: number
  /** Exports at a time: each holds some megabytes, for as long as its client takes. */
  readonly exportsMax: number
  /** Batches read at a time, of all exports: fewer than the connections to the log, which other questions need as well. */
  readonly readsMax: number
}

export const exportBounds: ExportBounds = {
  rowsMax: 1_000_000,
  batchRows: 5000,
  chunkOctets: 512 * 1024,
  exportsMax: 8,
  readsMax: 2,
}
/** When to ask again while so many are running. */
const retryDelayMs = 10_000

interface Plan {
  readonly listing: UsageListing
  readonly organizations: readonly string[] | null
  readonly columns: readonly UsageField[]
  readonly now: number
}

export function exportUsageLogs(context: ApiKeyContext, bounds = exportBounds) {
  const turns = new Turns(bounds.readsMax)
  let running = 0
  return async function* (request: ExportUsageLogsRequest, call: AdminCall): AsyncGenerator<ExportUsageLogsResponse> {
    const spec = {
      rpc: 'UsageAdmin/ExportUsageLogs',
      organizationOf: ({ parent }: ExportUsageLogsRequest) => organizationOfParent(parent),
      plan: planOf(context),
    } as const
    const plan = await planned(context, spec, request, call)
    if (running >= bounds.exportsMax) {
      const message = `${running} exports are running, which is the most at a time; ask again when one has ended.`
      throw new RpcError('RATE_LIMITED', message, { retryDelayMs })
    }
    running += 1
    try {
      const cells: UsageReads['cells'] = (query, columns) =>
        turns.take(() => {
          call.signal.throwIfAborted()
          return context.usage.cells(query, columns)
        })
      yield* chunks(context, plan, call, cells, bounds)
    } finally {
      running -= 1
    }
  }
}

/** Does so many things at a time; what is beyond waits, first come first served. */
class Turns {
  private readonly waiting: (() => void)[] = []
  private free: number

  constructor(atOnce: number) {
    this.free = atOnce
  }

  async take<Value>(work: () => Promise<Value>): Promise<Value> {
    if (this.free > 0) this.free -= 1
    else await new Promise<void>(resolve => this.waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.waiting.shift()
      if (next === undefined) this.free += 1
      else next()
    }
  }
}

function planOf(context: ApiKeyContext) {
  return async (tx: AdminReads, request: ExportUsageLogsRequest, caller: Caller) => {
    const bound = `csv ${request.columns.join(',')}`
    const listing = checked(violations => {
      const token = { field: 'resume_token', value: request.resumeToken, bound } as const
      return readUsageListing(request, token, context.pageTokens, tx.now, violations)
    })
    const organizations = await organizationsOfParent(context, tx, request.parent, caller)
    const rules = await rulesOf(context, tx, request.parent)
    const columns = checked(violations => columnsOf(request.columns, rules, violations))
    return { listing, organizations, columns, now: tx.now }
  }
}

type ColumnRules = Pick<CompiledProfile['usageLog'], 'fields' | 'csvColumns'>

/** What the profile of the organization keeps; for all organizations, what any profile keeps. */
async function rulesOf(context: ApiKeyContext, tx: AdminReads, parent: string): Promise<ColumnRules> {
  if (parent !== everyOrganization) {
    return (await findOrganization(context, tx, parseOrganizationName(parent) ?? '')).profile.usageLog
  }
  return { fields: Object.keys(allColumns) as UsageField[], csvColumns: operatorColumns }
}

/** Every member of a record. */
const allColumns: Readonly<Record<UsageField, true>> = {
  time: true,
  decision_id: true,
  request_id: true,
  organization_id: true,
  api_key_id: true,
  key_hint: true,
  environment: true,
  method: true,
  host: true,
  path: true,
  route: true,
  required_scope: true,
  decision: true,
  reason: true,
  status: true,
  client_ip: true,
  direct_ip: true,
  user_agent: true,
  duration_ms: true,
  bytes_in: true,
  bytes_out: true,
  support_id: true,
}

/** Columns of an export over all organizations unless it names others. */
const operatorColumns: readonly UsageField[] = [
  'time',
  'organization_id',
  'api_key_id',
  'key_hint',
  'method',
  'path',
  'status',
  'decision',
  'reason',
  'client_ip',
  'user_agent',
  'request_id',
]

function columnsOf(
  asked: readonly string[],
  { fields, csvColumns }: ColumnRules,
  violations: Violations,
): readonly UsageField[] {
  if (asked.length === 0) return csvColumns
  const columns: UsageField[] = []
  for (const [index, name] of asked.slice(0, fields.length + 1).entries()) {
    const field = fields.find(each => each === name)
    if (field === undefined) {
      const message = `${quoted(name)} is not kept; there are ${fields.join(', ')}.`
      violations.add(`columns[${index}]`, 'FIELD_INVALID', message)
    } else if (columns.includes(field)) violations.add(`columns[${index}]`, 'FIELD_INVALID', `${name} occurs twice.`)
    else columns.push(field)
  }
  return columns
}

async function* chunks(
  context: ApiKeyContext,
  plan: Plan,
  call: AdminCall,
  cells: UsageReads['cells'],
  bounds: ExportBounds,
): AsyncGenerator<ExportUsageLogsResponse> {
  const { listing, columns, now } = plan
  let done = listing.rowsBefore
  let text = done === 0 && listing.query.after === null ? csvLine(columns) : ''
  let rows = 0
  const read = (after: typeof listing.query.after) => {
    // One row too many tells that there are more than an export holds.
    const limit = Math.min(bounds.batchRows, bounds.rowsMax - done + 1)
    const query = { ...listing.query, after, organizations: plan.organizations, limit }
    const batch = guarded(context, call, () => cells(query, columns))
    batch.catch(() => undefined) // awaited below, unless the caller has left
    return { batch, limit }
  }
  const chunk = (last: boolean, truncated: boolean, resumeToken: string) => {
    const message = { data: Buffer.from(text, 'utf8'), rows, resumeToken, last, truncated }
    text = ''
    rows = 0
    return message
  }
  for (let next = read(listing.query.after); ; ) {
    const { batch, limit } = next
    const found = await batch
    const kept = found.slice(0, bounds.rowsMax - done)
    done += kept.length
    const end = kept.at(-1)
    const more = found.length === limit && kept.length === found.length && end !== undefined
    if (more) next = read(positionOf(end))
    for (const [index, row] of kept.entries()) {
      text += csvLine(row, 2)
      rows += 1
      if (text.length < bounds.chunkOctets) continue
      const before = done - (kept.length - 1 - index)
      yield chunk(false, false, usageToken(listing, positionOf(row), before, context.pageTokens, now))
    }
    if (!more) return yield chunk(true, kept.length < found.length, '')
  }
}

function positionOf([time, decisionId]: UsageCells) {
  return { time, decisionId }
}
