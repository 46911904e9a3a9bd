// Templates for what an imported secret decodes to: literals with {uuidv7} {uuidv4} {hex:N} {base62:N}, matched on octets
// that are decoded one at a time from base64url. Only the canonical, unpadded encoding is taken, so that no two spellings fit.
// It must never copy a secret: there is no buffer the decoded text stands in.
import { CLASS_BASE62, CLASS_BASE64URL, CLASS_HEX, classOf, commonClasses, sextetOf } from './octet-class.ts'

/** A decoded text can have no more octets than the longest secret could carry. */
export const innerLengthMax = 192

/** One octet of the decoded text: an exact value, or a class (CLASS_* bits) shifted above the octets. */
type Expected = number

const CLASS_SHIFT = 8
const HEX: Expected = CLASS_HEX << CLASS_SHIFT
const BASE62: Expected = CLASS_BASE62 << CLASS_SHIFT
/** The first digit of a UUID's variant: 8, 9, a or b (RFC 9562 section 4.1). */
const VARIANT: Expected = 1 << 16

/** A compiled template: what each octet of the decoded text must be. */
export interface InnerTemplate {
  readonly expected: Uint32Array
  /** Octets of the base64url text. */
  readonly encodedLength: number
  /** Random bits of a text that fits, for the linter: a UUIDv7 counts its 74, a UUIDv4 its 122. */
  readonly randomBits: number
}

/** Compiles a template. @throws SyntaxError for an unknown placeholder, a stray brace, non-ASCII, or a text of no or too many octets. */
export function compileInner(template: string): InnerTemplate {
  const expected: Expected[] = []
  let randomBits = 0
  for (const part of template.split(/(\{[^{}]*\})/)) {
    if (part.startsWith('{')) randomBits += expectPlaceholder(part, expected)
    else expectLiteral(part, expected)
    if (expected.length > innerLengthMax) throw new SyntaxError(`more than ${innerLengthMax} octets`)
  }
  if (expected.length === 0) throw new SyntaxError('a template without octets')
  return { expected: Uint32Array.from(expected), encodedLength: Math.ceil((expected.length * 4) / 3), randomBits }
}

function expectLiteral(text: string, expected: Expected[]): void {
  for (const letter of text) {
    const octet = letter.charCodeAt(0)
    if (letter === '{' || letter === '}' || letter.length > 1 || octet < 0x20 || octet > 0x7e)
      throw new SyntaxError(`${JSON.stringify(letter)} cannot stand in a template`)
    expected.push(octet)
  }
}

/** Appends what a placeholder stands for and gives its random bits. */
function expectPlaceholder(part: string, expected: Expected[]): number {
  if (part === '{uuidv7}') return expectUuid('7', 74, expected)
  if (part === '{uuidv4}') return expectUuid('4', 122, expected)
  const [, alphabet, digits] = /^\{(hex|base62):([1-9][0-9]{0,2})\}$/.exec(part) ?? []
  if (alphabet === undefined)
    throw new SyntaxError(`${part} is no placeholder; use {uuidv7} {uuidv4} {hex:N} {base62:N}`)
  const count = Number(digits)
  for (let i = 0; i < count; i++) expected.push(alphabet === 'hex' ? HEX : BASE62)
  return count * (alphabet === 'hex' ? 4 : Math.log2(62))
}

function expectUuid(version: string, randomBits: number, expected: Expected[]): number {
  for (const letter of `hhhhhhhh-hhhh-${version}hhh-vhhh-hhhhhhhhhhhh`)
    expected.push(letter === 'h' ? HEX : letter === 'v' ? VARIANT : letter.charCodeAt(0))
  return randomBits
}

/** Whether `bytes[start, end)` is the canonical base64url of a text that fits. */
export function matchesInner(template: InnerTemplate, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== template.encodedLength) return false
  if ((commonClasses(bytes, start, end) & CLASS_BASE64URL) === 0) return false
  const { expected } = template
  for (let i = 0; i < expected.length; i++) {
    if (!isExpected(decodedOctet(bytes, start, i), expected[i] ?? 0)) return false
  }
  return endsCanonically(expected.length, bytes, end)
}

/** Octet `i` of the text whose base64url begins at `start`: it lies across two letters. */
function decodedOctet(bytes: Uint8Array, start: number, i: number): number {
  const at = start + i + ((i / 3) | 0)
  const left = sextetOf(bytes[at] ?? 0)
  const right = sextetOf(bytes[at + 1] ?? 0)
  const phase = i % 3
  return ((left << (2 + 2 * phase)) | (right >>> (4 - 2 * phase))) & 0xff
}

function isExpected(octet: number, expected: Expected): boolean {
  if (expected === VARIANT) return octet === 0x38 || octet === 0x39 || octet === 0x61 || octet === 0x62
  if (expected < 1 << CLASS_SHIFT) return octet === expected
  return (classOf(octet) & (expected >>> CLASS_SHIFT)) !== 0
}

/** Whether the bits of the last letter behind the last octet are zero, as RFC 4648 section 3.5 asks of encoders. */
function endsCanonically(length: number, bytes: Uint8Array, end: number): boolean {
  const unused = length % 3 === 1 ? 0x0f : length % 3 === 2 ? 0x03 : 0
  return (sextetOf(bytes[end - 1] ?? 0) & unused) === 0
}
