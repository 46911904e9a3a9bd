// Texts that people write: profiles, settings, filters. None makes its reader throw, a wrong one is refused with its place or name, and
// a filter that was written from a tree is read back as that tree.
import { expect, it } from 'vitest'
import { type Filter, type FilterFields, parseFilter } from '../../src/admin/filter.ts'
import { roles } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { settingPaths } from '../../src/config/settings.ts'
import { cidrText } from '../../src/core/cidr.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { exampleText, products, profileText } from '../profile/documents.ts'
import { below, randomFor, seed, Tally, times } from './tally.ts'

const scraps = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ': ',
  ',',
  '"',
  "'",
  '\n',
  '  ',
  '\t',
  '- ',
  '? ',
  '&a ',
  '*a',
  '!!set ',
  '!x ',
  '<<: ',
  '#',
  '|\n',
  '>',
  '%YAML 1.1\n',
  '---\n',
  '...\n',
  '\0',
  '\ufeff',
  '\u2028',
  '__proto__: ',
  'constructor',
  '{$: x}',
  '{{',
  '}}',
  '{retry_after}',
  'null',
  '~',
  'true',
  '-1',
  '.inf',
  '0x10',
  '1e999',
  '9'.repeat(400),
  '\ud800',
  'é',
]

function mutateText(random: Random, text: string): string {
  let result = text
  for (let edits = 1 + below(random, 3); edits > 0; edits--) {
    const lines = result.split('\n')
    const at = below(random, lines.length)
    const other = below(random, lines.length)
    switch (below(random, 8)) {
      case 0:
        lines.splice(at, 1)
        break
      case 1:
        lines.splice(other, 0, lines[at] ?? '')
        break
      case 2:
        lines[at] = `  ${lines[at]}`
        break
      case 3:
        lines[at] = (lines[at] ?? '').replace(/:.*/, `: ${pick(random, scraps)}`)
        break
      case 4:
        lines[at] = (lines[at] ?? '').replace(/[a-z_]+/, word =>
          pick(random, [`${word}x`, word.toUpperCase(), '__proto__', word.slice(1)]),
        )
        break
      case 5:
        lines[at] = (lines[at] ?? '').replace(/\d+/, () =>
          pick(random, ['-1', '0', '1e9', '999999999999', '0x1', 'NaN', "'1'"]),
        )
        break
      default: {
        const line = lines[at] ?? ''
        const column = below(random, line.length + 1)
        lines[at] = line.slice(0, column) + pick(random, scraps) + line.slice(column + below(random, 4))
      }
    }
    result = lines.join('\n')
  }
  return result
}

it('no edit of a profile makes the linter throw, and what it compiles has no error', () => {
  const random = randomFor('profiles')
  const tally = new Tally('edited profiles')
  const texts = [...products.map(profileText), exampleText()]
  for (let i = 0; i < times(250); i++) {
    const text = mutateText(random, pick(random, texts))
    const started = performance.now()
    const { findings, compiled, digest } = lintProfile(text, { file: 'x' })
    const errors = findings.filter(({ level }) => level === 'error')
    const lines = text.split('\n').length
    const misplaced = findings.some(({ line, column }) => !(line >= 1 && line <= lines + 1 && column >= 1))
    const spent = performance.now() - started
    const wrong =
      (compiled === undefined) !== errors.length > 0 ||
      misplaced ||
      (compiled !== undefined && digest === null) ||
      spent > 5000
    tally.note(compiled !== undefined, wrong, () => JSON.stringify({ i, errors, misplaced, spent, seed }))
  }
  tally.finish(times(250), times(10))
})

const secret = 'canary-in-a-setting'
const values = [
  '',
  ' ',
  '0',
  '-1',
  '1',
  '1e3',
  '0x10',
  'true',
  'yes',
  'null',
  'NaN',
  '[',
  ']',
  '[]',
  '{}',
  '127.0.0.1:0',
  '127.0.0.1:99999',
  ':80',
  '[::1]:80',
  'unix:/tmp/x',
  `unix:${'x'.repeat(200)}`,
  'localhost',
  'p1=/x',
  'p1=/x,p1=/y',
  'p1',
  '=,=',
  ',,,',
  'live,test',
  'grpc-metadata',
  'xff-hops',
  'source-address',
  '10.0.0.0/8',
  '10/8',
  '__proto__',
  'constructor',
  '\0',
  '\n',
  'é',
  '😀',
  '../..',
  '/',
  'postgres://u:canary-in-a-setting@h/d',
  'http://x',
  'x'.repeat(5000),
]

