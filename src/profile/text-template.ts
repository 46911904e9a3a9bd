// Splits a text with {placeholders} into literals and names; `{{` and `}}` stand for the braces themselves.

/** A literal, or the name of a placeholder. */
export type TemplatePart = string | { readonly name: string }

const PLACEHOLDER = /^[a-z][a-z0-9_]*$/

/** Parts of a text, or one sentence about the brace that makes no sense. */
export function parseTextTemplate(text: string): readonly TemplatePart[] | { readonly fault: string } {
  const parts: TemplatePart[] = []
  let literal = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if ((char === '{' || char === '}') && text[at + 1] === char) {
      literal += char
      at++
    } else if (char === '}') {
      return { fault: 'a single `}` closes nothing; write `}}` for the character' }
    } else if (char === '{') {
      const end = text.indexOf('}', at)
      const name = end < 0 ? '' : text.slice(at + 1, end)
      if (!PLACEHOLDER.test(name))
        return { fault: 'a single `{` begins a placeholder such as {retry_after}; write `{{` for the character' }
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
