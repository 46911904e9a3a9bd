// `unknown_scope`, `unused_scope`, `empty_all`, `not_grantable`: the vocabulary, who may grant it, and where it is needed.
import { lintRule } from './lint-rule.ts'
import { requirementOf } from './route-requirement.ts'
import { SCOPE_NAME, SCOPES_MAX } from './schema.ts'
import { scopeDefinitions, scopeNames } from './vocabulary.ts'

export const lintScopes = [
  lintRule(['scopes'], ({ scopes }, report) => {
    if (scopeNames(scopes).length > SCOPES_MAX) return
    const made = Object.keys(scopes.resources).length > 0
    if (made && scopes.names.length > 0) {
      report('type', ['scopes'], '`scopes` has both `resources` and `names`; keep one of them')
    } else if (!made && scopes.names.length === 0) {
      report('type', ['scopes'], '`scopes` has no scope; list them in `resources` or in `names`')
    }
    if (made && !(scopes.form.includes('{resource}') && scopes.form.includes('{action}'))) {
      report('type', ['scopes', 'form'], '`form` must hold {resource} and {action}; write e.g. "{resource}:{action}"')
    }
    const seen = new Set<string>()
    for (const name of scopeNames(scopes)) {
      const path = made ? ['scopes', 'resources'] : ['scopes', 'names', scopes.names.lastIndexOf(name)]
      if (seen.has(name)) report('duplicate_field', path, `the scope \`${name}\` is listed twice; remove one of them`)
      if (!SCOPE_NAME.test(name))
        report('type', path, `the scope \`${name}\` does not fit; use 1–128 of letters, digits, _ . : -`)
      if (name === 'public' || name === 'authenticated') {
        report('type', path, `\`${name}\` is a word of route rules and cannot be a scope; rename it`)
      }
      seen.add(name)
    }
  }),
  lintRule(['scopes'], ({ scopes }, report) => {
    const known = new Set(scopeNames(scopes))
    for (const name of Object.keys(scopes.attributes)) {
      if (!known.has(name)) report('unknown_scope', ['scopes', 'attributes', name], unknown(name))
    }
    if (scopes.empty === 'all') {
      report(
        'empty_all',
        ['scopes', 'empty'],
        'a key created without scopes holds all that `in_all` covers; choose `refuse` if that is not meant',
      )
    }
    for (const { name, grantableBy, inAll } of scopeDefinitions(scopes)) {
      const path = ['scopes', 'attributes', name]
      if (grantableBy.length === 0) {
        report('not_grantable', path, `nobody may grant \`${name}\`; name developer or operator in \`grantable_by\``)
      } else if (inAll && !grantableBy.includes('developer')) {
        report(
          'not_grantable',
          path,
          `developers may not grant \`${name}\` but get it with all scopes; set \`in_all: false\``,
        )
      }
    }
  }),
  lintRule(['scopes', 'routes'], ({ scopes, routes }, report) => {
    const unused = new Set(scopeNames(scopes))
    if (unused.size > SCOPES_MAX) return
    const known = new Set(unused)
    for (const [index, rule] of routes.rules.entries()) {
      for (const [method, value] of Object.entries(rule.methods)) {
        for (const name of requirementOf(value).scopes) {
          unused.delete(name)
          if (!known.has(name)) report('unknown_scope', ['routes', 'rules', index, 'methods', method], unknown(name))
        }
      }
    }
    const resources = resourceByScope(scopes)
    for (const name of unused) {
      const at = scopes.names.indexOf(name)
      const path = at < 0 ? ['scopes', 'resources', resources.get(name) ?? name] : ['scopes', 'names', at]
      report('unused_scope', path, `no route rule needs \`${name}\`; add the rule or remove the scope`)
    }
  }),
  lintRule(['scopes', 'examples'], ({ scopes, examples }, report) => {
    const known = new Set(scopeNames(scopes))
    for (const [index, example] of examples.entries()) {
      for (const [at, name] of (example.scopes ?? []).entries()) {
        if (!known.has(name)) report('unknown_scope', ['examples', index, 'scopes', at], unknown(name))
      }
    }
  }),
] as const

function unknown(name: string): string {
  return `\`${name}\` is not a scope of this profile; correct the spelling or add it to \`scopes\``
}

function resourceByScope(scopes: Parameters<typeof scopeNames>[0]): ReadonlyMap<string, string> {
  const resources = Object.entries(scopes.resources).flatMap(([resource, actions]) =>
    scopeNames({ ...scopes, resources: { [resource]: actions }, names: [] }).map(name => [name, resource] as const),
  )
  // The first of two that make one scope counts.
  return new Map(resources.reverse())
}
