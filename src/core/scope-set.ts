// A set of scopes as bits over interned scope numbers (`Names.scopes`).
// Independent of any profile version: a policy that is swapped under a loaded key cannot shift its meaning.

/** An immutable set of scope numbers. A number outside the words is simply not in the set. */
export interface ScopeSet {
  readonly words: Uint32Array
}

/** The set of the given scope numbers (integers >= 0). */
export function scopeSetOf(scopes: readonly number[]): ScopeSet {
  const words = new Uint32Array(scopes.length === 0 ? 0 : (Math.max(...scopes) >>> 5) + 1)
  for (const scope of scopes) words[scope >>> 5] = (words[scope >>> 5] ?? 0) | (1 << (scope & 31))
  return { words }
}

/** Whether `scope` is in the set. */
export function hasScope(set: ScopeSet, scope: number): boolean {
  return (((set.words[scope >>> 5] ?? 0) >>> (scope & 31)) & 1) === 1
}
