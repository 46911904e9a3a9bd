// Every API key this process serves, in typed arrays, found by the digest of its secret.
// Guarantee: a key is found exactly while the feed holds it, under its own profile; reading allocates nothing, secrets leave no trace;
// a row that cannot be read, or whose organization cannot, is KEY_INVALID (503), never absent and never active.
// Writes come from the feed alone. Rows stand densely, so a removal moves the last row: slots are good within one call.
import type { ApiKeyEntry, InvalidEntry, OrganizationEntry } from '../core/api-key-entry.ts'
import {
  KEY_ALL_SCOPES,
  KEY_DELETED,
  KEY_INVALID,
  KEY_ORGANIZATION_SUSPENDED,
  KEY_REVOKED,
  KEY_SUSPENDED,
  type KeyLookup,
  MISS,
  UNKNOWABLE,
} from '../core/key-lookup.ts'
import type { Names } from '../core/names.ts'
import type { ScopeSet } from '../core/scope-set.ts'
import type { Micros } from '../core/time.ts'
import { type Pepper, pepperProof, SecretDigests, wordsOf } from './digest.ts'
import { HashIndex, NO_ROW } from './hash-index.ts'
import { uuidWords } from './id-shapes.ts'
import { KeyParts } from './key-parts.ts'
import {
  ALLOWLIST,
  DIGEST,
  EXPIRE,
  flagMask,
  GRANT,
  NO_ORGANIZATION,
  ORGANIZATION,
  PEPPER_NONE,
  PEPPER_PRIMARY,
  PEPPER_SECOND,
  PEPPER_UNKNOWN,
  pepperMask,
  pepperShift,
  rotationShift,
  rowWords,
  STAMP,
  STATE,
  UUID,
} from './key-row.ts'
import { Organizations } from './organizations.ts'
import { containsV4, containsV6, packedLength } from './packed-allowlist.ts'
import { getNumber, putNumber, wordRows } from './row-pages.ts'
import { NOT_REMEMBERED, SecretMemo } from './secret-memo.ts'
import { hashWords } from './sha256.ts'

/** What a key table is made of. */
export interface KeyTableOptions {
  readonly names: Names
  /** One or two, the primary first. */
  readonly peppers: readonly Pepper[]
}

/** See the head of the file. Expects `KeyLookup`'s contract of its readers. */
export class KeyTable implements KeyLookup {
  readonly organizations: Organizations
  private readonly parts: KeyParts
  private readonly digests: SecretDigests
  private readonly memo = new SecretMemo()
  private readonly pepperIds: readonly string[]
  private readonly rows = wordRows(rowWords)
  private readonly index = new HashIndex(slot => this.word(slot, DIGEST))
  /** Digest of the secret being looked up, or of the entry being written. */
  private readonly wanted = new Int32Array(hashWords)
  private readonly given = new Int32Array(hashWords)
  /** Rows by PEPPER_*, and those of them that are neither deleted nor revoked. */
  private readonly byPepper = [0, 0, 0, 0]
  private readonly liveByPepper = [0, 0, 0, 0]
  /** By PEPPER_*: whether a key of it was found, so that it is the right one for some at least. */
  private readonly foundUnder = [false, false, false, false]
  /** By PEPPER_*: whether this process lacks it, or the database contradicts it. */
  private readonly isLacking = [false, false, false, true]
  /** Own proofs, in the order of the peppers. */
  private readonly proofs: readonly Buffer[]
  private unknowable = 0
  private invalid = 0
  private count = 0
  private writes = 0

  /** @throws RangeError for peppers that cannot be used (`SecretDigests`). */
  constructor(options: KeyTableOptions) {
    this.organizations = new Organizations(options.names.profiles)
    this.parts = new KeyParts(options.names)
    this.digests = new SecretDigests(options.peppers)
    this.pepperIds = options.peppers.map(pepper => pepper.id)
    this.proofs = options.peppers.map(pepper => pepperProof(pepper, 'api_keys'))
  }

  // ---- Reading, on the path of a check ----

  /** See `KeyLookup.find`. The second pepper is tried only if a row may have been made with it. */
  find(bytes: Uint8Array, start: number, end: number, profile: number): number {
    let slot = this.memo.find(bytes, start, end)
    if (slot === NOT_REMEMBERED || this.stamp(slot) !== this.memo.stamp) {
      slot = this.search(bytes, start, end)
      if (slot === NO_ROW) return this.unknowable > 0 ? UNKNOWABLE : MISS
      this.memo.remember(slot, this.stamp(slot))
    }
    return this.answersUnder(slot, profile) ? slot : MISS
  }

