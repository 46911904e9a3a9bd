// `reason_*`, `unrenderable`, `same_body`: every denial reason has exactly one answer, and each answer can be written at its worst.
import { SHORT_NAME_LENGTH_MAX } from '../core/api-key-entry.ts'
import { type DenialReason, denialReasons } from '../core/reason.ts'
import { compileRendering, type RenderingSource, renderingNames } from './compile-renderings.ts'
import { type InsertionName, type Rendering, requestIdLengthMax } from './compiled-profile.ts'
import { type FieldPath, formatPath } from './finding.ts'
import { isReservedHeader } from './header-names.ts'
import { lintRule } from './lint-rule.ts'
import type { Report } from './parse-document.ts'
import type { TemplateFault } from './placeholders.ts'
import { fillTemplate, type InsertionValues } from './render-denial.ts'
import { requirementOf } from './route-requirement.ts'
import { HEADER_NAME, type ProfileDocument } from './schema.ts'

/** Octets of a body or header value at its longest: Envoy keeps replies of authorizers in memory. */
export const RENDERED_OCTETS_MAX = 1024

export const lintRenderings = [
  lintRule(['errors'], ({ errors }, report) => {
    const owner = new Map<string, string>()
    for (const [name, rendering] of Object.entries(errors.renderings)) {
      for (const reason of Object.keys(rendering.for)) {
        const at = ['errors', 'renderings', name, 'for', reason]
        const earlier = owner.get(reason)
        if (!isReason(reason)) report('reason_unknown', at, `\`${reason}\` is no denial reason; correct the spelling`)
        else if (earlier !== undefined) {
          report('reason_duplicate', at, `\`${reason}\` is already answered by \`${earlier}\`; remove one of them`)
        }
        owner.set(reason, owner.get(reason) ?? name)
      }
    }
    for (const reason of denialReasons) {
      if (owner.has(reason)) continue
      report('reason_missing', ['errors', 'renderings'], `no rendering answers \`${reason}\`; add it to one \`for\``)
    }
  }),
  lintRule(['errors'], ({ errors }, report) => {
    lintHeaderNames(errors.headers, ['errors', 'headers'], report)
    for (const [name, rendering] of Object.entries(errors.renderings)) {
      const path = ['errors', 'renderings', name]
      lintHeaderNames(rendering.headers, [...path, 'headers'], report)
      if (rendering.status < 400 || rendering.status > 599) {
        report('unrenderable', [...path, 'status'], `\`status\` is ${rendering.status}; a denial has 400 to 599`)
      } else if (rendering.grpc === undefined && !Object.hasOwn(errors.grpc, String(rendering.status))) {
        report(
          'unrenderable',
          [...path, 'status'],
          `there is no gRPC status for ${rendering.status}; add it to \`errors.grpc\` or set \`grpc\``,
        )
      }
    }
  }),
  lintRule(['errors', 'credential', 'ids', 'rate_limit', 'routes', 'scopes', 'environments'], (profile, report) => {
    const longest = longestValues(profile)
    const compiled: Rendering[] = []
    const faults = new FaultList()
    const atWorst = reportOnce(report)
    const owners = renderingNames(profile.errors.renderings)
    for (const [name, rendering] of Object.entries(profile.errors.renderings)) {
      // A reason that is answered twice is told already, and is not worked on twice.
      for (const reason of Object.keys(rendering.for).filter(isReason)) {
        if (owners.get(reason) !== name) continue
        const result = compileRendering(profile, name, reason, 'production', (path, fault) =>
          faults.add(path, fault, reason),
        )
        if (result === undefined) continue
        if (faults.isEmpty) lintWorstCase(result, longest, rendering.body !== null, atWorst)
        compiled.push(result)
      }
    }
    faults.reportAll(report)
    lintSameBody(compiled, report)
  }),
] as const

/** One finding a place: the reasons of a rendering nearly always share their faults. */
function reportOnce(report: Report): Report {
  const told = new Set<string>()
  return (code, path, message) => {
    const place = formatPath(path)
    if (!told.has(place)) report(code, path, message)
    told.add(place)
  }
}

function isReason(text: string): text is DenialReason {
  return (denialReasons as readonly string[]).includes(text)
}

function lintHeaderNames(headers: Readonly<Record<string, string>>, at: FieldPath, report: Report): void {
  const seen = new Set<string>()
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase()
    if (!HEADER_NAME.test(lower))
      report('unrenderable', [...at, name], `\`${name}\` is no HTTP header name; correct it`)
    else if (lower === 'content-type' || isReservedHeader(lower)) {
      report(
        'unrenderable',
        [...at, name],
        `\`${name}\` is not set by renderings; remove it${lower === 'content-type' ? ' and use `errors.content_type`' : ''}`,
      )
    } else if (seen.has(lower))
      report('unrenderable', [...at, name], `\`${name}\` is written twice; remove one of them`)
    seen.add(lower)
  }
}

