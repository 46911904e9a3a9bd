// Terminal transcripts in documents: reads ```console blocks, says whether what a command printed is what the document shows.
//
// The convention, for whoever writes one:
// - A line that begins with `$ ` is a command, run by `sh`; it goes on over lines as long as they end with `\`.
// - The lines up to the next command are everything it prints, both streams, in order. Blanks at line ends do not count.
// - `…` stands for one or more characters of a line; a line that is only `…` stands for any number of lines.
// - `$NAME` (capitals) in an output stands for a value without blanks. At its first sight in a document the value is kept and is
//   the shell variable of that name in all later commands; from then on the same value must stand there.
// - A fenced block whose first line has a file name after the language (```yaml shop.yaml) is that file, written before
//   the commands behind it run. Every other block, ```sh among them, is not run.

export interface Command {
  readonly kind: 'command'
  /** From 1, in the document. */
  readonly line: number
  readonly text: string
  readonly expected: readonly string[]
}

export interface WrittenFile {
  readonly kind: 'file'
  readonly name: string
  readonly text: string
}

export type Step = Command | WrittenFile

const fence = /^```(\S*)(?:\s+(\S+))?\s*$/

/** The steps of a document, in its order. @throws Error for an open fence, or a transcript that begins with output. */
export function readSteps(markdown: string): readonly Step[] {
  const steps: Step[] = []
  const lines = markdown.split('\n')
  for (let at = 0; at < lines.length; at += 1) {
    const [opened, language, name] = fence.exec(lines[at] ?? '') ?? []
    if (opened === undefined) continue
    const end = lines.indexOf('```', at + 1)
    if (end < 0) throw new Error(`line ${at + 1}: the block does not end`)
    const body = lines.slice(at + 1, end)
    if (language === 'console') steps.push(...readCommands(body, at + 2))
    else if (name !== undefined) steps.push({ kind: 'file', name, text: `${body.join('\n')}\n` })
    at = end
  }
  return steps
}

function readCommands(body: readonly string[], firstLine: number): Command[] {
  const commands: { kind: 'command'; line: number; text: string; expected: string[] }[] = []
  let isOpen = false
  for (const [index, line] of body.entries()) {
    const last = commands.at(-1)
    if (isOpen && last !== undefined) last.text += `\n${line}`
    else if (line.startsWith('$ '))
      commands.push({ kind: 'command', line: firstLine + index, text: line.slice(2), expected: [] })
    else if (last === undefined) throw new Error(`line ${firstLine + index}: output without a command`)
    else last.expected.push(line)
    isOpen = (line.startsWith('$ ') || isOpen) && (line.endsWith('\\') || isQuoteOpen(commands.at(-1)?.text ?? ''))
  }
  return commands
}

/** Whether a text in single quotes goes on: what stands in them may have several lines. */
function isQuoteOpen(command: string): boolean {
  return command.split("'").length % 2 === 0
}

/** Values of `$NAME` so far. */
export type Variables = Readonly<Record<string, string>>

/**
 * Compares an output with what the document shows.
 * @returns the variables after it, or null where it differs.
 */
export function matchOutput(expected: readonly string[], actual: string, known: Variables): Variables | null {
  const names: string[] = []
  const pattern = trimEnds(expected)
    .map(line => (line === '…' ? '(?:[^\\n]*\\n)*?' : `${linePattern(line, known, names)}\\n`))
    .join('')
  const found = new RegExp(`^${pattern}$`).exec(`${trimEnds(actual.split('\n')).join('\n')}\n`)
  if (found === null) return null
  return { ...known, ...Object.fromEntries(names.map((name, index) => [name, found[index + 1] ?? ''])) }
}

/** Without blanks at line ends and empty lines at the end. */
function trimEnds(lines: readonly string[]): string[] {
  return lines
    .map(line => line.trimEnd())
    .join('\n')
    .trimEnd()
    .split('\n')
}

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')

/** A line as a regular expression; unknown names become groups and are noted in `names`. */
function linePattern(line: string, known: Variables, names: string[]): string {
  return line
    .split(/(…|\$[A-Z][A-Z0-9_]*)/)
    .map(part => {
      if (part === '…') return '[^\\n]+?'
      if (!/^\$[A-Z]/.test(part)) return literal(part)
      const name = part.slice(1)
      const value = known[name]
      if (value !== undefined) return literal(value)
      const earlier = names.indexOf(name)
      if (earlier >= 0) return `\\${earlier + 1}`
      names.push(name)
      return '([^\\s"]+?)'
    })
    .join('')
}
