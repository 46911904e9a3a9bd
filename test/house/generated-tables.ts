// Tables of the documentation, made from the code they describe. A document holds them between two marks; the test compares.
import { basename, join } from 'node:path'
import { status } from '@grpc/grpc-js'
import type { Command } from '../../src/cli/command.ts'
import { allCommands } from '../../src/cli/commands.ts'
import { flagForm, usageLine } from '../../src/cli/help.ts'
import { environmentNames, settingOf, settingPaths } from '../../src/config/settings.ts'
import { denialReasons } from '../../src/core/reason.ts'
import { metricCatalogue } from '../../src/observe/metric-catalogue.ts'
import { findingLevels } from '../../src/profile/finding.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { errorReasons } from '../../src/rpc/reasons.ts'
import { filesBelow, root } from './sources.ts'

const never = () => Promise.reject(new Error('not to be run'))

/** Every command, for documentation only. */
export const commands = allCommands(
  { serve: never, check: never, admin: never, migrate: never, bootstrap: never },
  join(root, 'profiles'),
)

const cell = (text: string) => text.replaceAll('|', '\\|')
const row = (...cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
const table = (head: readonly string[], rows: readonly string[]) =>
  [row(...head), row(...head.map(() => '---')), ...rows].join('\n')

function settingsTable(): string {
  const rows = settingPaths.map(path => {
    const { accepts, fallback, meaning, unread } = settingOf(path)
    const { value, file } = environmentNames(path)
    const names = [...value, ...file].map(name => `\`${name}\``).join(', ')
    const later = unread === true ? ' (not read by this version yet)' : ''
    return row(`\`${path}\``, names, fallback, accepts, meaning + later)
  })
  return table(['setting', 'environment', 'default', 'accepted', 'meaning'], rows)
}

function flagsOf(command: Command): string[] {
  return Object.entries(command.flags).map(
    ([name, flag]) => `- \`${flagForm(name, flag)}\`: ${flag.help}${flag.multiple === true ? ' (repeatable)' : ''}`,
  )
}

function commandsText(): string {
  const sections = commands.map(command => {
    const words = command.positionals.map(({ name, help }) => `- \`${name}\`: ${help}`)
    const usage = usageLine(command).replace('Usage: ', '')
    return [
      `### ${command.words}`,
      '',
      command.summary,
      ...(command.details ?? []),
      '',
      `    ${usage}`,
      '',
      ...words,
      ...flagsOf(command),
    ].join('\n')
  })
  return sections.join('\n\n')
}

function denialsTable(): string {
  const profiles = filesBelow('profiles', '.yaml').map(({ path, text }) => {
    const { compiled } = lintProfile(text, { file: basename(path) })
    if (compiled === undefined) throw new Error(`${path} does not compile`)
    return compiled
  })
  const rows = denialReasons.map((reason, code) => {
    const shown = profiles.map(profile => {
      const rendering = profile.renderings[code]
      return rendering === undefined ? '' : `${rendering.status} \`${rendering.name}\`, gRPC ${rendering.grpcStatus}`
    })
    return row(`\`${reason}\``, retry(reason), ...shown)
  })
  return table(['reason', 'retry', ...profiles.map(profile => profile.name)], rows)
}

function retry(reason: string): string {
  return reason === 'rate_limited' || reason === 'authz_unavailable' ? 'after `retry-after`' : 'no'
}

function errorReasonsTable(): string {
  const names = Object.fromEntries(Object.entries(status).map(([name, code]) => [String(code), name]))
  const rows = Object.entries(errorReasons).map(([reason, code]) =>
    row(`\`${reason}\``, names[String(code)] ?? String(code)),
  )
  return table(['reason', 'gRPC code'], rows)
}

function metricsTable(): string {
  const rows = Object.entries(metricCatalogue).map(([name, { kind, labels, help }]) =>
    row(`\`${name}\``, kind, labels.map(label => `\`${label}\``).join(', '), help),
  )
  return table(['metric', 'kind', 'labels', 'meaning'], rows)
}

function findingsTable(): string {
  return table(
    ['code', 'level'],
    Object.entries(findingLevels).map(([code, level]) => row(`\`${code}\``, level)),
  )
}

/** Document → mark → what must stand between the marks. */
export const generatedTables: Readonly<Record<string, Readonly<Record<string, () => string>>>> = {
  'docs/configuration.md': { settings: settingsTable },
  'docs/cli.md': { commands: commandsText, findings: findingsTable },
  'docs/errors.md': { denials: denialsTable, 'error-reasons': errorReasonsTable },
  'docs/metrics.md': { metrics: metricsTable },
}

export const beginMark = (name: string) => `<!-- generated: ${name} -->`
export const endMark = (name: string) => `<!-- end: ${name} -->`
