// A path template taken apart: literals, {parameters} and a trailing /** subtree. Two templates of one shape match the same paths.

/** One segment: a literal's text, or null for a parameter. */
export type PathSegment = string | null

export interface RoutePath {
  readonly segments: readonly PathSegment[]
  /** Whether the template ends in `/**`: itself and everything below. */
  readonly subtree: boolean
}

/** Takes apart a template that begins with `/`; what is no parameter counts as a literal. */
export function parseRoutePath(path: string): RoutePath {
  const texts = path.split('/').slice(1)
  const subtree = texts[texts.length - 1] === '**'
  if (subtree) texts.pop()
  return { segments: texts.map(text => (isParameter(text) ? null : text)), subtree }
}

/** `{name}` as a whole segment. */
export function isParameter(segment: string): boolean {
  return /^\{[A-Za-z_][A-Za-z0-9_]{0,63}\}$/.test(segment)
}

/** Equal for templates that match the same paths: parameter names left out. */
export function shapeOf(path: RoutePath): string {
  const segments = path.segments.map(segment => `/${segment ?? '{}'}`).join('')
  return path.subtree ? `${segments}/**` : segments
}

/** The shape of a template's text. */
export function pathShape(path: string): string {
  return shapeOf(parseRoutePath(path))
}