  flags(slot: number): number {
    if (slot < 0 || slot >= this.count) return KEY_INVALID
    const own = this.word(slot, STATE) & flagMask
    const organization = this.word(slot, ORGANIZATION)
    if (organization === NO_ORGANIZATION || !this.organizations.isReadable(organization)) return own | KEY_INVALID
    return this.organizations.isSuspended(organization) ? own | KEY_ORGANIZATION_SUSPENDED : own
  }

  expireAt(slot: number): Micros {
    return getNumber(this.rows.page(slot), this.rows.at(slot) + EXPIRE)
  }

  graceEndAt(slot: number): Micros {
    return this.parts.graceEndAt(this.rotation(slot))
  }

  environment(slot: number): number {
    return this.parts.environment(this.word(slot, GRANT))
  }

  scopes(slot: number): ScopeSet {
    return this.parts.scopes(this.word(slot, GRANT))
  }

  allowlistLength(slot: number): number {
    const number = this.word(slot, ALLOWLIST)
    return number === 0 ? 0 : packedLength(this.parts.pool.page(number), this.parts.pool.at(number))
  }

  allows(slot: number, family: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const number = this.word(slot, ALLOWLIST)
    if (number === 0) return false
    const page = this.parts.pool.page(number)
    const at = this.parts.pool.at(number)
    if (family === 4) return containsV4(page, at, w0)
    return family === 6 && containsV6(page, at, w0, w1, w2, w3)
  }

  ownLimit(slot: number): number {
    return this.parts.limit(this.word(slot, GRANT))
  }

  ownLimitWindow(slot: number): number {
    return this.parts.limitWindow(this.word(slot, GRANT))
  }

  /** Word `i` (0–3) of the UUID of the key's lineage: the id of its first predecessor, or its own. */
  lineageWord(slot: number, i: number): number {
    const rotation = this.rotation(slot)
    return rotation === 0 ? this.word(slot, UUID + i) : this.parts.lineageWord(rotation, i)
  }

  /** Number of the profile of the key's organization. */
  profile(slot: number): number {
    return this.organizations.profile(this.word(slot, ORGANIZATION))
  }

  /** Changes with every write to the slot, and with every move of another row into it; 0: there is no such row. */
  stamp(slot: number): number {
    return slot < 0 || slot >= this.count ? 0 : this.word(slot, STAMP)
  }

  /** Writes the API key's id into `target`, allocating nothing, and gives the position behind it. An invalid row has none. */
  writeApiKeyId(slot: number, target: Uint8Array, offset: number): number {
    const grant = this.word(slot, GRANT)
    if (grant === 0) return offset
    return this.parts.writeId(grant, this.rows.page(slot), this.rows.at(slot) + UUID, target, offset)
  }

  /** Writes the organization's id into `target`, allocating nothing, and gives the position behind it. */
  writeOrganizationId(slot: number, target: Uint8Array, offset: number): number {
    const organization = this.word(slot, ORGANIZATION)
    return organization === NO_ORGANIZATION ? offset : this.organizations.writeId(organization, target, offset)
  }

  /** The API key's id; '' for an invalid row. */
  apiKeyId(slot: number): string {
    const grant = this.word(slot, GRANT)
    if (grant === 0) return ''
    const octets = Buffer.alloc(this.parts.idLength(grant))
    this.writeApiKeyId(slot, octets, 0)
    return octets.toString('utf8')
  }

  /** The organization's id; '' for an invalid row. */
  organizationId(slot: number): string {
    const organization = this.word(slot, ORGANIZATION)
    return organization === NO_ORGANIZATION ? '' : this.organizations.id(organization)
  }

  // ---- Writing, by the feed ----

  /** Rows held, invalid ones included. */
  get size(): number {
    return this.count
  }

  /** Octets of all arrays, and an estimate for the few objects beside them. */
  get bytes(): number {
    return this.rows.bytes + this.index.bytes + this.parts.bytes + this.organizations.bytes + this.memo.bytes
  }

  /** Rows that could not be read: each answers 503 for its API key alone. */
  get invalidCount(): number {
    return this.invalid
  }

  /** Live rows under a pepper this process lacks, or has with another content; while there is one, a miss proves nothing. */
  missingPeppers(): number {
    return this.unknowable
  }

  /**
   * Whether there are such rows under a pepper of which no key was ever found here. Where keys are found, the proof is
   * wrong rather than the pepper, or each is right for some: those found go on being served.
   */
  isBlind(): boolean {
    return this.liveByPepper.some((rows, pepper) => rows > 0 && this.isLacking[pepper] && !this.foundUnder[pepper])
  }

