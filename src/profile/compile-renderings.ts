// Compiles the `errors` block: for every denial reason the whole reply to the client, encoded, with holes for what varies.
// The linter runs the same code with its own fault sink, so what passes lint compiles.
import { type DenialReason, denialReasons } from '../core/reason.ts'
import type { Rendering, Template } from './compiled-profile.ts'
import type { FieldPath } from './finding.ts'
import { type PlaceholderScope, resolvePlaceholder } from './placeholders.ts'
import type { Data } from './read-yaml.ts'
import type { Documented, ProfileDocument, RenderingDocument } from './schema.ts'
import { compileJson, compileText, type TemplateFaults, textParts } from './template.ts'

/** The parts of a profile that renderings are made of. */
export type RenderingSource = Pick<ProfileDocument, 'credential' | 'errors' | 'ids' | 'rate_limit'>

/** Compiles the rendering `name` for one of its reasons. `faults` gets the path from the root of the profile. */
export function compileRendering(
  source: RenderingSource,
  name: string,
  reason: DenialReason,
  deploymentEnvironment: string,
  faults: TemplateFaults,
): Rendering | undefined {
  const rendering = source.errors.renderings[name]
  if (rendering === undefined) return undefined
  const base: FieldPath = ['errors', 'renderings', name]
  const at =
    (...path: FieldPath): TemplateFaults =>
    (inner, message) =>
      faults([...path, ...inner], message)
  const bare = placeholderScope(source, rendering, reason, deploymentEnvironment)
  const message = textParts(
    rendering.message,
    placeholder => resolvePlaceholder(placeholder, bare),
    at(...base, 'message'),
  )
  const scope = { ...bare, message }
  const own = rendering.body !== null
  return {
    name,
    reason,
    status: rendering.status,
    grpcStatus: rendering.grpc ?? source.errors.grpc[String(rendering.status)] ?? 0,
    body: compileJson(
      (own ? rendering.body : source.errors.body) as Data,
      placeholder => resolvePlaceholder(placeholder, scope),
      own ? at(...base, 'body') : at('errors', 'body'),
    ),
    message: compileText(message),
    headers: compileHeaders(source, rendering, scope, base, at),
    documented: String(rendering.for[reason] ?? false) as Rendering['documented'],
  }
}

/** Every denial reason's rendering, indexed by decision code. @throws Error for a profile that did not pass lint. */
export function compileRenderings(source: RenderingSource, deploymentEnvironment: string): readonly Rendering[] {
  const names = renderingNames(source.errors.renderings)
  return denialReasons.map(reason => {
    const rendering = compileRendering(
      source,
      names.get(reason) ?? '',
      reason,
      deploymentEnvironment,
      (_, { problem }) => {
        throw new Error(`rendering of ${reason}: ${problem}`)
      },
    )
    if (rendering === undefined) throw new Error(`no rendering for ${reason}`)
    return rendering
  })
}

/** Which rendering shows a reason: the first that lists it. */
export function renderingNames(
  renderings: Readonly<Record<string, { readonly for: Readonly<Record<string, Documented>> }>>,
): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  for (const [name, rendering] of Object.entries(renderings)) {
    for (const reason of Object.keys(rendering.for)) {
      if (!names.has(reason)) names.set(reason, name)
    }
  }
  return names
}

function placeholderScope(
  source: RenderingSource,
  rendering: RenderingDocument,
  reason: DenialReason,
  deploymentEnvironment: string,
): PlaceholderScope {
  return {
    reason,
    httpStatus: rendering.status,
    code: rendering.code,
    message: undefined,
    deploymentEnvironment,
    headerName: source.credential.sources[0]?.header ?? '',
    hasSupportId: source.ids.support !== null,
  }
}

/** content-type, the common headers, the rendering's own (which replace common ones), the limit headers of a 429. */
function compileHeaders(
  source: RenderingSource,
  rendering: RenderingDocument,
  scope: PlaceholderScope,
  base: FieldPath,
  at: (...path: FieldPath) => TemplateFaults,
): Rendering['headers'] {
  const headers = new Map<string, Template>()
  const add = (name: string, value: string, faults: TemplateFaults) =>
    headers.set(
      name.toLowerCase(),
      compileText(textParts(value, placeholder => resolvePlaceholder(placeholder, scope), faults)),
    )
  headers.set('content-type', compileText([source.errors.content_type]))
  for (const [name, value] of Object.entries(source.errors.headers)) add(name, value, at('errors', 'headers', name))
  for (const [name, value] of Object.entries(rendering.headers)) add(name, value, at(...base, 'headers', name))
  if (scope.reason === 'rate_limited') {
    const holes = ['limit', 'remaining', 'reset_unix'] as const
    for (const [index, name] of source.rate_limit.headers.entries()) {
      const hole = holes[index]
      if (hole !== undefined) headers.set(name, compileText([{ hole }]))
    }
  }
  return [...headers].map(([name, value]) => ({ name, value }))
}