/** Faults of templates, one finding each: those of single reasons name all their reasons together. */
class FaultList {
  private readonly byPlace = new Map<string, { path: FieldPath; fault: TemplateFault; reasons: DenialReason[] }>()

  get isEmpty(): boolean {
    return this.byPlace.size === 0
  }

  add(path: FieldPath, fault: TemplateFault, reason: DenialReason): void {
    const key = `${formatPath(path)} ${fault.problem}`
    const known = this.byPlace.get(key)
    if (known === undefined) this.byPlace.set(key, { path, fault, reasons: [reason] })
    else known.reasons.push(reason)
  }

  reportAll(report: Report): void {
    for (const { path, fault, reasons } of this.byPlace.values()) {
      const where = fault.perReason ? ` for ${reasons.join(', ')}` : ''
      report('unrenderable', path, `${fault.problem}${where}; ${fault.mend}`)
    }
  }
}

/** Every placeholder at its longest. */
function longestValues(profile: RenderingSource & Pick<ProfileDocument, 'routes' | 'scopes'>): InsertionValues {
  const scopes = profile.routes.rules.flatMap(rule =>
    Object.values(rule.methods).map(value => requirementOf(value).scopes.join(profile.scopes.join)),
  )
  const uuid = '00000000-0000-7000-8000-000000000000'
  const values: Record<InsertionName, string | number> = {
    support_id: (profile.ids.support ?? '').replace(/\{uuidv[47]\}/, uuid),
    // Of a client's making; in JSON each quotation mark takes two octets.
    request_id: '"'.repeat(requestIdLengthMax),
    decision_id: uuid,
    now: '2026-03-01T13:00:00.000000Z',
    // Of the key, not of this profile: a key may have been made before the profile changed.
    key_environment: 'x'.repeat(SHORT_NAME_LENGTH_MAX),
    required_scope: longestOf(scopes),
    retry_after: 2_678_400,
    limit: 1_000_000,
    remaining: 1_000_000,
    reset_unix: 99_999_999_999,
  }
  return values
}

function longestOf(texts: readonly string[]): string {
  return texts.reduce((longest, text) => (text.length > longest.length ? text : longest), '')
}

function lintWorstCase(rendering: Rendering, longest: InsertionValues, ownBody: boolean, report: Report): void {
  const at = ['errors', 'renderings', rendering.name]
  const body = fillTemplate(rendering.body, longest)
  const bodyAt = ownBody ? [...at, 'body'] : at
  if (!isJsonDocument(body)) {
    report(
      'unrenderable',
      ownBody ? bodyAt : ['errors', 'body'],
      'the body is not a JSON object or list; write a mapping of its members',
    )
  }
  if (Buffer.byteLength(body) > RENDERED_OCTETS_MAX) {
    report(
      'unrenderable',
      bodyAt,
      `the body of ${rendering.reason} can have ${Buffer.byteLength(body)} octets; shorten it to at most ${RENDERED_OCTETS_MAX}`,
    )
  }
  for (const { name, value } of rendering.headers) {
    const headerAt = [...at, 'headers', name]
    const literal = Buffer.concat(value.pieces).toString('utf8')
    const text = fillTemplate(value, longest)
    if (!/^[ -~]*$/.test(literal) || text !== text.trim()) {
      report(
        'unrenderable',
        headerAt,
        `the value of \`${name}\` is no header value; use printable ASCII without blanks at its ends`,
      )
    } else if (text.length > RENDERED_OCTETS_MAX) {
      report(
        'unrenderable',
        headerAt,
        `the value of \`${name}\` can have ${text.length} characters; shorten it to at most ${RENDERED_OCTETS_MAX}`,
      )
    }
  }
}

function isJsonDocument(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return value !== null && typeof value === 'object'
  } catch {
    return false
  }
}

/** Bodies that clients cannot tell apart although the status differs. */
function lintSameBody(renderings: readonly Rendering[], report: Report): void {
  const first = new Map<string, Rendering>()
  const told = new Set<string>()
  for (const rendering of renderings) {
    const key = JSON.stringify([rendering.body.pieces.map(piece => piece.toString('utf8')), rendering.body.holes])
    const earlier = first.get(key)
    if (earlier === undefined) first.set(key, rendering)
    else if (earlier.status !== rendering.status && !told.has(rendering.name)) {
      told.add(rendering.name)
      const message = `the body is that of \`${earlier.name}\`, but the status is ${rendering.status} instead of ${earlier.status}; check that both are meant`
      report('same_body', ['errors', 'renderings', rendering.name], message)
    }
  }
}
