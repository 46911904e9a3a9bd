// Interned names: every scope, environment and profile name of this process has one small number.
// Numbers are never reused, so a policy compiled later and a key loaded earlier mean the same name by the same number.

/** A grow-only table of names. Bounded by what profiles and the key feed bring, never by what requests bring. */
export class NameTable {
  private readonly numbers = new Map<string, number>()
  private readonly texts: string[] = []

  /** The number of `text`, given on first use; numbers count up from 0. */
  intern(text: string): number {
    const known = this.numbers.get(text)
    if (known !== undefined) return known
    const number = this.texts.length
    this.numbers.set(text, number)
    this.texts.push(text)
    return number
  }

  /** The number of `text` if it was interned. Never interns: safe for text from a request. */
  find(text: string): number | undefined {
    return this.numbers.get(text)
  }

  /** The text of a number given by `intern`. @throws RangeError for any other number. */
  text(number: number): string {
    const text = this.texts[number]
    if (text === undefined) throw new RangeError(`no name has the number ${number}`)
    return text
  }

  get size(): number {
    return this.texts.length
  }
}

/** The three spaces of names that decisions use; one instance per process, made by the wiring. */
export interface Names {
  readonly profiles: NameTable
  readonly environments: NameTable
  readonly scopes: NameTable
}

/** Empty name tables. */
export function createNames(): Names {
  return { profiles: new NameTable(), environments: new NameTable(), scopes: new NameTable() }
}
