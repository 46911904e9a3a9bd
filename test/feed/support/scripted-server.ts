// A database server as the feed's statements see it: a history of revisions, current rows, a floor, a clock, a role.
// Servers fork, which is what a failover, a restore or a split brain is to a reader. Plain and slow on purpose.
import type { FeedPage, FeedRevision, LoadHead, RawRow } from '../../../src/feed/feed-source.ts'
import { VirtualTime } from './virtual-time.ts'

export type Named = { readonly kind: 1; readonly digest: Buffer } | { readonly kind: 2; readonly organization: string }
interface Recorded {
  readonly revision: bigint
  readonly nonce: bigint
  readonly named: readonly (Named | { readonly kind: number })[]
}

/** Everything one snapshot shows to a load. */
export interface Snapshot {
  readonly head: LoadHead
  readonly organizations: readonly RawRow[]
  readonly apiKeys: readonly RawRow[]
}

let nonces = 1_000n

export class ScriptedServer {
  /** Null: in recovery. */
  timeline: string | null = '00000001'
  /** Synchronous commits hang: an isolated former primary, or one whose standby is gone. Reads go on. */
  isolated = false
  /** Database clock minus true time, milliseconds. */
  clockShift = 0
  loadSlots = 4
  /** Proofs of peppers, by id. */
  proofs: ReadonlyMap<string, Uint8Array> = new Map()
  /** What a beat answers. */
  live: ReadonlyMap<string, number> = new Map([['alpha', 2]])
  private readonly time: VirtualTime
  private history: Recorded[] = [{ revision: 0n, nonce: nonces++, named: [] }]
  private floor = 0n
  private readonly apiKeys = new Map<string, RawRow>()
  private readonly organizations = new Map<string, RawRow>()

  constructor(time: VirtualTime) {
    this.time = time
  }

  /** A server with the same history up to here, which goes on by itself. */
  fork(timeline: string): ScriptedServer {
    const copy = new ScriptedServer(this.time)
    copy.timeline = timeline
    copy.history = [...this.history]
    copy.floor = this.floor
    copy.proofs = this.proofs
    for (const [digest, row] of this.apiKeys) copy.apiKeys.set(digest, row)
    for (const [id, row] of this.organizations) copy.organizations.set(id, row)
    return copy
  }

  /** Sets (or with null deletes) API keys in one revision. */
  commitApiKeys(rows: readonly (readonly [digest: Buffer, row: RawRow | null])[]): bigint {
    for (const [digest, row] of rows) setOrDelete(this.apiKeys, digest.toString('hex'), row)
    return this.record(rows.map(([digest]) => ({ kind: 1, digest })))
  }

  /** Sets or deletes an organization in one revision. */
  commitOrganization(id: string, row: RawRow | null): bigint {
    setOrDelete(this.organizations, id, row)
    return this.record([{ kind: 2, organization: id }])
  }

  /** Records a revision without touching a row: a change of another kind, or of a row that stays as it is. */
  record(named: readonly (Named | { readonly kind: number })[]): bigint {
    const revision = this.head().revision + 1n
    this.history.push({ revision, nonce: nonces++, named })
    return revision
  }

  /** Drops revisions below `floor`. */
  prune(floor: bigint): void {
    this.floor = floor
    this.history = this.history.filter(one => one.revision >= floor)
  }

  /** Drops one revision without moving the floor: a hole, as an uncommitted number or a botched restore leaves it. */
  lose(revision: bigint): void {
    this.history = this.history.filter(one => one.revision !== revision)
  }

  head(): LoadHead {
    const newest = this.history.at(-1)
    if (newest === undefined) throw new Error('the row at the floor is never pruned')
    return { revision: newest.revision, nonce: newest.nonce }
  }

  page(applied: bigint, witness: bigint, pageRevisions: number): FeedPage {
    const head = this.head()
    return {
      head: head.revision,
      floor: this.floor,
      headNonce: head.nonce,
      witnessNonce: this.history.find(one => one.revision === witness)?.nonce ?? null,
      dbTimeMs: VirtualTime.START_UNIX_MS + this.time.now() + this.clockShift,
      timeline: this.timeline,
      pepperProofs: this.proofs,
      revisions: this.history
        .filter(one => one.revision > applied)
        .slice(0, pageRevisions)
        .map(one => this.revisionOf(one)),
    }
  }

  snapshot(): Snapshot {
    return { head: this.head(), organizations: [...this.organizations.values()], apiKeys: [...this.apiKeys.values()] }
  }

  private revisionOf(one: Recorded): FeedRevision {
    const rows = one.named.map(named => ({
      kind: named.kind,
      digest: 'digest' in named ? named.digest : null,
      organization: 'organization' in named ? named.organization : null,
      row:
        'digest' in named
          ? (this.apiKeys.get(named.digest.toString('hex')) ?? null)
          : 'organization' in named
            ? (this.organizations.get(named.organization) ?? null)
            : null,
    }))
    return { revision: one.revision, nonce: one.nonce, changes: rows.length, rows }
  }
}

function setOrDelete(rows: Map<string, RawRow>, name: string, row: RawRow | null): void {
  if (row === null) rows.delete(name)
  else rows.set(name, row)
}
