// The scopes of a profile: names in the order of the file, and what is said of each.
import type { ScopeDefinition } from './compiled-profile.ts'
import type { ProfileDocument } from './schema.ts'

type Scopes = ProfileDocument['scopes']

/** Every scope name in vocabulary order: resources with their actions first, then `names`. May hold repetitions. */
export function scopeNames(scopes: Scopes): readonly string[] {
  const made = Object.entries(scopes.resources).flatMap(([resource, actions]) =>
    actions.map(action => scopes.form.replaceAll('{resource}', () => resource).replaceAll('{action}', () => action)),
  )
  return [...made, ...scopes.names]
}

/** Every scope with its attributes. */
export function scopeDefinitions(scopes: Scopes): readonly ScopeDefinition[] {
  return scopeNames(scopes).map(name => {
    const given = Object.hasOwn(scopes.attributes, name) ? scopes.attributes[name] : undefined
    return { name, grantableBy: given?.grantable_by ?? ['developer', 'operator'], inAll: given?.in_all ?? true }
  })
}