it('no setting makes the configuration throw: it is whole, or every fault has a name and shows no secret', () => {
  const random = randomFor('settings')
  const tally = new Tally('settings')
  const names = settingPaths.map(path => `GATEWARDEN_${path.toUpperCase().replaceAll('.', '_')}`)
  const others = [
    'DATABASE_URL',
    'REDIS_URL',
    'GATEWARDEN_',
    'GATEWARDEN_NOPE',
    'GATEWARDEN___PROTO__',
    'GATEWARDEN_DATABASE_URL_FILE',
    'GATEWARDEN_PEPPERS_FILE',
    '__proto__',
    'PATH',
  ]
  for (let i = 0; i < times(4000); i++) {
    const environment = Object.fromEntries(
      Array.from({ length: below(random, 7) }, () => [
        pick(random, random() < 0.8 ? names : others),
        pick(random, values),
      ]),
    )
    const role = pick(random, roles)
    const result = loadConfig({ role, environment, cwd: '/nonexistent-folder', file: undefined })
    const shown = JSON.stringify(result.ok ? result.warnings : result.faults)
    const unnamed =
      !result.ok &&
      (result.faults.length === 0 ||
        result.faults.some(({ name, found, accepted }) => name === '' || found === '' || accepted === ''))
    const thawed = result.ok && !(Object.isFrozen(result.config) && Object.isFrozen(result.config.check))
    tally.note(result.ok, unnamed || thawed || shown.includes(secret), () =>
      JSON.stringify({ role, environment, shown }),
    )
  }
  tally.finish(times(4000), times(100))
})

const fields: FilterFields = new Map([
  ['display_name', { kind: 'text' }],
  ['scopes', { kind: 'texts' }],
  ['create_time', { kind: 'time' }],
  ['status', { kind: 'integer' }],
  [
    'state',
    {
      kind: 'enum',
      values: new Map([
        ['ACTIVE', 1],
        ['REVOKED', 2],
      ]),
    },
  ],
  ['labels', { kind: 'labels' }],
])

const plainTexts = [
  'a',
  'A b',
  'x-y',
  '',
  '*',
  'a*',
  '\\',
  '\\*',
  '"',
  "'",
  'AND',
  'OR (',
  'é😀',
  'a\tb',
  '-1',
  'NOT',
  '2026-01-01T00:00:00Z',
  '(',
  ')',
  '=',
  ':',
  '%',
  '\u202e',
]
const operators = ['=', '!=', '<', '<=', '>', '>='] as const

function randomFilter(random: Random, depth: number): Filter {
  const roll = random()
  if (depth > 0 && roll < 0.25) {
    const kind = pick(random, ['and', 'or'] as const)
    return { kind, parts: Array.from({ length: 2 + below(random, 2) }, () => randomFilter(random, depth - 1)) }
  }
  if (depth > 0 && roll < 0.35) return { kind: 'not', part: randomFilter(random, depth - 1) }
  const text = pick(random, plainTexts)
  const operator = pick(random, operators)
  const key = pick(random, ['a', 'team', 'x-y', 'a_1'])
  switch (below(random, 10)) {
    case 0:
      return { kind: 'text', field: 'display_name', operator, value: text }
    case 1:
      return { kind: 'text-prefix', field: 'display_name', prefix: `${text}x` }
    case 2:
      return { kind: 'has', field: 'scopes', value: pick(random, [`${text}x`, `x${text}`]), prefix: random() < 0.5 }
    case 3:
      return {
        kind: 'time',
        field: 'create_time',
        operator,
        value: microsFromUnixMs(1_772_370_000_000 + below(random, 1e9)) + below(random, 1000),
      }
    case 4:
      return { kind: 'enum', field: 'state', operator: pick(random, ['=', '!='] as const), value: 1 + below(random, 2) }
    case 5:
      return { kind: 'label', field: 'labels', key, operator, value: text }
    case 6:
      return { kind: 'label-prefix', field: 'labels', key, prefix: `${text}x` }
    case 7:
      return { kind: 'label-set', field: 'labels', key }
    case 8:
      return { kind: 'integer', field: 'status', operator, value: below(random, 600) }
    default:
      return { kind: 'set', field: pick(random, ['display_name', 'scopes', 'create_time']) }
  }
}

