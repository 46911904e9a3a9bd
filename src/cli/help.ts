// Help made from the command table: an overview, one page a command. No other place describes a flag.
import type { Command, Flag } from './command.ts'

/** Column at which explanations start. */
const helpColumn = 28

/** The page of one command. */
export function commandHelp(command: Command): string {
  const lines = [usageLine(command), '', command.summary, ...(command.details ?? [])]
  if (command.positionals.length > 0) {
    lines.push('', 'Arguments:', ...command.positionals.map(each => row(each.name, each.help)))
  }
  lines.push('', 'Flags:', ...Object.entries(command.flags).map(([name, flag]) => row(flagForm(name, flag), flag.help)))
  return `${lines.join('\n')}\n`
}

/** All commands with their summaries; `prefix` narrows it to one group. */
export function overview(commands: readonly Command[], prefix: string): string {
  const shown = commands.filter(command => prefix === '' || command.words.startsWith(`${prefix} `))
  const lines = [
    'Usage: gatewarden COMMAND [ARGUMENTS] [FLAGS]',
    '',
    ...shown.map(command => row(command.words, command.summary)),
    '',
    '`gatewarden COMMAND --help` explains one command; `gatewarden --version` prints the version.',
  ]
  return `${lines.join('\n')}\n`
}

/** `Usage: gatewarden keys create ORGANIZATION [FLAGS]` */
export function usageLine(command: Command): string {
  const words = command.positionals.map(each => {
    const name = each.many === true ? `${each.name}…` : each.name
    return each.optional === true ? `[${name}]` : name
  })
  return ['Usage: gatewarden', command.words, ...words, '[FLAGS]'].join(' ')
}

/** `--scope SCOPE` */
export function flagForm(name: string, flag: Flag): string {
  return flag.type === 'boolean' ? `--${name}` : `--${name} ${flag.value ?? 'VALUE'}`
}

function row(left: string, right: string): string {
  const start = `  ${left}`
  return start.length >= helpColumn ? `${start}\n${' '.repeat(helpColumn)}${right}` : start.padEnd(helpColumn) + right
}
