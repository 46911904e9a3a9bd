// PropagationAdmin: where the change feed stands, and whether a revision governs every sidecar (freshness.md section 12).
// `governing` is a proof: a sidecar whose report is older than its lease and its stale cap cannot allow anything.
import type { Micros } from '../core/time.ts'
import type {
  GetRevisionRequest,
  GetRevisionResponse,
  ListSidecarsRequest,
  ListSidecarsResponse,
  Sidecar,
  WaitForRevisionRequest,
  WaitForRevisionResponse,
} from '../gen/gatewarden/admin/v1/propagation_admin.ts'
import { invalidArgument } from '../rpc/errors.ts'
import type { AdminReads, RevisionPoint } from './admin-store.ts'
import { type Admin, authorise, guarded, type Handler, pause, query, requireSameHistory } from './command.ts'
import { pageSizeDefault, pageSizeMax } from './listing.ts'
import type { PageTokens } from './page-token.ts'
import type { SidecarRow } from './propagation-rows.ts'
import { parseRevisionToken, revisionTokenOf } from './revision-token.ts'
import { Violations } from './violations.ts'
import { durationMicrosOf, durationOf, timestampOf } from './wire-time.ts'

export interface PropagationContext extends Admin {
  readonly pageTokens: PageTokens
}

/** The handlers of the service, by method. */
export function propagationAdmin(context: PropagationContext) {
  return {
    getRevision: getRevision(context),
    waitForRevision: waitForRevision(context),
    listSidecars: listSidecars(context),
  }
}

function getRevision(context: PropagationContext): Handler<GetRevisionRequest, GetRevisionResponse> {
  return query(context, {
    rpc: 'PropagationAdmin/GetRevision',
    organizationOf: () => null,
    parse: request => request,
    async run(tx) {
      const head = await tx.propagation.head()
      return {
        revision: head.revision,
        revisionToken: revisionTokenOf(head),
        commitTime: timestampOf(head.committedAt),
      }
    },
  })
}

/** Longest wait of one call; longer ones ask again. */
const waitMaxMicros = 30_000_000
const waitDefaultMicros = 10_000_000

/** How often the reports are looked at. */
const waitPollMs = 100

/** The answer leaves this long before the caller's deadline, so that it arrives. */
const deadlineReserveMs = 100

/** Beyond lease and stale cap a report counts for this long: more than two clocks can differ within one cycle. */
const reportSlackMicros = 1_000_000

/** Sidecars read at a time. */
const sidecarPage = 1000

/** Lagging sidecars that one reply names. */
const laggingMax = 100

function waitForRevision(context: PropagationContext): Handler<WaitForRevisionRequest, WaitForRevisionResponse> {
  const rpc = 'PropagationAdmin/WaitForRevision'
  return async (request, call) => {
    const started = Date.now()
    for (;;) {
      const { state, untilMs } = await guarded(context, call, () =>
        context.store.read(async tx => {
          await authorise(context, tx, call, rpc, null)
          const { point, timeoutMs } = parseWait(request)
          await requireSameHistory(tx, point.revision, point.nonce)
          const end = Math.min(started + timeoutMs, call.deadlineUnixMs - deadlineReserveMs)
          return { state: await stateAt(tx, point.revision), untilMs: end }
        }),
      )
      const leftMs = untilMs - Date.now()
      if (state.governing || leftMs <= 0) return state
      await pause(Math.min(waitPollMs, leftMs), call.signal)
    }
  }
}