const quoted = (random: Random, text: string) => {
  const quote = pick(random, ['"', "'"])
  return quote + text.replace(/[\\"'*]/g, '\\$&') + quote
}

/** The filter as somebody would write it; each nested list stands in parentheses. */
function written(random: Random, filter: Filter): string {
  const gap = () => pick(random, ['', ' ', '  '])
  const pattern = (text: string) =>
    `${quoted(random, text).slice(0, -1)}*"`.replace(/^'/, '"').replace(/^"(.*)"$/s, '"$1"')
  const compare = (name: string, operator: string, value: string) => `${name}${gap()}${operator}${gap()}${value}`
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.parts
        .map(part =>
          part.kind === 'and' || part.kind === 'or'
            ? `(${gap()}${written(random, part)}${gap()})`
            : written(random, part),
        )
        .join(` ${filter.kind.toUpperCase()} `)
    case 'not':
      return `NOT ${filter.part.kind === 'and' || filter.part.kind === 'or' ? `(${written(random, filter.part)})` : written(random, filter.part)}`
    case 'text':
      return compare(filter.field, filter.operator, quoted(random, filter.value))
    case 'text-prefix':
      return compare(filter.field, ':', pattern(filter.prefix))
    case 'has':
      return compare(filter.field, ':', filter.prefix ? pattern(filter.value) : quoted(random, filter.value))
    case 'time':
      return compare(filter.field, filter.operator, instantText(filter.value))
    case 'enum':
      return compare(filter.field, filter.operator, filter.value === 1 ? 'ACTIVE' : 'REVOKED')
    case 'label':
      return compare(`labels.${filter.key}`, filter.operator, quoted(random, filter.value))
    case 'label-prefix':
      return compare(`labels.${filter.key}`, ':', pattern(filter.prefix))
    case 'label-set':
      return random() < 0.5 ? compare(`labels.${filter.key}`, ':', '*') : compare('labels', ':', filter.key)
    case 'set':
      return compare(filter.field, ':', '*')
    case 'integer':
      return compare(filter.field, filter.operator, String(filter.value))
    case 'address':
      return compare(filter.field, filter.operator, quoted(random, cidrText(filter.block)))
  }
}

function instantText(micros: number): string {
  const unixMicros = BigInt(micros) + 1_577_836_800_000_000n
  const text = new Date(Number(unixMicros / 1000n)).toISOString()
  return `${text.slice(0, -1)}${String(unixMicros % 1000n).padStart(3, '0')}Z`
}

it('a filter means what it was written from, and any edit of it is read or refused at a place in it', () => {
  const random = randomFor('filters')
  const tally = new Tally('filters')
  for (let i = 0; i < times(20_000); i++) {
    const filter = randomFilter(random, 3)
    const text = written(random, filter)
    const length = [...text].length
    const result = parseFilter(text, fields)
    const bounded = length > 2048 || (text.match(/[=<>:]/g)?.length ?? 0) > 32
    const same = result.ok && JSON.stringify(result.filter) === JSON.stringify(filter)
    tally.note(result.ok, !same && !bounded, () => JSON.stringify({ text, filter, result }))
    const at = below(random, text.length + 1)
    const edited =
      text.slice(0, at) + pick(random, [...scraps, 'AND', '(', ')', 'labels.']) + text.slice(at + below(random, 3))
    const answer = parseFilter(edited, fields)
    if (answer.ok) continue
    const { position, message } = answer.fault
    if (!(position >= 0 && position <= [...edited].length && message !== ''))
      expect({ edited, position }).toBe('a place in it')
  }
  tally.finish(times(20_000), times(15_000))
})
