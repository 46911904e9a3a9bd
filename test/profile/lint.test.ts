// The linter: every bad file is named by its code, its member and its place; the good ones pass; nothing is thrown.
import { describe, expect, it } from 'vitest'
import { type Finding, type FindingCode, findingLevels, formatFinding } from '../../src/profile/finding.ts'
import { ERRORS_MAX } from '../../src/profile/finding-list.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { badProfiles } from './bad-profiles.ts'
import { exampleText, products, profileText } from './documents.ts'

const example = exampleText()

/** The text with the edit made, and the place of the mark; no column when there is none. */
function edited(replace: string | null, by: string): { text: string; line: number; column: number | undefined } {
  const at = replace === null ? 0 : example.indexOf(replace)
  if (replace !== null && (at < 0 || example.indexOf(replace, at + 1) >= 0)) {
    throw new Error(`not exactly once: ${replace}`)
  }
  const mark = by.indexOf('‸')
  const rest = replace === null ? '' : example.slice(at + replace.length)
  const text = example.slice(0, at) + by.replace('‸', '') + rest
  const before = text.slice(0, at + Math.max(mark, 0)).split('\n')
  return { text, line: before.length, column: mark < 0 ? undefined : (before[before.length - 1]?.length ?? 0) + 1 }
}

function faultsOf(text: string): readonly Finding[] {
  return lintProfile(text, { file: 'bad.yaml' }).findings.filter(finding => finding.level !== 'info')
}

/** The example with several edits. */
function exampleWith(...edits: readonly (readonly [string, string])[]): string {
  return edits.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`not in the example: ${from}`)
    return text.replace(from, () => to)
  }, example)
}

describe('a bad file is refused with one finding at its place', () => {
  const told: Finding[] = []

  it.each(badProfiles.map(bad => [bad.fault, bad] as const))('%s', (_, bad) => {
    const { text, line, column } = edited(bad.replace, bad.by)
    const result = lintProfile(text, { file: 'bad.yaml' })
    const findings = result.findings.filter(finding => finding.level !== 'info')
    told.push(...findings)
    const meant = findings.filter(finding => finding.code === bad.code)
    expect(meant.map(({ code, field }) => ({ code, field }))).toEqual([{ code: bad.code, field: bad.field }])
    expect(findings.filter(finding => finding.code !== bad.code).map(({ code }) => code)).toEqual(bad.also ?? [])
    if (column !== undefined) expect(meant[0]).toMatchObject({ line, column })
    expect(result.compiled === undefined).toBe(findingLevels[bad.code] === 'error')
  })

  it('there is a bad file for every code that is not information', () => {
    const shown = new Set<FindingCode>(badProfiles.map(bad => bad.code))
    const codes = Object.entries(findingLevels).filter(([, level]) => level !== 'info')
    expect(codes.map(([code]) => code).filter(code => !shown.has(code as FindingCode))).toEqual([])
    expect(badProfiles.length).toBeGreaterThanOrEqual(60)
  })

  it('every finding is one sentence that names a mend', () => {
    expect(told.length).toBeGreaterThanOrEqual(badProfiles.length)
    for (const finding of told) {
      expect(finding.message).toMatch(/^[^\n]+; [^\n]+[^.\n]$/)
      expect(formatFinding(finding)).toMatch(/^bad\.yaml:\d+:\d+: (error|warning) [a-z_]+ ?.*: /)
    }
  })
})

describe('the shipped profiles', () => {
  const told = (name: (typeof products)[number], level: string) =>
    lintProfile(profileText(name), { file: name })
      .findings.filter(finding => finding.level === level)
      .map(({ code, field }) => `${code} ${field.replace('errors.renderings.', '')}`)

  it('have no error, and the warnings that their products make unavoidable', () => {
    for (const name of products) expect(told(name, 'error')).toEqual([])
    expect(told('bitbybit', 'warning')).toEqual([])
    const open = ['ip_open ip_rules.min_prefix.v4', 'ip_open ip_rules.min_prefix.v6']
    expect(told('billoget', 'warning')).toEqual(open)
    expect(told('bitgpt', 'warning')).toEqual(['empty_all scopes.empty', ...open])
  })

  it('list exactly the choices that no document states', () => {
    expect(told('bitbybit', 'info')).toEqual([
      'undocumented invalid.for.multiple_credentials',
      'undocumented invalid.for.suspended',
      'undocumented invalid.for.organization_suspended',
      'undocumented invalid.for.environment_mismatch',
      'undocumented scope.for.route_unmapped',
      'undocumented ip.for.ip_undeterminable',
      'undocumented rate',
      'undocumented malformed',
      'undocumented unavailable',
    ])
    expect(told('billoget', 'info')).toEqual([
      'undocumented routes.rules[1].documented',
      'undocumented routes.rules[3].documented',
      'undocumented routes.rules[5].documented',
      'undocumented invalid.for.multiple_credentials',
      'undocumented invalid.for.environment_mismatch',
      'undocumented ip.for.ip_undeterminable',
      'undocumented suspended.for.organization_suspended',
      'undocumented unmapped',
      'undocumented malformed',
      'undocumented unavailable',
    ])
    expect(told('bitgpt', 'info')).toEqual([
      'undocumented missing',
      'undocumented invalid',
      'undocumented ip.for.ip_undeterminable',
      'undocumented suspended',
      'undocumented unmapped',
      'undocumented rate',
      'undocumented malformed',
      'undocumented unavailable',
    ])
  })
})

