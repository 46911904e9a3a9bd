// Splits a text with {placeholders} into literals and names; `{{` and `}}` stand for the braces themselves.

/** A literal, or the name of a placeholder. */
export type TemplatePart = string | { readonly name: string }

/** A brace that makes no sense, and how to mend it. */
export interface BraceFault {
  readonly problem: string
  readonly mend: string
}

const PLACEHOLDER = /^[a-z][a-z0-9_]*$/

/** Parts of a text, or the fault of a brace that makes no sense. */
export function parseTextTemplate(text: string): readonly TemplatePart[] | BraceFault {
  const parts: TemplatePart[] = []
  let literal = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if ((char === '{' || char === '}') && text[at + 1] === char) {
      literal += char
      at++
    } else if (char === '}') {
      return { problem: 'a single `}` closes nothing', mend: 'write `}}` for the character' }
    } else if (char === '{') {
      const end = text.indexOf('}', at)
      const name = end < 0 ? '' : text.slice(at + 1, end)
      if (!PLACEHOLDER.test(name))
        return { problem: 'a single `{` begins no placeholder', mend: 'write {retry_after}, or `{{` for the character' }
      if (literal !== '') parts.push(literal)
      literal = ''
      parts.push({ name })
      at = end
    } else {
      literal += char
    }
  }
  if (literal !== '') parts.push(literal)
  return parts
}
