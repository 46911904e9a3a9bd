// Fills the holes of a rendering: for tests, the admin side and explanations. The check path has its own, allocation-free way.
import type { InsertionName, Rendering, Template } from './compiled-profile.ts'

/** Values by placeholder; numbers are written as decimal digits. */
export type InsertionValues = { readonly [name in InsertionName]?: string | number }

/** A denial as an HTTP client sees it. */
export interface RenderedDenial {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  /** For gRPC clients instead of status and body. */
  readonly grpcStatus: number
  readonly grpcMessage: string
}

/** The reply for a rendering. A hole without a value is filled with nothing: `0` where a number must stand. */
export function renderDenial(rendering: Rendering, values: InsertionValues): RenderedDenial {
  return {
    status: rendering.status,
    headers: rendering.headers.map(({ name, value }) => [name, fillTemplate(value, values)] as const),
    body: fillTemplate(rendering.body, values),
    grpcStatus: rendering.grpcStatus,
    grpcMessage: fillTemplate(rendering.message, values),
  }
}

/** The text of a template with its holes filled. */
export function fillTemplate(template: Template, values: InsertionValues): string {
  let text = template.pieces[0]?.toString('utf8') ?? ''
  for (const [index, hole] of template.holes.entries()) {
    text += formatValue(values[hole.name], hole.form) + (template.pieces[index + 1]?.toString('utf8') ?? '')
  }
  return text
}

function formatValue(value: string | number | undefined, form: Template['holes'][number]['form']): string {
  if (form === 'json-value') return Number.isFinite(Number(value)) ? String(Number(value)) : '0'
  const text = String(value ?? '')
  if (form === 'json-string-part') return JSON.stringify(text).slice(1, -1)
  // Header values and grpc-message: printable ASCII only, so that no value can end a line.
  return text.replace(/[^ -~]/g, '?')
}
