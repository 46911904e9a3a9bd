// One fault of the configuration: which name, what was found, what is accepted.
// Values of secret settings never stand in a fault.

/** A fault, ready to be shown. */
export interface ConfigFault {
  /** Environment variable, or `file:line:column path` for the file. */
  readonly name: string
  /** What was found there, in words or quoted. */
  readonly found: string
  /** What would be right, and how to mend it. */
  readonly accepted: string
}

/** Longest text of a found value that is shown; the rest is cut. */
const foundLengthMax = 80

/** User and password of a URL: somebody may have put a database's URL into another setting. */
const urlCredentials = /:\/\/[^/?#\s"]*@/g

/** A text without them. */
export function withoutUrlCredentials(text: string): string {
  return text.replace(urlCredentials, '://…@')
}

/** Quotes a found value for a fault. */
export function quoteFound(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  const whole = typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value))
  const text = withoutUrlCredentials(whole)
  return text.length > foundLengthMax ? `${text.slice(0, foundLengthMax)}…` : text
}

/** All faults as lines for a terminal. */
export function renderFaults(faults: readonly ConfigFault[]): string {
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`
  const lines = faults.map(fault => `  ${fault.name}: found ${fault.found}; accepted: ${fault.accepted}`)
  return [`configuration: ${count}`, ...lines].join('\n')
}

/** The same for a list or an object, with the part of it that is not accepted. `path` leads to the part. */
export function quotePart(value: unknown, path: readonly PropertyKey[]): string {
  const [index] = path
  if (!Array.isArray(value) || typeof index !== 'number' || value.length < 2) return quoteFound(value)
  return `${quoteFound(value[index])} as entry ${index + 1} of ${value.length}`
}

/** The known name closest to an unknown one, if one is close enough to be meant. */
export function closest(unknown: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(unknown.length / 4)) + 1
  for (const name of known) {
    const distance = editDistance(unknown, name)
    if (distance < bestDistance) [best, bestDistance] = [name, distance]
  }
  return best
}

/** Names longer than this are compared by their beginning: a hostile name costs no more than a long one. */
const comparedLengthMax = 64

function editDistance(left: string, right: string): number {
  const [from, to] = [left.slice(0, comparedLengthMax), right.slice(0, comparedLengthMax)]
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= to.length; j += 1) {
      const substitute = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1)
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
