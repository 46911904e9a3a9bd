// Resource ids cut into a UUID of 16 octets and what stands around it; the surroundings are few, so they are kept once.
// Guarantee: an id is given back exactly as it came. An id without a canonical UUID is kept whole, as a shape of its own.
import { uuidTextLength, writeUuidText } from '../core/uuid-text.ts'
import { hashWords as digestWords, sha256 } from './sha256.ts'

/** Words of a UUID. */
export const uuidWords = 4

const uuidPattern = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/

interface Shape {
  readonly key: string
  readonly prefix: Uint8Array
  readonly suffix: Uint8Array
  /** False: the prefix is the whole id, and the UUID words are a hash of it. */
  readonly hasUuid: boolean
  holders: number
}

interface CutId {
  readonly prefix: string
  readonly suffix: string
  readonly hasUuid: boolean
}

const HYPHEN = 0x2d

/** See the head of the file. */
export class IdShapes {
  private readonly numbers = new Map<string, number>()
  private readonly shapes: (Shape | undefined)[] = []
  private readonly unused: number[] = []
  /** The shape met last: most ids have it. */
  private last: CutId | undefined
  private lastNumber = -1

  get size(): number {
    return this.numbers.size
  }

  /** Estimate: shapes are few objects. */
  get bytes(): number {
    return this.numbers.size * 400
  }

  /** Holds the shape of `id`, writes its UUID into `out`, and gives the shape's number. */
  hold(id: string, out: Int32Array): number {
    const cut = cutId(id, out)
    const number = this.numberOf(cut)
    const known = this.shapes[number]
    if (known === undefined) return this.add(cut)
    known.holders++
    return number
  }

  /** The number of the shape of `id` if it is held, else -1; the UUID is written in any case. */
  find(id: string, out: Int32Array): number {
    return this.numberOf(cutId(id, out))
  }

  private numberOf(cut: CutId): number {
    const { last } = this
    if (last !== undefined && last.prefix === cut.prefix && last.suffix === cut.suffix && last.hasUuid === cut.hasUuid)
      return this.lastNumber
    const number = this.numbers.get(keyOf(cut)) ?? -1
    this.last = number < 0 ? undefined : cut
    this.lastNumber = number
    return number
  }

  release(number: number): void {
    const shape = this.shapes[number]
    if (shape === undefined || --shape.holders > 0) return
    this.numbers.delete(shape.key)
    this.last = undefined
    this.shapes[number] = undefined
    this.unused.push(number)
  }

  clear(): void {
    this.numbers.clear()
    this.last = undefined
    this.shapes.length = 0
    this.unused.length = 0
  }

  /** Writes the id with the UUID `words[at, at + 4)` as ASCII or UTF-8 into `target` and gives the position behind it. */
  write(number: number, words: Int32Array, at: number, target: Uint8Array, offset: number): number {
    const shape = this.shapes[number]
    if (shape === undefined) return offset
    let end = copyInto(shape.prefix, target, offset)
    if (shape.hasUuid) end = writeUuidText(words, at, target, end)
    return copyInto(shape.suffix, target, end)
  }

  /** Octets that `write` writes. */
  length(number: number): number {
    const shape = this.shapes[number]
    return shape === undefined ? 0 : shape.prefix.length + shape.suffix.length + (shape.hasUuid ? uuidTextLength : 0)
  }

  private add({ prefix, suffix, hasUuid }: CutId): number {
    const key = keyOf({ prefix, suffix, hasUuid })
    const number = this.unused.pop() ?? this.shapes.length
    const shape = { key, prefix: Buffer.from(prefix), suffix: Buffer.from(suffix), hasUuid, holders: 1 }
    this.shapes[number] = shape
    this.numbers.set(key, number)
    return number
  }
}

/** The UUID of an id as words, without holding anything: what a lineage is known by. */
export function uuidOf(id: string, out: Int32Array): void {
  cutId(id, out)
}

/** Cuts at a UUID at the end, where ids have it, else at the first one anywhere. */
function cutId(id: string, out: Int32Array): CutId {
  const atEnd = id.length - uuidTextLength
  if (atEnd >= 0 && readUuid(id, atEnd, out)) return { prefix: id.slice(0, atEnd), suffix: '', hasUuid: true }
  const at = uuidPattern.exec(id)?.index
  if (at !== undefined && readUuid(id, at, out))
    return { prefix: id.slice(0, at), suffix: id.slice(at + uuidTextLength), hasUuid: true }
  hashText(id, out)
  return { prefix: id, suffix: '', hasUuid: false }
}

/** Reads a lower-case UUID into four words; false: there is none, and `out` is spoilt. */
function readUuid(text: string, start: number, out: Int32Array): boolean {
  let digits = 0
  for (let i = 0; i < uuidTextLength; i++) {
    const letter = text.charCodeAt(start + i)
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (letter !== HYPHEN) return false
      continue
    }
    const isDigit = letter >= 0x30 && letter <= 0x39
    if (!isDigit && !(letter >= 0x61 && letter <= 0x66)) return false
    out[digits >>> 3] = ((out[digits >>> 3] ?? 0) << 4) | (isDigit ? letter - 0x30 : letter - 0x57)
    digits++
  }
  return true
}

/** A map key that no two shapes share: lengths tell the prefix from the suffix. */
function keyOf({ prefix, suffix, hasUuid }: CutId): string {
  return `${hasUuid ? 'u' : 'w'}${prefix.length}:${prefix}${suffix}`
}

const hash = new Int32Array(digestWords)

function hashText(text: string, out: Int32Array): void {
  const octets = Buffer.from(text)
  sha256(octets, 0, octets.length, hash)
  for (let i = 0; i < uuidWords; i++) out[i] = hash[i] ?? 0
}

function copyInto(part: Uint8Array, target: Uint8Array, offset: number): number {
  for (let i = 0; i < part.length; i++) target[offset + i] = part[i] ?? 0
  return offset + part.length
}
