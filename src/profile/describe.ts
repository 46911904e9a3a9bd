// A compiled profile in words, for people: what `gatewarden profile show` prints.
import type { RouteRule } from '../core/route-table.ts'
import type { ImportedForm, IssuedForm } from '../core/secret-grammar.ts'
import type { CompiledProfile, Rendering } from './compiled-profile.ts'
import { formatDurationMs } from './duration.ts'
import { renderDenial } from './render-denial.ts'

/** Several sections with a heading each; ends in a line feed. */
export function describeProfile(profile: CompiledProfile): string {
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['Profile', overview(profile)],
    ['Environments', aligned(profile.management.environments.map(each => [each.name, each.prefix, each.label]))],
    ['Keys', keys(profile)],
    ['Scopes', scopes(profile)],
    ['Routes', routes(profile)],
    ['Checks', [profile.policy.checks.join(' → ')]],
    ['Addresses', addresses(profile)],
    ['Limits', limits(profile)],
    ['Denials', denials(profile)],
  ]
  return `${sections.map(([title, lines]) => [title, ...lines.map(line => `  ${line}`)].join('\n')).join('\n\n')}\n`
}

function overview(profile: CompiledProfile): readonly string[] {
  return aligned([
    ['name', profile.name],
    ['version', String(profile.version)],
    ['digest', profile.digest],
    ['hosts', profile.hosts.length === 0 ? 'none: chosen by context extension' : profile.hosts.join(', ')],
  ])
}

function keys({ policy, forwardCredential }: CompiledProfile): readonly string[] {
  const { issued, imported, maxLength } = policy.grammar.forms
  const sources = policy.sources.map(({ header, scheme, bare }) =>
    scheme === null ? header : `${header}: ${scheme}${bare ? ' (or bare)' : ''}`,
  )
  return aligned([
    ['sent in', sources.join(', ')],
    ['upstream', forwardCredential === 'strip' ? 'does not see the header' : 'sees the header'],
    ['new', describeIssued(issued)],
    ...imported.map(form => ['imported', describeImported(form)]),
    ['at most', `${maxLength} characters`],
  ])
}

function describeIssued({ alphabet, secretLength, suffix }: IssuedForm): string {
  return `prefix + ${secretLength} ${alphabet} + 6 checksum${suffix === '' ? '' : ` + ${suffix}`}`
}

function describeImported(form: ImportedForm): string {
  if ('inner' in form) return `prefix + base64url of ${form.inner}`
  const { min, max } = form.length
  return `prefix + ${min === max ? min : `${min}–${max}`} ${form.alphabet}`
}

function scopes({ management }: CompiledProfile): readonly string[] {
  const lines = management.scopes.map(({ name, grantableBy, inAll }) => [
    name,
    grantableBy.length === 2 ? '' : `granted by ${grantableBy.join(', ') || 'nobody'}`,
    inAll ? '' : 'not in all',
  ])
  return [...aligned(lines), `a key without scopes: ${management.emptyScopes}`]
}

function routes({ policy }: CompiledProfile): readonly string[] {
  const { basePath, basePathRequired, headAsGet, options, unmapped } = policy.routes.options
  const base = basePath === '' ? 'none' : `${basePath} (${basePathRequired ? 'required' : 'optional'})`
  return [
    ...aligned(policy.routes.rules.map(rule => [rule.method, `${rule.host ?? ''}${rule.path}`, requirement(rule)])),
    `base path: ${base}; HEAD: ${headAsGet ? 'as GET' : 'by its own rules'}; OPTIONS: ${options}; unmapped: ${unmapped}`,
  ]
}

function requirement(rule: RouteRule): string {
  const needs = rule.access === 'scopes' ? rule.scopeNames.join(rule.mode === 'all' ? ' and ' : ' or ') : rule.access
  const limits = rule.limits.map(({ limit, windowMicros }) => `${limit} per ${formatDurationMs(windowMicros / 1000)}`)
  return limits.length === 0 ? needs : `${needs} (at most ${limits.join(', ')})`
}

function addresses({ management, policy }: CompiledProfile): readonly string[] {
  const { minPrefix, maxEntries, private: privateRule, hostBits } = management.ipRules
  return aligned([
    ['no entries', policy.emptyAllowlist === 'any' ? 'every address' : 'no address'],
    ['broadest', `IPv4 /${minPrefix.v4 ?? 0}, IPv6 /${minPrefix.v6 ?? 0}`],
    ['entries', `at most ${maxEntries ?? 256}`],
    ['private', privateRule],
    ['host bits', hostBits],
  ])
}

function limits({ policy, management, limitHeaders }: CompiledProfile): readonly string[] {
  const own = policy.limits.default
  const { rotation } = management
  return aligned([
    [
      'requests',
      own === null ? 'no limit' : `${own.limit} per ${formatDurationMs(own.windowMicros / 1000)} (${own.algorithm})`,
    ],
    ['headers', limitHeaders.join(', ') || 'none'],
    [
      'grace',
      `${formatDurationMs(rotation.defaultMs)}, from ${formatDurationMs(rotation.minMs)} to ${formatDurationMs(rotation.maxMs)}`,
    ],
  ])
}

/** Reasons that share an answer stand together; a `!` marks answers that no document states. */
function denials({ renderings }: CompiledProfile): readonly string[] {
  const byName = new Map<string, Rendering[]>()
  for (const rendering of renderings) byName.set(rendering.name, [...(byName.get(rendering.name) ?? []), rendering])
  return [...byName.values()].flatMap(group => {
    const [first] = group
    if (first === undefined) return []
    const reasons = group.map(({ reason, documented }) => `${reason}${documented === 'false' ? '!' : ''}`)
    return [
      `${first.status} ${first.name} (gRPC ${first.grpcStatus}): ${reasons.join(', ')}`,
      `    ${renderDenial(first, placeholders).body}`,
    ]
  })
}

const placeholders = {
  support_id: '<support_id>',
  request_id: '<request_id>',
  decision_id: '<decision_id>',
  now: '<now>',
  key_environment: '<key_environment>',
  required_scope: '<required_scope>',
  retry_after: '<retry_after>',
}

/** Columns of equal width; blanks at line ends removed. */
function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
  return rows.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
