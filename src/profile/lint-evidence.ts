// `evidence` and `undocumented`: what a profile claims to be documented must point at a document; what it chose is listed.
import { lintRule } from './lint-rule.ts'
import type { Report } from './parse-document.ts'
import type { ProfileDocument } from './schema.ts'

type Sources = ProfileDocument['metadata']['sources']

/** One piece of a pointer: an optional id, a line, an optional last line. */
const PIECE = /^(?:([A-Za-z][A-Za-z0-9_]*):)?([1-9][0-9]{0,6})(?:-([1-9][0-9]{0,6}))?$/

/** Why `<id>:<line>[-<line>][,...]` points nowhere; undefined when it is sound. A later piece may name another document. */
export function pointerFault(pointer: string, sources: Sources): string | undefined {
  let document: string | undefined
  for (const piece of pointer.split(',')) {
    const match = PIECE.exec(piece.trim())
    if (match === null) return `\`${piece}\` is no pointer; write <id>:<line> or <id>:<line>-<line>`
    document = match[1] ?? document
    if (document === undefined) return `\`${piece}\` names no document; begin with an id of \`metadata.sources\``
    if (!Object.hasOwn(sources, document)) return `\`${document}\` is not declared; add it to \`metadata.sources\``
    if (match[3] !== undefined && Number(match[3]) < Number(match[2]))
      return `\`${piece}\` ends before it begins; swap the lines`
  }
  return undefined
}

export const lintEvidence = [
  lintRule(['metadata', 'routes'], ({ metadata, routes }, report) => {
    for (const [index, rule] of routes.rules.entries()) {
      const path = ['routes', 'rules', index]
      if (rule.source !== undefined) reportPointer(rule.source, metadata.sources, [...path, 'source'], report)
      else if (rule.documented !== false) {
        report(
          'evidence',
          [...path, 'documented'],
          '`source` is missing for a documented rule; add it or set `documented: false`',
        )
      }
    }
  }),
  lintRule(['metadata', 'errors'], ({ metadata, errors }, report) => {
    for (const [name, rendering] of Object.entries(errors.renderings)) {
      const path = ['errors', 'renderings', name]
      if (rendering.source !== undefined) reportPointer(rendering.source, metadata.sources, [...path, 'source'], report)
      else if (Object.values(rendering.for).some(mark => mark !== false)) {
        report(
          'evidence',
          path,
          `\`source\` is missing for the rendering \`${name}\`; add it or mark every reason false`,
        )
      }
    }
  }),
  lintRule(['routes'], ({ routes }, report) => {
    for (const [index, rule] of routes.rules.entries()) {
      if (rule.documented !== false) continue
      const what = `${Object.keys(rule.methods).join(', ')} ${rule.path}`
      report(
        'undocumented',
        ['routes', 'rules', index, 'documented'],
        `no document states ${what}; confirm this choice`,
      )
    }
  }),
  lintRule(['scopes'], ({ scopes }, report) => {
    for (const [name, { documented }] of Object.entries(scopes.attributes)) {
      if (documented !== false) continue
      report(
        'undocumented',
        ['scopes', 'attributes', name],
        `no document states the scope \`${name}\`; confirm this choice`,
      )
    }
  }),
  lintRule(['errors'], ({ errors }, report) => {
    for (const [name, rendering] of Object.entries(errors.renderings)) {
      reportChosenReasons(name, rendering.for, report)
    }
  }),
] as const

/** A rendering that is chosen as a whole is one finding; single chosen reasons of a documented rendering are one each. */
function reportChosenReasons(name: string, marks: Readonly<Record<string, boolean | 'partial'>>, report: Report): void {
  const reasons = Object.keys(marks)
  const chosen = reasons.filter(reason => marks[reason] === false)
  const path = ['errors', 'renderings', name]
  if (chosen.length > 0 && chosen.length === reasons.length) {
    report(
      'undocumented',
      path,
      `no document states the answer \`${name}\` (${chosen.join(', ')}); confirm this choice`,
    )
    return
  }
  for (const reason of chosen) {
    report(
      'undocumented',
      [...path, 'for', reason],
      `no document states that \`${reason}\` is answered as \`${name}\`; confirm this choice`,
    )
  }
}

function reportPointer(pointer: string, sources: Sources, path: readonly (string | number)[], report: Report): void {
  const fault = pointerFault(pointer, sources)
  if (fault !== undefined) report('evidence', path, fault)
}
