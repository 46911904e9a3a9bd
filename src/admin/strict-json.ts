// A JSON reader for bodies of strangers: RFC 8259 and nothing beside it, objects as maps, so that no name is special.
// Refuses duplicate members, invalid UTF-8, a byte order mark, lone surrogates, deep nesting. Never throws, repairs nothing.

/** What a JSON text can hold. Numbers keep their text: nothing here reads one. */
export type StrictJson = string | boolean | null | JsonNumber | readonly StrictJson[] | ReadonlyMap<string, StrictJson>

export interface JsonNumber {
  readonly number: string
}

/** Levels of arrays and objects: a request of ours has two, and the reader is recursive. */
export const jsonDepthMax = 16

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The value of a whole text; undefined when it is no acceptable JSON. */
export function readStrictJson(octets: Uint8Array): StrictJson | undefined {
  try {
    const reader = new Reader(decoder.decode(octets))
    const value = reader.value(0)
    reader.end()
    return value
  } catch (error) {
    if (error instanceof Refused || error instanceof TypeError) return undefined
    throw error
  }
}

class Refused extends Error {}

const numberForm = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const spaceForm = /[ \t\n\r]*/y
/** Characters that stand for themselves inside of a string. */
const plainForm = /(?:[^"\\\p{Cc}]|[\u007f-\u009f])*/uy
const loneSurrogate = /\p{Surrogate}/u
const words: readonly (readonly [string, boolean | null])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
]
const escapes = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

class Reader {
  private at = 0
  private readonly text: string

  constructor(text: string) {
    this.text = text
  }

  /** One value and the blanks around it. */
  value(depth: number): StrictJson {
    this.take(spaceForm)
    const value = this.bare(depth)
    this.take(spaceForm)
    return value
  }

  /** @throws Refused when something follows */
  end(): void {
    if (this.at < this.text.length) throw new Refused()
  }

  private bare(depth: number): StrictJson {
    switch (this.text[this.at]) {
      case '"':
        return this.string()
      case '[':
        return this.array(depth)
      case '{':
        return this.object(depth)
      default:
        return this.wordOrNumber()
    }
  }

  private array(depth: number): readonly StrictJson[] {
    const values: StrictJson[] = []
    this.open(depth)
    if (this.skip(']')) return values
    do values.push(this.value(depth + 1))
    while (this.skip(','))
    this.expect(']')
    return values
  }

  private object(depth: number): ReadonlyMap<string, StrictJson> {
    const members = new Map<string, StrictJson>()
    this.open(depth)
    if (this.skip('}')) return members
    do {
      this.take(spaceForm)
      const name = this.string()
      if (members.has(name)) throw new Refused()
      this.take(spaceForm)
      this.expect(':')
      members.set(name, this.value(depth + 1))
    } while (this.skip(','))
    this.expect('}')
    return members
  }

  private open(depth: number): void {
    if (depth >= jsonDepthMax) throw new Refused()
    this.at++
    this.take(spaceForm)
  }

  private string(): string {
    this.expect('"')
    let text = ''
    for (;;) {
      text += this.take(plainForm)
      if (this.skip('"')) break
      this.expect('\\')
      text += this.escape()
    }
    if (loneSurrogate.test(text)) throw new Refused()
    return text
  }

  private escape(): string {
    const letter = this.text[this.at] ?? ''
    this.at++
    if (letter !== 'u') return escapes.get(letter) ?? refuse()
    const digits = this.text.slice(this.at, this.at + 4)
    this.at += 4
    return /^[0-9a-fA-F]{4}$/.test(digits) ? String.fromCharCode(Number.parseInt(digits, 16)) : refuse()
  }

  private wordOrNumber(): StrictJson {
    for (const [word, value] of words) {
      if (!this.text.startsWith(word, this.at)) continue
      this.at += word.length
      return value
    }
    const number = this.take(numberForm)
    return number === '' ? refuse() : { number }
  }

  /** What the form matches here, possibly nothing. */
  private take(form: RegExp): string {
    form.lastIndex = this.at
    const taken = form.exec(this.text)?.[0] ?? ''
    this.at += taken.length
    return taken
  }

  private skip(character: string): boolean {
    if (this.text[this.at] !== character) return false
    this.at++
    return true
  }

  private expect(character: string): void {
    if (!this.skip(character)) throw new Refused()
  }
}

function refuse(): never {
  throw new Refused()
}
