// Words and flags of a command line against one command of the table; anything that is not there is a usage error.
// Never guesses: an unknown flag, a missing value or a word too many ends the command before it does anything.
import { parseArgs } from 'node:util'
import { closest } from '../config/fault.ts'
import { type Command, type Invocation, UsageError } from './command.ts'

/** Parses what follows the command's own words. @throws UsageError */
export function parseArguments(command: Command, args: readonly string[]): Invocation {
  const parsed = parse(command, args)
  checkPositionals(command, parsed.positionals)
  const value = (name: string) => {
    if (command.flags[name] === undefined) throw new Error(`the command ${command.words} has no flag ${name}`)
    return parsed.values[name]
  }
  return {
    positionals: parsed.positionals,
    text: name => {
      const found = value(name)
      return typeof found === 'string' ? found : undefined
    },
    list: name => {
      const found = value(name)
      return Array.isArray(found) ? found.filter(each => typeof each === 'string') : []
    },
    flag: name => value(name) === true,
  }
}

function parse(command: Command, args: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries(command.flags).map(([name, flag]) => [name, { type: flag.type, multiple: flag.multiple === true }]),
  )
  try {
    const { values, positionals, tokens } = parseArgs({
      args: [...args],
      options,
      allowPositionals: true,
      tokens: true,
    })
    refuseRepeats(command, tokens)
    return { values: values as Readonly<Record<string, unknown>>, positionals }
  } catch (error) {
    if (error instanceof UsageError) throw error
    const message = error instanceof Error ? error.message : String(error)
    throw new UsageError(firstSentence(message) + flagHint(command, message))
  }
}

function refuseRepeats(command: Command, tokens: readonly { kind: string; name?: string }[]): void {
  const seen = new Set<string>()
  for (const { kind, name } of tokens) {
    if (kind !== 'option' || name === undefined || command.flags[name]?.multiple === true) continue
    if (seen.has(name)) throw new UsageError(`--${name} is given twice; give it once.`)
    seen.add(name)
  }
}

function checkPositionals({ positionals }: Command, given: readonly string[]): void {
  const missing = positionals.slice(given.length).filter(each => each.optional !== true)
  if (missing.length > 0) throw new UsageError(`${missing.map(each => each.name).join(' and ')} missing.`)
  const open = positionals.at(-1)?.many === true
  const extra = given[positionals.length]
  if (extra !== undefined && !open) throw new UsageError(`${JSON.stringify(extra)} is one word too many.`)
}

/** What to do about a flag that the command does not have; nothing for any other fault. */
function flagHint(command: Command, message: string): string {
  const unknown = /^Unknown option '--([^']+)'/.exec(message)?.[1]
  if (unknown === undefined) return ''
  const meant = closest(unknown, Object.keys(command.flags))
  const all = `\`gatewarden ${command.words} --help\` shows its flags.`
  return meant === undefined ? ` ${all}` : ` Did you mean --${meant}? ${all}`
}

/** Node appends advice on how to pass odd values; the first sentence says what is wrong. */
function firstSentence(message: string): string {
  const [first = message] = message.split(/(?<=['\w])\. /)
  return first.endsWith('.') ? first : `${first}.`
}