  /**
   * Compares own peppers with the proofs of the database, by id, and answers the ids of those that it contradicts. From
   * here on these count as peppers that this process lacks. An id without a proof is not judged.
   */
  judgePeppers(proofs: ReadonlyMap<string, Uint8Array>): readonly string[] {
    const contradicted = this.pepperIds.filter((id, position) => {
      const proof = proofs.get(id)
      return proof !== undefined && this.proofs[position]?.equals(proof) !== true
    })
    for (const [position, id] of this.pepperIds.entries()) {
      this.isLacking[pepperAt(position)] = contradicted.includes(id)
    }
    this.unknowable = this.liveByPepper.reduce((sum, rows, pepper) => (this.isLacking[pepper] ? sum + rows : sum), 0)
    return contradicted
  }

  /** Distinct shared parts held, for tests and metrics. */
  get partCount(): number {
    return this.parts.size + this.organizations.size
  }

  /**
   * Stores what the feed says of one digest, in place of what was there. Null: stored. Otherwise the column at fault:
   * the row was, or became, invalid. @throws RangeError unless the digest has 32 octets; then nothing has changed.
   */
  replace(entry: ApiKeyEntry | InvalidEntry): string | null {
    wordsOf(entry.digest, this.given)
    const fault = entry.kind === 'invalid' ? entry.cause : this.parts.hold(entry)
    const slot = this.slotFor()
    if (fault !== null || entry.kind === 'invalid') this.writeInvalid(slot, this.pepperOf(entry.pepperId))
    else this.writeKey(slot, entry)
    return fault
  }

  /** Forgets a digest. @throws RangeError unless it has 32 octets. */
  remove(digest: Uint8Array): void {
    wordsOf(digest, this.given)
    const slot = this.slotOf(this.given)
    if (slot === NO_ROW) return
    this.leave(slot)
    this.index.remove(this.word(slot, DIGEST), slot)
    const last = --this.count
    if (slot !== last) this.move(last, slot)
    this.rows.fit(this.count)
  }

  setOrganization(entry: OrganizationEntry): void {
    this.organizations.set(entry)
  }

  removeOrganization(id: string): void {
    this.organizations.unset(id)
  }

  /** Makes room for this many keys, so that loading them grows nothing but pages. */
  reserve(keys: number): void {
    this.index.reserve(keys)
  }

  /** Forgets everything, for a reload. */
  clear(): void {
    this.rows.clear()
    this.index.clear()
    this.parts.clear()
    this.organizations.clear()
    this.memo.clear()
    this.byPepper.fill(0)
    this.liveByPepper.fill(0)
    this.foundUnder.fill(false)
    this.unknowable = 0
    this.invalid = 0
    this.count = 0
  }

  /** The slot of a secret by its digest, or `NO_ROW`. */
  private search(bytes: Uint8Array, start: number, end: number): number {
    this.digests.digest(bytes, start, end, this.wanted)
    let pepper = PEPPER_PRIMARY
    let slot = this.slotOf(this.wanted)
    if (slot === NO_ROW && this.needsSecondPepper()) {
      this.digests.digestAgain(this.wanted)
      pepper = PEPPER_SECOND
      slot = this.slotOf(this.wanted)
    }
    this.digests.forget()
    if (slot !== NO_ROW && this.pepper(slot) === pepper) this.foundUnder[pepper] = true
    return slot
  }

  private needsSecondPepper(): boolean {
    return this.digests.count === 2 && (this.byPepper[PEPPER_SECOND] ?? 0) + (this.byPepper[PEPPER_NONE] ?? 0) > 0
  }

  /** A row answers under its organization's profile; one that cannot be read answers 503 wherever its secret is shown. */
  private answersUnder(slot: number, profile: number): boolean {
    const organization = this.word(slot, ORGANIZATION)
    if (organization === NO_ORGANIZATION || !this.organizations.isReadable(organization)) return true
    return this.organizations.profile(organization) === profile
  }

  private slotOf(digest: Int32Array): number {
    let slot = this.index.first(digest[0] ?? 0)
    while (slot !== NO_ROW && !this.hasDigest(slot, digest)) slot = this.index.next()
    return slot
  }

  /** Compares all 32 octets whatever the first ones say, so that time tells nothing of how many agree. */
  private hasDigest(slot: number, digest: Int32Array): boolean {
    const page = this.rows.page(slot)
    const at = this.rows.at(slot) + DIGEST
    let differs = 0
    for (let i = 0; i < hashWords; i++) differs |= (page[at + i] ?? 0) ^ (digest[i] ?? 0)
    return differs === 0
  }

