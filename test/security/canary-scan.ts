// Finds secrets in octets whatever they were turned into: raw, UTF-16, hex, base64 in every alignment, percent-encoded, reversed, listed as
// numbers. One pass over the octets for all of them. What it looks for is the inner part of a secret, so a cut or redacted rest hides nothing.
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface Hit {
  readonly canary: string
  readonly form: string
  readonly where: string
}

interface Needle {
  readonly canary: string
  readonly form: string
  readonly octets: Buffer
}

/** Files are read in parts of this many octets. */
const partLength = 8 * 1024 * 1024

/** Every form of a text that is looked for. */
export function formsOf(octets: Buffer): [form: string, octets: Buffer][] {
  const hex = octets.toString('hex')
  const latin1 = octets.toString('latin1')
  const wide = Buffer.from(latin1, 'utf16le')
  const percent = hex.replace(/../g, '%$&')
  const base64 = [0, 1, 2].flatMap(shift => {
    // Letters that depend on nothing but these octets.
    const text = Buffer.concat([Buffer.alloc(shift), octets])
      .toString('base64')
      .replace(/=+$/, '')
    const sure = text.slice(shift === 0 ? 0 : shift + 1, Math.floor(((shift + octets.length) * 8) / 6))
    return [sure, sure.replaceAll('+', '-').replaceAll('/', '_')].map(
      each => [`base64 at ${shift}`, Buffer.from(each)] as [string, Buffer],
    )
  })
  const escaped = [...latin1].map(c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
  const forms: [string, Buffer][] = [
    ['raw', octets],
    ['reversed', Buffer.from(octets).reverse()],
    ['utf-16le', wide],
    ['utf-16be', Buffer.from(wide).swap16()],
    ['hex', Buffer.from(hex)],
    ['upper-case hex', Buffer.from(hex.toUpperCase())],
    ['reversed hex', Buffer.from([...hex].reverse().join(''))],
    ['percent-encoded', Buffer.from(percent)],
    ['upper-case percent-encoded', Buffer.from(percent.toUpperCase())],
    ['\\u escapes', Buffer.from(escaped)],
    ['list of numbers', Buffer.from([...octets].join(','))],
    ['list of numbers with blanks', Buffer.from([...octets].join(', '))],
    ...base64,
  ]
  return [...new Map(forms.map(([form, each]) => [each.toString('latin1'), [form, each] as [string, Buffer]])).values()]
}

/** Looks for several secrets at once. */
export class CanaryScanner {
  /** 1 for the first three octets of some needle. */
  private readonly starts = new Uint8Array(1 << 24)
  private readonly needles = new Map<number, Needle[]>()
  private longest = 0

  /** @param canaries name → octets that are looked for, at least 12 of them. */
  constructor(canaries: ReadonlyMap<string, Buffer>) {
    for (const [canary, inner] of canaries) {
      if (inner.length < 12) throw new Error(`${canary} is too short to be told from chance`)
      for (const [form, octets] of formsOf(inner)) {
        const start = (octets.readUInt8(0) << 16) | (octets.readUInt8(1) << 8) | octets.readUInt8(2)
        this.starts[start] = 1
        this.needles.set(start, [...(this.needles.get(start) ?? []), { canary, form, octets }])
        this.longest = Math.max(this.longest, octets.length)
      }
    }
  }

  scan(octets: Uint8Array, where: string): Hit[] {
    const hits: Hit[] = []
    const { starts } = this
    let start = ((octets[0] ?? 0) << 8) | (octets[1] ?? 0)
    for (let at = 2; at < octets.length; at++) {
      start = ((start << 8) | (octets[at] ?? 0)) & 0xff_ffff
      if (starts[start] === 0) continue
      for (const { canary, form, octets: needle } of this.needles.get(start) ?? []) {
        if (Buffer.compare(octets.subarray(at - 2, at - 2 + needle.length), needle) === 0)
          hits.push({ canary, form, where })
      }
    }
    return hits
  }

  scanText(text: string, where: string): Hit[] {
    return this.scan(Buffer.from(text, 'utf8'), where)
  }

  /** A whole file, in parts that overlap. */
  scanFile(path: string): Hit[] {
    const hits = new Map<string, Hit>()
    const part = Buffer.alloc(partLength)
    const file = openSync(path, 'r')
    try {
      for (let position = 0; ; position += partLength - this.longest) {
        const length = readSync(file, part, 0, partLength, position)
        for (const hit of this.scan(part.subarray(0, length), path)) hits.set(`${hit.canary} ${hit.form}`, hit)
        if (length < partLength) return [...hits.values()]
      }
    } finally {
      closeSync(file)
    }
  }

  /** Every file below a folder but those that `isAllowed`. @returns hits, and how many files and octets were read. */
  scanFolder(folder: string, isAllowed: (path: string) => boolean): { hits: Hit[]; files: number; octets: number } {
    const found = { hits: [] as Hit[], files: 0, octets: 0 }
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (!entry.isFile() || isAllowed(path)) continue
      found.files++
      found.octets += statSync(path).size
      found.hits.push(...this.scanFile(path))
    }
    return found
  }
}
