// One feed with everything around it scripted, and a witness of its promise: after every event it compares what would be
// served now with what was acknowledged a lease ago, and remembers any old value.
import type { ApiKeyEntry, InvalidEntry, OrganizationEntry } from '../../../src/core/api-key-entry.ts'
import { LEASE_MS } from '../../../src/feed/constants.ts'
import { Feed, type FeedOptions } from '../../../src/feed/feed.ts'
import type { FeedEvent } from '../../../src/feed/feed-observer.ts'
import type { FeedTable } from '../../../src/feed/feed-table.ts'
import { digestOf, keyRow } from './rows.ts'
import { ScriptedServer } from './scripted-server.ts'
import { ScriptedSource } from './scripted-source.ts'
import { VirtualTime } from './virtual-time.ts'

/** The table as a map, with a switch that makes writing throw. */
export class MapTable implements FeedTable {
  readonly keys = new Map<string, ApiKeyEntry | InvalidEntry>()
  readonly organizations = new Map<string, OrganizationEntry>()
  /** Own peppers and their proofs. */
  readonly peppers = new Map([['p1', Buffer.from('proof of p1')]])
  wrong: readonly string[] = []
  throwing = 0
  reserved = 0

  reserve(apiKeys: number): void {
    this.reserved = apiKeys
  }

  clear(): void {
    this.keys.clear()
    this.organizations.clear()
  }

  replace(entry: ApiKeyEntry | InvalidEntry): string | null {
    if (this.throwing > 0) {
      this.throwing--
      throw new Error('the table threw')
    }
    this.keys.set(Buffer.from(entry.digest).toString('hex'), entry)
    return entry.kind === 'invalid' ? entry.cause : null
  }

  remove(digest: Uint8Array): void {
    this.keys.delete(Buffer.from(digest).toString('hex'))
  }

  setOrganization(entry: OrganizationEntry): void {
    this.organizations.set(entry.id, entry)
  }

  removeOrganization(id: string): void {
    this.organizations.delete(id)
  }

  judgePeppers(proofs: ReadonlyMap<string, Uint8Array>): readonly string[] {
    this.wrong = [...this.peppers].flatMap(([id, own]) => (own.equals(proofs.get(id) ?? own) ? [] : [id]))
    return this.wrong
  }

  isBlind(): boolean {
    for (const { pepperId } of this.keys.values())
      if (pepperId !== undefined && (!this.peppers.has(pepperId) || this.wrong.includes(pepperId))) return true
    return false
  }
}

interface Acknowledged {
  readonly at: number
  readonly key: number
  readonly version: number
}

export class Sidecar {
  readonly time: VirtualTime
  readonly server: ScriptedServer
  readonly source: ScriptedSource
  readonly table = new MapTable()
  readonly feed: Feed
  readonly events: FeedEvent[] = []
  readonly readiness: boolean[] = []
  readonly fatal: unknown[] = []
  /** Old values that would have been served; empty is the promise. `bound` is what counts as old. */
  readonly violations: string[] = []
  /** Largest age of a change that was acknowledged and would not have been seen. */
  largestStalenessMs = 0
  boundMs = LEASE_MS
  private readonly acknowledged: Acknowledged[] = []

  constructor(seed = 1, options: Partial<FeedOptions> = {}) {
    this.time = new VirtualTime(seed)
    this.server = new ScriptedServer(this.time)
    this.source = new ScriptedSource(this.time, this.server)
    this.feed = new Feed({
      source: this.source,
      clock: this.time,
      timers: this.time,
      table: this.table,
      observer: { record: event => this.events.push(event) },
      onReadiness: ready => this.readiness.push(ready),
      onFatal: error => this.fatal.push(error),
      ...options,
    })
    this.time.afterEvent = () => this.probe()
  }

  /** Starts and waits until the first confirm. */
  async started(): Promise<this> {
    this.feed.start()
    await this.time.until(() => this.feed.ready())
    return this
  }

  /** Commits a version of a key on a server and takes it as acknowledged now, unless told otherwise. */
  commit(key: number, version: number, server = this.server, acknowledged = true): bigint {
    const revision = server.commitApiKeys([[digestOf(key), keyRow(key, version)]])
    if (acknowledged) this.acknowledge(key, version)
    return revision
  }

  acknowledge(key: number, version: number): void {
    this.acknowledged.push({ at: this.time.now(), key, version })
  }

  /** Version of a key in the table, 0 when it is not there, -1 when invalid. */
  version(key: number): number {
    const entry = this.table.keys.get(digestOf(key).toString('hex'))
    if (entry === undefined) return 0
    return entry.kind === 'invalid' ? -1 : Number(entry.scopes[0]?.split('.')[1])
  }

  count(type: FeedEvent['type']): number {
    return this.events.filter(event => event.type === type).length
  }

  reloads(): string[] {
    return this.events.flatMap(event => (event.type === 'reload' ? [event.cause] : []))
  }

  faults(): string[] {
    return this.events.flatMap(event => (event.type === 'fault' ? [event.cause] : []))
  }

  /** Compares what would be served now; runs after every event by itself. */
  probe(): void {
    if (!this.feed.fresh()) return
    const newest = new Map<number, Acknowledged>()
    for (const one of this.acknowledged) newest.set(one.key, one)
    for (const { at, key, version } of newest.values()) {
      const age = this.time.now() - at
      const seen = this.version(key)
      if (seen === version) continue
      this.largestStalenessMs = Math.max(this.largestStalenessMs, age)
      if (age > this.boundMs) this.violations.push(`key ${key}: saw ${seen}, ${version} was acknowledged ${age} ms ago`)
    }
  }
}
