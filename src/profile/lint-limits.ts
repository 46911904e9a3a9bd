// `limit`: bounds that the schema cannot state because they count members or sums of them.
import { checksumLength } from '../core/checksum.ts'
import { lintRule } from './lint-rule.ts'
import { parseRoutePath } from './route-path.ts'
import { ENVIRONMENTS_MAX } from './schema.ts'
import { scopeNames } from './vocabulary.ts'

/** Scopes of one profile: a key's set stays within 64 octets. */
export const SCOPES_MAX = 512
/** Renderings of one profile: there are 19 reasons, so more can never be used. */
export const RENDERINGS_MAX = 64
/** Segments of a path template: the depth of the route trie. */
export const PATH_SEGMENTS_MAX = 32

/** Counts that a schema per member does not see. */
export const lintLimits = [
  lintRule(['environments'], ({ environments }, report) => {
    const count = Object.keys(environments).length
    if (count > ENVIRONMENTS_MAX)
      report('limit', ['environments'], `there are ${count} environments; keep at most ${ENVIRONMENTS_MAX}`)
    if (count === 0) report('type', ['environments'], '`environments` is empty; add at least one with its key prefix')
  }),
  lintRule(['scopes'], ({ scopes }, report) => {
    const count = scopeNames(scopes).length
    if (count > SCOPES_MAX) report('limit', ['scopes'], `there are ${count} scopes; keep at most ${SCOPES_MAX}`)
  }),
  lintRule(['errors'], ({ errors }, report) => {
    const count = Object.keys(errors.renderings).length
    if (count > RENDERINGS_MAX) {
      report('limit', ['errors', 'renderings'], `there are ${count} renderings; keep at most ${RENDERINGS_MAX}`)
    }
  }),
  lintRule(['routes'], ({ routes }, report) => {
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