describe('findings', () => {
  it('the example has none but choices to confirm, each with its place', () => {
    const { findings, compiled } = lintProfile(example, { file: 'example.yaml' })
    expect(new Set(findings.map(({ code }) => code))).toEqual(new Set(['undocumented']))
    expect(compiled?.name).toBe('example')
  })

  it('faults of different blocks and kinds are reported at once, in the order of the file', () => {
    const text = exampleWith(
      ['kind: Profile', 'knd: Profile'],
      ['prefix: ex_test_', 'prefix: ex_live_'],
      ['forward: strip', 'forward: remove'],
      ['GET: authenticated', 'GET: "reports:NONE"'],
      ['scope, ip, rate_limit]', 'scope, ip]'],
      ['min: 0s, max: 24h', 'min: 0s, max: 12h'],
      ['for: {rate_limited: false}', 'for: {}'],
    )
    expect(faultsOf(text).map(({ code, field }) => `${code} ${field}`)).toEqual([
      'type kind',
      'unknown_field knd',
      'prefix_conflict environments.test.prefix',
      'type credential.forward',
      'unknown_scope routes.rules[2].methods.GET',
      'order checks',
      'grace rotation.grace',
      'reason_missing errors.renderings',
    ])
  })

  it('a misspelt member does not hide what else is wrong in its block, and the right one is suggested', () => {
    const text = exampleWith(
      ['  unmapped: deny', '  unmaped: deny\n  unmapped: deny'],
      ['path: /health', 'path: health'],
    )
    const findings = faultsOf(text)
    expect(findings.map(({ code }) => code)).toEqual(['unknown_field', 'unreachable'])
    expect(findings[0]?.message).toContain('did you mean `unmapped`?')
  })

  it('an unknown member and a wrong value of one block are both reported', () => {
    const text = exampleWith(['forward: strip', 'forward: remove\n  backward: strip'])
    expect(faultsOf(text).map(({ code, field }) => `${code} ${field}`)).toEqual([
      'type credential.forward',
      'unknown_field credential.backward',
    ])
  })

  it('the same body under another status is told', () => {
    const text = exampleWith(
      ['"Not available"', '"Same"'],
      ['{status: 400, code: MALFORMED, message: "Bad {{path}}"', '{status: 400, code: CLOSED, message: "Same"'],
    )
    const { findings } = lintProfile(text, { file: 'x' })
    expect(findings.filter(({ code }) => code === 'same_body').map(({ field }) => field)).toEqual([
      'errors.renderings.malformed',
    ])
  })

  it('a file with more faults than anybody reads ends with a note', () => {
    const rules = Array.from(
      { length: ERRORS_MAX + 50 },
      (_, i) => `    - {path: x${i}, methods: {GET: public}, documented: false}`,
    )
    const text = exampleWith(['  rules:\n', `  rules:\n${rules.join('\n')}\n`])
    const { findings } = lintProfile(text, { file: 'x' })
    expect(findings.filter(({ level }) => level === 'error').length).toBe(ERRORS_MAX + 1)
    expect(findings.some(({ code, message }) => code === 'limit' && message.includes('more than'))).toBe(true)
  })
})