  /** The slot of `given`, emptied of what it held, or a new one with the digest in it. */
  private slotFor(): number {
    const known = this.slotOf(this.given)
    if (known !== NO_ROW) {
      this.leave(known)
      return known
    }
    const slot = this.count
    this.rows.fit(slot + 1)
    this.memo.fit(slot + 1)
    this.index.insert(this.given[0] ?? 0, slot)
    for (let i = 0; i < hashWords; i++) this.setWord(slot, DIGEST + i, this.given[i] ?? 0)
    this.count++
    return slot
  }

  private writeKey(slot: number, entry: ApiKeyEntry): void {
    const { parts } = this
    const pepper = this.pepperOf(entry.pepperId)
    for (let i = 0; i < uuidWords; i++) this.setWord(slot, UUID + i, parts.uuid[i] ?? 0)
    putNumber(this.rows.page(slot), this.rows.at(slot) + EXPIRE, entry.expireAt ?? Number.POSITIVE_INFINITY)
    this.setWord(slot, ORGANIZATION, this.organizations.hold(entry.organization))
    this.setWord(slot, GRANT, parts.grant)
    this.setWord(slot, ALLOWLIST, parts.allowlist)
    this.enter(slot, flagsOf(entry) | (pepper << pepperShift) | (parts.rotation << rotationShift))
  }

  private writeInvalid(slot: number, pepper: number): void {
    for (let i = 0; i < uuidWords; i++) this.setWord(slot, UUID + i, 0)
    putNumber(this.rows.page(slot), this.rows.at(slot) + EXPIRE, Number.NEGATIVE_INFINITY)
    this.setWord(slot, ORGANIZATION, NO_ORGANIZATION)
    this.setWord(slot, GRANT, 0)
    this.setWord(slot, ALLOWLIST, 0)
    this.enter(slot, KEY_INVALID | (pepper << pepperShift))
  }

  /** Sets the state of a row and counts it. */
  private enter(slot: number, state: number): void {
    this.setWord(slot, STATE, state)
    this.renew(slot)
    this.tally(state, 1)
  }

  /** Uncounts a row and releases what it holds. */
  private leave(slot: number): void {
    const state = this.word(slot, STATE)
    this.tally(state, -1)
    this.parts.release(this.word(slot, GRANT), this.word(slot, ALLOWLIST), state >>> rotationShift)
    const organization = this.word(slot, ORGANIZATION)
    if (organization !== NO_ORGANIZATION) this.organizations.release(organization)
  }

  private tally(state: number, by: number): void {
    const pepper = (state >>> pepperShift) & pepperMask
    this.byPepper[pepper] = (this.byPepper[pepper] ?? 0) + by
    if ((state & KEY_INVALID) !== 0) this.invalid += by
    if ((state & (KEY_DELETED | KEY_REVOKED)) !== 0) return
    this.liveByPepper[pepper] = (this.liveByPepper[pepper] ?? 0) + by
    if (this.isLacking[pepper]) this.unknowable += by
  }

  /** The row brings its stamp along, which is not the one the slot had before. */
  private move(from: number, to: number): void {
    this.index.renumber(this.word(from, DIGEST), from, to)
    this.rows.copy(from, to)
  }

  /** Gives the slot a stamp that no slot has now; 0 is never one. */
  private renew(slot: number): void {
    this.writes = (this.writes + 1) | 0
    if (this.writes === 0) {
      // Stamps begin anew, so none may be remembered from before.
      this.writes = 1
      this.memo.clear()
    }
    this.setWord(slot, STAMP, this.writes)
  }

  private pepperOf(id: string | undefined): number {
    if (id === undefined) return PEPPER_NONE
    return pepperAt(this.pepperIds.indexOf(id))
  }

  private pepper(slot: number): number {
    return (this.word(slot, STATE) >>> pepperShift) & pepperMask
  }

  private rotation(slot: number): number {
    return this.word(slot, STATE) >>> rotationShift
  }

  private word(slot: number, word: number): number {
    return this.rows.page(slot)[this.rows.at(slot) + word] ?? 0
  }

  private setWord(slot: number, word: number, value: number): void {
    this.rows.page(slot)[this.rows.at(slot) + word] = value
  }
}

/** PEPPER_* of a place in the list of peppers. */
function pepperAt(position: number): number {
  return position === 0 ? PEPPER_PRIMARY : position === 1 ? PEPPER_SECOND : PEPPER_UNKNOWN
}

function flagsOf(entry: ApiKeyEntry): number {
  return (
    (entry.deleted ? KEY_DELETED : 0) |
    (entry.revoked ? KEY_REVOKED : 0) |
    (entry.suspended ? KEY_SUSPENDED : 0) |
    (entry.scopeMode === 'ALL' ? KEY_ALL_SCOPES : 0)
  )
}
