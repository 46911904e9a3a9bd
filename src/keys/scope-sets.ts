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

/** See the head of the file. */
export class ScopeSets {
  private readonly names: NameTable
  private readonly numbers = new Map<string, number>()
  private readonly sets: (HeldSet | undefined)[] = []
  private readonly unused: number[] = []

  constructor(names: NameTable) {
    this.names = names
  }

  get size(): number {
    return this.numbers.size
  }

  /** Estimate: two small objects, a typed array and a map entry each. */
  get bytes(): number {
    return this.numbers.size * 350 + this.sets.length * 8
  }

  /** Holds the set of these scopes and gives its number. */
  hold(scopes: readonly string[]): number {
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
    this.sets[number] = undefined
    this.unused.push(number)
  }

  set(number: number): ScopeSet {
    return this.sets[number]?.set ?? NO_SCOPES
  }

  clear(): void {
    this.numbers.clear()
    this.sets.length = 0
    this.unused.length = 0
  }
}