describe('an inventory of operations', () => {
  const missing = (inventory: string, text = example) =>
    lintProfile(text, { file: 'x', inventory })
      .findings.filter(({ code }) => code === 'unmapped')
      .map(({ message }) => /maps (\S+ \S+) of/.exec(message)?.[1] ?? message)

  it('as lines names every operation without a rule, with or without the base path', () => {
    const lines =
      '# ours\nGET /reports\nget /v2/reports/{id}\nPUT /reports/{id}\nHEAD /reports\n\nDELETE /reports/7\nGET /files/a/b/c\nGET /other\n'
    expect(missing(lines)).toEqual(['PUT /reports/{id}', 'GET /other'])
  })

  it('as OpenAPI in YAML and JSON, with the path of the first server', () => {
    const document = {
      openapi: '3.1.0',
      servers: [{ url: 'https://api.example.test/v2/' }],
      paths: {
        '/reports': { get: {}, patch: {}, parameters: [] },
        '/reports/{id}': { delete: {} },
        '/audit': { get: {} },
      },
    }
    const yaml =
      'openapi: 3.1.0\nservers:\n  - url: /v2\npaths:\n  /reports: {get: {}, patch: {}}\n  /audit: {get: {}}\n'
    expect(missing(JSON.stringify(document))).toEqual(['PATCH /v2/reports', 'GET /v2/audit'])
    expect(missing(yaml)).toEqual(['PATCH /v2/reports', 'GET /v2/audit'])
  })

  it('that cannot be read is an error and refuses nothing silently', () => {
    for (const inventory of [
      '{"openapi": "3.0.0"}',
      '{"paths": [',
      'openapi: 3.0.0\npaths: &a {x: *a}',
      'what is this',
    ]) {
      const { findings } = lintProfile(example, { file: 'x', inventory })
      expect(findings.filter(({ code }) => code === 'syntax').length, inventory).toBe(1)
    }
  })
})

describe('bounds', () => {
  it('a file above 256 KiB is refused unread', () => {
    const { findings, digest } = lintProfile(`# ${'x'.repeat(256 * 1024)}\n${example}`, { file: 'x' })
    expect(findings.map(({ code }) => code)).toEqual(['limit'])
    expect(digest).toBeNull()
  })

  it('nesting bombs, long lists of names and lone brackets are refused without harm', () => {
    const bombs = [
      '['.repeat(60_000),
      '{a: '.repeat(20_000),
      '- '.repeat(40_000),
      '? '.repeat(40_000),
      'a: '.repeat(40_000),
    ]
    for (const bomb of bombs) {
      expect(lintProfile(bomb, { file: 'x' }).compiled).toBeUndefined()
    }
  })

  it.each([
    [
      '2001 rules',
      exampleWith([
        '  rules:\n',
        `  rules:\n${Array.from({ length: 2001 }, (_, i) => `    - {path: /a${i}, methods: {GET: public}, documented: false}`).join('\n')}\n`,
      ]),
    ],
    [
      '513 scopes',
      exampleWith([
        '[READ, WRITE]}',
        `[READ, WRITE], more: [${Array.from({ length: 511 }, (_, i) => `A${i}`).join(', ')}]}`,
      ]),
    ],
    [
      '65 renderings',
      exampleWith([
        '    closed: {',
        `${Array.from({ length: 59 }, (_, i) => `    r${i}: {status: 400, code: X, message: X, for: {}}`).join('\n')}\n    closed: {`,
      ]),
    ],
  ])('%s are too many', (_, text) => {
    expect(faultsOf(text).map(({ code }) => code)).toContain('limit')
  })

  it('a profile at its bounds is linted within seconds', () => {
    const rules = Array.from(
      { length: 1900 },
      (_, i) => `    - {path: "/a${i}/{x}/**", methods: {GET: public}, documented: false}`,
    )
    const text = exampleWith(['  rules:\n', `  rules:\n${rules.join('\n')}\n`])
    const started = performance.now()
    expect(lintProfile(text, { file: 'x' }).compiled?.policy.routes.rules.length).toBe(1906)
    expect(performance.now() - started).toBeLessThan(5000)
  })
})

describe('no text makes the linter throw, and none with an error is compiled', () => {
  it('edits of the example at every place', () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
    const random = generator(seed)
    const pieces = [
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      "'",
      '\n',
      '  ',
      '&a ',
      '*a',
      '!!x ',
      '- ',
      '? ',
      '#',
      '|',
      '\t',
      '\u0000',
      '__proto__',
      '{$: x}',
      '9'.repeat(400),
      'null',
      'true',
      '-1',
    ]
    for (let round = 0; round < 250; round++) {
      const at = Math.floor(random() * example.length)
      const cut = Math.floor(random() * 12)
      const text = example.slice(0, at) + pieces[Math.floor(random() * pieces.length)] + example.slice(at + cut)
      const { findings, compiled } = lintProfile(text, { file: 'x' })
      const errors = findings.some(({ level }) => level === 'error')
      expect(compiled === undefined, `seed ${seed} round ${round}`).toBe(errors)
    }
  })
})

/** Small seeded generator (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
