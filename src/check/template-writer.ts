// Writes a template of a profile with its holes filled, backwards into the reply buffer, without making a string of it.
// What fills a hole of a JSON text is printable ASCII by then, so only quote and backslash need an escape.
import { uuidTextLength } from '../core/uuid-text.ts'
import type { InsertionName, Template } from '../profile/compiled-profile.ts'
import type { ReplyBuffer } from './reply-buffer.ts'
import type { ReplyValues, ShortText } from './reply-values.ts'

/** What stands around the UUID of a support id; null: the profile has none. */
export interface SupportIdForm {
  readonly prefix: string
  readonly suffix: string
}

/** The form of `support_{uuidv7}` and the like. */
export function supportIdForm(template: string | null): SupportIdForm | null {
  if (template === null) return null
  const cut = /\{uuidv[47]\}/.exec(template)
  if (cut === null) return { prefix: template, suffix: '' }
  return { prefix: template.slice(0, cut.index), suffix: template.slice(cut.index + cut[0].length) }
}

/** Writes the template so that it ends where the buffer's content begins. */
export function prependTemplate(
  buffer: ReplyBuffer,
  template: Template,
  values: ReplyValues,
  support: SupportIdForm | null,
): void {
  const { pieces, holes } = template
  for (let i = holes.length; i >= 0; i--) {
    const hole = holes[i]
    if (hole !== undefined) {
      const end = buffer.at
      prependValue(buffer, hole.name, values, support)
      if (hole.form === 'json-string-part') escapeJson(buffer, end)
    }
    const piece = pieces[i]
    if (piece !== undefined) buffer.prepend(piece)
  }
}

function prependValue(
  buffer: ReplyBuffer,
  name: InsertionName,
  values: ReplyValues,
  support: SupportIdForm | null,
): void {
  switch (name) {
    case 'support_id':
      if (support === null) return
      buffer.prependText(support.suffix)
      buffer.prependStart(values.supportId, uuidTextLength)
      buffer.prependText(support.prefix)
      return
    case 'decision_id':
      buffer.prependStart(values.decisionId, uuidTextLength)
      return
    case 'request_id':
      prependShort(buffer, values.requestId)
      return
    case 'now':
      buffer.prependText(new Date(values.unixMs).toISOString())
      return
    case 'key_environment':
      buffer.prependText(values.environment)
      return
    case 'required_scope':
      buffer.prependText(values.missingScope)
      return
    case 'retry_after':
      buffer.prependDecimal(values.retryAfterSeconds)
      return
    case 'limit':
      buffer.prependDecimal(values.limit)
      return
    case 'remaining':
      buffer.prependDecimal(values.remaining)
      return
    case 'reset_unix':
      buffer.prependDecimal(values.resetUnixSeconds)
  }
}

export function prependShort(buffer: ReplyBuffer, text: ShortText): void {
  buffer.prependStart(text.octets, text.length)
}

/** Escapes what has been written before `end`; rare, so it is written again from a copy. */
function escapeJson(buffer: ReplyBuffer, end: number): void {
  const { bytes } = buffer
  let special = false
  for (let i = buffer.at; i < end; i++) special = special || bytes[i] === 0x22 || bytes[i] === 0x5c
  if (!special) return
  const text = bytes.toString('latin1', buffer.at, end)
  buffer.at = end
  buffer.prependText(text.replace(/["\\]/g, '\\$&'))
}
