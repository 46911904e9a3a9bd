// The organizations of the keys held: which profile each belongs to, whether it is suspended, whether its row could be read.
// Guarantee: an organization that API keys name but that is not here, or not readable, counts as invalid, never as active.
import type { OrganizationEntry } from '../core/api-key-entry.ts'
import type { NameTable } from '../core/names.ts'
import { HashIndex, NO_ROW } from './hash-index.ts'
import { IdShapes, uuidWords } from './id-shapes.ts'
import { wordRows } from './row-pages.ts'
import { hashWords } from './word-pool.ts'

/** Words of a row: UUID, shape of the id, profile, state bits, how many API keys hold it. */
const SHAPE = 4
const PROFILE = 5
const STATE = 6
const HOLDERS = 7
const rowWords = 8

/** State bits: its row is here; it was readable; it is suspended. */
const PRESENT = 1
const VALID = 2
const SUSPENDED = 4

const READABLE = PRESENT | VALID

/** See the head of the file. Numbers stay while an organization is present or held. */
export class Organizations {
  private readonly profiles: NameTable
  private readonly rows = wordRows(rowWords)
  private readonly shapes = new IdShapes()
  private readonly index = new HashIndex(number => this.hashOf(number))
  private readonly unused: number[] = []
  private readonly uuid = new Int32Array(uuidWords)
  private readonly hashed = new Int32Array(uuidWords)
  private count = 0
  /** The organization held last: keys of one organization come one after another. */
  private lastId: string | undefined
  private lastNumber = 0

  constructor(profiles: NameTable) {
    this.profiles = profiles
  }

  get size(): number {
    return this.index.size
  }

  get bytes(): number {
    return this.rows.bytes + this.index.bytes + this.shapes.bytes + this.unused.length * 8
  }

  /** Stores what the feed says of an organization. */
  set(entry: OrganizationEntry): void {
    const number = this.find(entry.id) ?? this.add(entry.id)
    const state = PRESENT | (entry.valid ? VALID : 0) | (entry.suspended ? SUSPENDED : 0)
    this.write(number, PROFILE, this.profiles.intern(entry.profile))
    this.write(number, STATE, state)
  }

  /** Forgets an organization; keys that still name it become invalid. */
  unset(id: string): void {
    const number = this.find(id)
    if (number === undefined) return
    this.write(number, STATE, 0)
    this.dropUnneeded(number)
  }

  /** The number of an organization that one more API key names, present or not. */
  hold(id: string): number {
    if (id !== this.lastId) {
      this.lastNumber = this.find(id) ?? this.add(id)
      this.lastId = id
    }
    const number = this.lastNumber
    this.write(number, HOLDERS, this.read(number, HOLDERS) + 1)
    return number
  }

  release(number: number): void {
    this.write(number, HOLDERS, this.read(number, HOLDERS) - 1)
    this.dropUnneeded(number)
  }

  /** Whether its row is here and was readable; only then `profile` and `isSuspended` mean something. */
  isReadable(number: number): boolean {
    return (this.read(number, STATE) & READABLE) === READABLE
  }

  isSuspended(number: number): boolean {
    return (this.read(number, STATE) & SUSPENDED) !== 0
  }

  /** Number of its profile in `Names.profiles`. */
  profile(number: number): number {
    return this.read(number, PROFILE)
  }

  id(number: number): string {
    const shape = this.read(number, SHAPE)
    const octets = Buffer.alloc(this.shapes.length(shape))
    this.shapes.write(shape, this.rows.page(number), this.rows.at(number), octets, 0)
    return octets.toString('utf8')
  }

  /** Writes the id into `target` and gives the position behind it. */
  writeId(number: number, target: Uint8Array, offset: number): number {
    return this.shapes.write(this.read(number, SHAPE), this.rows.page(number), this.rows.at(number), target, offset)
  }

  clear(): void {
    this.rows.clear()
    this.shapes.clear()
    this.index.clear()
    this.unused.length = 0
    this.count = 0
    this.lastId = undefined
  }

  private find(id: string): number | undefined {
    const shape = this.shapes.find(id, this.uuid)
    if (shape < 0) return undefined
    const hash = hashWords(this.uuid, uuidWords)
    for (let number = this.index.first(hash); number !== NO_ROW; number = this.index.next()) {
      if (this.read(number, SHAPE) === shape && this.hasUuid(number)) return number
    }
    return undefined
  }

  private hasUuid(number: number): boolean {
    for (let i = 0; i < uuidWords; i++) {
      if (this.read(number, i) !== this.uuid[i]) return false
    }
    return true
  }

  private add(id: string): number {
    const shape = this.shapes.hold(id, this.uuid)
    const number = this.unused.pop() ?? this.count++
    this.rows.fit(this.count)
    for (let i = 0; i < uuidWords; i++) this.write(number, i, this.uuid[i] ?? 0)
    this.write(number, SHAPE, shape)
    for (const word of [PROFILE, STATE, HOLDERS]) this.write(number, word, 0)
    this.index.insert(this.hashOf(number), number)
    return number
  }

  private dropUnneeded(number: number): void {
    if (this.read(number, HOLDERS) > 0 || (this.read(number, STATE) & PRESENT) !== 0) return
    if (number === this.lastNumber) this.lastId = undefined
    this.index.remove(this.hashOf(number), number)
    this.shapes.release(this.read(number, SHAPE))
    this.unused.push(number)
  }

  private hashOf(number: number): number {
    for (let i = 0; i < uuidWords; i++) this.hashed[i] = this.read(number, i)
    return hashWords(this.hashed, uuidWords)
  }

  private read(number: number, word: number): number {
    return this.rows.page(number)[this.rows.at(number) + word] ?? 0
  }

  private write(number: number, word: number, value: number): void {
    this.rows.page(number)[this.rows.at(number) + word] = value
  }
}
