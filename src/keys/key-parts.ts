// What API keys have in common, kept once for all of them: id shapes, scope sets, grants, allowlists; and their rotation rows.
// Guarantee: `hold` takes everything an entry needs or nothing, and names the column at fault; what is released is reused.
import type { ApiKeyEntry } from '../core/api-key-entry.ts'
import type { Names } from '../core/names.ts'
import type { ScopeSet } from '../core/scope-set.ts'
import { IdShapes, uuidOf, uuidWords } from './id-shapes.ts'
import {
  environmentShift,
  GRANT_LIMIT,
  GRANT_NAMES,
  GRANT_SCOPES,
  GRANT_WINDOW,
  grantWords,
  nameMax,
} from './key-row.ts'
import { packAllowlist, packedWordsMax } from './packed-allowlist.ts'
import { RotationRows } from './rotation-rows.ts'
import { getNumber, putNumber } from './row-pages.ts'
import { NO_SCOPES, ScopeSets } from './scope-sets.ts'
import { WordPool } from './word-pool.ts'

/** See the head of the file. */
export class KeyParts {
  // What the last successful `hold` took.
  readonly uuid = new Int32Array(uuidWords)
  grant = 0
  allowlist = 0
  rotation = 0

  readonly pool = new WordPool()
  private readonly names: Names
  private readonly shapes = new IdShapes()
  private readonly scopeSets: ScopeSets
  private readonly rotations = new RotationRows()
  private readonly lineage = new Int32Array(uuidWords)
  private readonly grantScratch = new Int32Array(grantWords)
  private readonly allowlistScratch = new Int32Array(packedWordsMax)

  constructor(names: Names) {
    this.names = names
    this.scopeSets = new ScopeSets(names.scopes)
  }

  get bytes(): number {
    return this.pool.bytes + this.shapes.bytes + this.scopeSets.bytes + this.rotations.bytes
  }

  /** How many distinct parts are held, for tests of what churn leaves behind. */
  get size(): number {
    return this.pool.size + this.shapes.size + this.scopeSets.size
  }

  /** Takes the parts of an entry into the fields above; otherwise takes nothing and names the column at fault. */
  hold(entry: ApiKeyEntry): string | null {
    const packed = packAllowlist(entry.allowlist, this.allowlistScratch)
    const fault = this.faultOf(entry) ?? (packed < 0 ? 'allowlist' : null)
    if (fault !== null) return fault
    const shape = this.shapes.hold(entry.id, this.uuid)
    if (shape > nameMax) {
      this.shapes.release(shape)
      return 'id'
    }
    this.grant = this.holdGrant(entry, shape)
    this.allowlist = entry.allowlist.length === 0 ? 0 : this.pool.hold(this.allowlistScratch, packed)
    this.rotation = this.holdRotation(entry)
    return null
  }

  release(grant: number, allowlist: number, rotation: number): void {
    if (grant !== 0) {
      this.shapes.release(this.shape(grant))
      this.scopeSets.release(this.word(grant, GRANT_SCOPES))
    }
    this.pool.release(grant)
    this.pool.release(allowlist)
    this.rotations.release(rotation)
  }

  // Of grant 0, which invalid rows have, every reader says what can only deny.

  environment(grant: number): number {
    return grant === 0 ? -1 : this.word(grant, GRANT_NAMES) >>> environmentShift
  }

  scopes(grant: number): ScopeSet {
    return grant === 0 ? NO_SCOPES : this.scopeSets.set(this.word(grant, GRANT_SCOPES))
  }

  limit(grant: number): number {
    return grant === 0 ? 0 : this.word(grant, GRANT_LIMIT)
  }

  limitWindow(grant: number): number {
    return getNumber(this.pool.page(grant), this.pool.at(grant) + GRANT_WINDOW)
  }

  graceEndAt(rotation: number): number {
    return rotation === 0 ? Number.POSITIVE_INFINITY : this.rotations.graceEndAt(rotation)
  }

  /** Word `i` of the UUID of the lineage in a rotation row. */
  lineageWord(rotation: number, i: number): number {
    return this.rotations.lineageWord(rotation, i)
  }

  /** Octets of an id of the grant's shape. */
  idLength(grant: number): number {
    return this.shapes.length(this.shape(grant))
  }

  writeId(grant: number, words: Int32Array, at: number, target: Uint8Array, offset: number): number {
    return this.shapes.write(this.shape(grant), words, at, target, offset)
  }

  clear(): void {
    this.pool.clear()
    this.shapes.clear()
    this.scopeSets.clear()
    this.rotations.clear()
  }

  /** The first column whose value the table cannot hold. The feed has checked the rest. */
  private faultOf(entry: ApiKeyEntry): string | null {
    if (!isInstant(entry.expireAt)) return 'expire_time'
    if (!isInstant(entry.graceEndAt)) return 'grace_end_time'
    if (entry.limit !== null && !isLimit(entry.limit.limit, entry.limit.windowMicros)) return 'rate_limit'
    if (this.names.environments.intern(entry.environment) > nameMax) return 'environment'
    if (!this.rotations.hasRoom) return 'lineage'
    return entry.id === '' ? 'id' : null
  }

  private holdGrant(entry: ApiKeyEntry, shape: number): number {
    const words = this.grantScratch
    words[GRANT_NAMES] = shape | (this.names.environments.intern(entry.environment) << environmentShift)
    words[GRANT_SCOPES] = this.scopeSets.hold(entry.scopes)
    words[GRANT_LIMIT] = entry.limit?.limit ?? -1
    putNumber(words, GRANT_WINDOW, entry.limit?.windowMicros ?? 0)
    return this.pool.hold(words, grantWords)
  }

  private holdRotation(entry: ApiKeyEntry): number {
    if (entry.lineage === entry.id) this.lineage.set(this.uuid)
    else uuidOf(entry.lineage, this.lineage)
    const isOwn = this.uuid.every((word, i) => word === this.lineage[i])
    if (isOwn && entry.graceEndAt === null) return 0
    return this.rotations.hold(entry.graceEndAt ?? Number.POSITIVE_INFINITY, this.lineage)
  }

  private shape(grant: number): number {
    return this.word(grant, GRANT_NAMES) & nameMax
  }

  private word(number: number, word: number): number {
    return this.pool.page(number)[this.pool.at(number) + word] ?? 0
  }
}

function isInstant(value: number | null): boolean {
  return value === null || Number.isSafeInteger(value)
}

function isLimit(limit: number, windowMicros: number): boolean {
  return (
    Number.isInteger(limit) &&
    limit >= 0 &&
    limit <= 2 ** 31 - 1 &&
    Number.isSafeInteger(windowMicros) &&
    windowMicros > 0
  )
}