function parseWait(request: WaitForRevisionRequest): { readonly point: RevisionPoint; readonly timeoutMs: number } {
  const violations = new Violations()
  const point = parseRevisionToken(request.revisionToken)
  if (request.revisionToken === '') violations.add('revision_token', 'FIELD_REQUIRED', 'Give the token of a reply.')
  else if (point === undefined) {
    violations.add('revision_token', 'FIELD_INVALID', 'It must be a revision_token of an earlier reply.')
  }
  const micros = request.timeout === undefined ? waitDefaultMicros : durationMicrosOf(request.timeout)
  if (micros === null || micros > waitMaxMicros) {
    violations.add('timeout', 'FIELD_INVALID', 'It must be from 0 to 30 seconds.')
  }
  violations.throwIfAny()
  if (point === undefined || micros === null) throw new Error('a request without violations has a parsed form')
  return { point, timeoutMs: micros / 1000 }
}

/** How far the sidecars are that could still allow something. */
async function stateAt(tx: AdminReads, revision: bigint): Promise<WaitForRevisionResponse> {
  const live: SidecarRow[] = []
  for await (const sidecar of allSidecars(tx)) if (mayServe(sidecar, tx.now)) live.push(sidecar)
  const behind = live.filter(sidecar => sidecar.appliedRevision < revision)
  return {
    governing: behind.length === 0,
    confirmed: live.length - behind.length,
    total: live.length,
    lagging: behind.slice(0, laggingMax).map(sidecar => ({
      sidecar: `sidecars/${sidecar.id}`,
      appliedRevision: sidecar.appliedRevision,
      age: durationOf(Math.max(0, tx.now - sidecar.seenAt)),
      staleCapable: sidecar.staleCapMs > 0,
    })),
  }
}

/** Whether a sidecar with this report may still answer from its table. */
function mayServe(sidecar: SidecarRow, now: Micros): boolean {
  const servesMicros = Math.max(sidecar.leaseMs, sidecar.staleCapMs) * 1000
  return now - sidecar.seenAt < servesMicros + reportSlackMicros
}

async function* allSidecars(tx: AdminReads): AsyncGenerator<SidecarRow> {
  for (let after = ''; ; ) {
    const page = await tx.propagation.listSidecars(after, sidecarPage)
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < sidecarPage) return
    after = last.id
  }
}

const binding = { listing: 'sidecars', parent: '', order: '', showDeleted: false }

function listSidecars(context: PropagationContext): Handler<ListSidecarsRequest, ListSidecarsResponse> {
  return query(context, {
    rpc: 'PropagationAdmin/ListSidecars',
    organizationOf: () => null,
    parse(request, violations) {
      if (request.pageSize < 0) violations.add('page_size', 'FIELD_INVALID', 'It must not be negative.')
      if (request.filter !== '') violations.add('filter', 'FILTER_INVALID', 'This version lists all sidecars.')
      return { size: Math.min(request.pageSize || pageSizeDefault, pageSizeMax), token: request.pageToken }
    },
    async run(tx, { size, token }) {
      const bound = { ...binding, filter: '' }
      const after = token === '' ? [''] : context.pageTokens.open(token, bound, tx.now)
      if (after === null) {
        const message = 'It is not one that this listing gave out within 24 hours.'
        throw invalidArgument([{ field: 'page_token', reason: 'PAGE_TOKEN_INVALID', message }])
      }
      const found = await tx.propagation.listSidecars(after[0] ?? '', size + 1)
      const page = found.slice(0, size)
      const last = page.at(-1)?.id
      const more = found.length > size && last !== undefined
      return {
        sidecars: page.map(sidecarMessage),
        nextPageToken: more ? context.pageTokens.issue(bound, [last], tx.now) : '',
      }
    },
  })
}

function sidecarMessage(row: SidecarRow): Sidecar {
  return {
    name: `sidecars/${row.id}`,
    appliedRevision: row.appliedRevision,
    confirmedAge: durationOf(Math.max(0, row.confirmAgeMs) * 1000),
    version: row.version,
    profiles: [...row.profiles].map(([name, { version, digest }]) => ({ name, version, digest })),
    pepperIds: row.pepperIds,
    startTime: timestampOf(row.startAt),
    lastReportTime: timestampOf(row.seenAt),
  }
}
