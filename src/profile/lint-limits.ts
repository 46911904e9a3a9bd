// `limit`: bounds that the schema cannot state because they count members or sums of them.
import { checksumLength } from '../core/checksum.ts'
import { lintRule } from './lint-rule.ts'
import { parseRoutePath } from './route-path.ts'
import { HOSTS_MAX, ROUTES_MAX, SCOPES_MAX } from './schema.ts'
import { scopeNames } from './vocabulary.ts'

/** Segments of a path template: the depth of the route trie. */
export const PATH_SEGMENTS_MAX = 32

/** Counts that a schema per member does not see. */
export const lintLimits = [
  lintRule(['environments'], ({ environments }, report) => {
    if (Object.keys(environments).length > 0) return
    report('type', ['environments'], '`environments` is empty; add at least one with its key prefix')
  }),
  lintRule(['scopes'], ({ scopes }, report) => {
    const count = scopeNames(scopes).length
    if (count > SCOPES_MAX) report('limit', ['scopes'], `there are ${count} scopes; keep at most ${SCOPES_MAX}`)
  }),
  lintRule(['routes'], ({ routes }, report) => {
    const count = routes.rules.reduce((sum, rule) => sum + Object.keys(rule.methods).length, 0)
    if (count > ROUTES_MAX) {
      const message = `the rules have ${count} methods together; keep at most ${ROUTES_MAX}`
      report('limit', ['routes', 'rules'], message)
    }
    const hosts = new Set(routes.rules.flatMap(rule => rule.host ?? []))
    if (hosts.size > HOSTS_MAX) {
      const message = `the rules are bound to more than ${HOSTS_MAX} hosts; bind them to fewer`
      report('limit', ['routes', 'rules'], message)
    }
    for (const [index, rule] of routes.rules.entries()) {
      const { segments } = parseRoutePath(rule.path)
      if (segments.length > PATH_SEGMENTS_MAX) {
        const message = `\`path\` has ${segments.length} segments; keep at most ${PATH_SEGMENTS_MAX}`
        report('limit', ['routes', 'rules', index, 'path'], message)
      }
    }
  }),
  lintRule(['key', 'environments'], ({ key, environments }, report) => {
    const prefix = Math.max(0, ...Object.values(environments).map(environment => environment.prefix.length))
    const length = prefix + key.issued.secret_length + checksumLength + key.issued.suffix.length
    if (length > key.max_length) {
      report(
        'limit',
        ['key', 'issued'],
        `new keys have ${length} characters; raise \`key.max_length\` (${key.max_length}) or shorten them`,
      )
    }
  }),
] as const
