// The scope sets that API keys hold, each distinct one kept once as the object that decisions read.
// Guarantee: a set that no API key holds is dropped. Sets are few beside keys, so they are plain objects.
import type { NameTable } from '../core/names.ts'
import { type ScopeSet, scopeSetOf } from '../core/scope-set.ts'

interface HeldSet {
  readonly key: string
  readonly set: ScopeSet
  holders: number
}

/** What a number that is not held means: nothing is granted. */
export const NO_SCOPES: ScopeSet = scopeSetOf([])

/** Spellings of sets that are remembered; a load meets the same few again and again. */
const spellingsMax = 1_024
/** Scopes of a list that is remembered: at 255 octets each, all spellings together stay below 8 MiB, usually 0.2. */
const spellingScopesMax = 32

/** See the head of the file. */
export class ScopeSets {
  private readonly names: NameTable
  private readonly numbers = new Map<string, number>()
  private readonly sets: (HeldSet | undefined)[] = []
  private readonly unused: number[] = []
  /** Lists as they came, joined → what they mean. A hint only: the list itself is compared before it is believed. */
  private readonly spellings = new Map<string, { readonly scopes: readonly string[]; readonly number: number }>()
  /** The same for lists that cannot change: a load gives many keys the same one. */
  private lists = new WeakMap<readonly string[], number>()

  constructor(names: NameTable) {
    this.names = names
  }

  get size(): number {
    return this.numbers.size
  }

  /** Estimate: two small objects, a typed array and a map entry each, and the spellings. */
  get bytes(): number {
    return this.numbers.size * 350 + this.sets.length * 8 + this.spellings.size * 250
  }

  /** Holds the set of these scopes and gives its number. */
  hold(scopes: readonly string[]): number {
    const listed = this.lists.get(scopes)
    const same = listed === undefined ? undefined : this.sets[listed]
    if (listed !== undefined && same !== undefined) {
      same.holders++
      return listed
    }
    const number = this.holdSpelling(scopes)
    if (Object.isFrozen(scopes)) this.lists.set(scopes, number)
    return number
  }

  private holdSpelling(scopes: readonly string[]): number {
    if (scopes.length > spellingScopesMax) return this.holdSet(scopes)
    const spelling = scopes.join()
    const known = this.spellings.get(spelling)
    const held = known !== undefined && isSame(known.scopes, scopes) ? this.sets[known.number] : undefined
    if (known !== undefined && held !== undefined) {
      held.holders++
      return known.number
    }
    const number = this.holdSet(scopes)
    if (this.spellings.size >= spellingsMax) this.spellings.clear()
    this.spellings.set(spelling, { scopes, number })
    return number
  }

  private holdSet(scopes: readonly string[]): number {
    const numbers = [...new Set(scopes.map(scope => this.names.intern(scope)))].sort((a, b) => a - b)
    const key = numbers.join()
    const known = this.numbers.get(key)
    const held = this.sets[known ?? -1]
    if (known !== undefined && held !== undefined) {
      held.holders++
      return known
    }
    const number = this.unused.pop() ?? this.sets.length
    this.sets[number] = { key, set: scopeSetOf(numbers), holders: 1 }
    this.numbers.set(key, number)
    return number
  }

  release(number: number): void {
    const held = this.sets[number]
    if (held === undefined || --held.holders > 0) return
    this.numbers.delete(held.key)
    this.forgetSpellings() // the number may mean another set from now on
    this.sets[number] = undefined
    this.unused.push(number)
  }

  set(number: number): ScopeSet {
    return this.sets[number]?.set ?? NO_SCOPES
  }

  clear(): void {
    this.numbers.clear()
    this.forgetSpellings()
    this.sets.length = 0
    this.unused.length = 0
  }

  private forgetSpellings(): void {
    this.spellings.clear()
    this.lists = new WeakMap()
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((scope, at) => scope === others[at])
}
