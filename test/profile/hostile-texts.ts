// Texts of profile length that are made to keep a reader busy, by what they abuse, and profiles as large as profiles may be.
import { exampleText } from './documents.ts'

/** What a file may have, less a little for what stands around. */
const octets = 262_000

const fill = (piece: string) => piece.repeat(Math.floor(octets / Buffer.byteLength(piece)))
const counted = (line: (index: number) => string) => {
  const lines: string[] = []
  for (let length = 0, i = 0; ; i++) {
    length += Buffer.byteLength(line(i))
    if (length > octets) return lines.join('')
    lines.push(line(i))
  }
}

/** None is a profile; each is within the octets that a file may have. */
export const hostileTexts: Readonly<Record<string, string>> = {
  'an open quote and commas': `["${','.repeat(octets)}`,
  'commas in brackets': `[${','.repeat(octets)}`,
  'commas in a member': `a: [${','.repeat(octets)}]`,
  'a run of stars': '*'.repeat(octets),
  'a star a line': fill('*\n'),
  'a long open quote': `a: "${'x'.repeat(octets)}`,
  'escapes that are none': `a: "${fill('\\q')}"`,
  'an open quote a line': `a:\n ${fill('"\n')}`,
  '30,000 names in one mapping': counted(i => `k${i}: 1\n`),
  'one name again and again': fill('a: 1\n'),
  'a tag a line': fill('!a\n'),
  'aliases of aliases': counted(i => `k${i}: &a${i} [*a${i - 1},*a${i - 1}]\n`),
  'open brackets': '['.repeat(octets),
  'open braces': fill('{a: '),
  'closed brackets': ']'.repeat(octets),
  'question marks': fill('? '),
  'indentation that grows': counted(i => `${' '.repeat(i)}a:\n`),
  'comments and nothing else': fill('#\n'),
  directives: fill('%a\n'),
  'a document a line': fill('---\n'),
  'block texts': fill('- |\n'),
  'numbers in a list': `[${fill('1,')}`,
}

/** The example with these rules instead of its own, and neither route limits nor examples. */
export function profileWithRules(rules: readonly string[], edit = (text: string) => text): string {
  const text = exampleText()
  const before = text.slice(0, text.indexOf('  rules:\n'))
  const after = text.slice(text.indexOf('checks:'), text.indexOf('examples:'))
  const lines = rules.map(rule => `    - {${rule}}\n`).join('')
  return edit(`${before}  rules:\n${lines}${after.replace(/ {2}routes: \[\{.*\}\]/, '  routes: []')}`)
}

/** The largest profile that a product might have: 2000 rules with 5000 methods, each with its source. */
export function largestProfile(): string {
  const scope = (name: string) => `"reports:${name}"`
  return profileWithRules(
    Array.from({ length: 1000 }, (_, i) => [
      `path: /r${i}, methods: {GET: ${scope('READ')}, POST: ${scope('WRITE')}}, documented: true, source: "XA:${i + 1}"`,
      `path: "/r${i}/{id}", methods: {GET: ${scope('READ')}, PUT: ${scope('WRITE')}, PATCH: ${scope('WRITE')}}, documented: true, source: "XA:${i + 1}"`,
    ]).flat(),
  )
}
