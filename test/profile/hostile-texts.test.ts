// No text, however hostile, is worked on beyond the bounds: the library is asked for no token more, findings stay few and short,
// nothing is compiled. Steps are counted, not seconds. And what a product may need stays within the bounds.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Lexer } from 'yaml'
import { ERRORS_MAX, FIELD_LENGTH_MAX, MESSAGE_LENGTH_MAX, NOTES_MAX } from '../../src/profile/finding-list.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { NAME_LENGTH_MAX, PROFILE_OCTETS_MAX, PROFILE_TOKENS_MAX } from '../../src/profile/read-yaml.ts'
import { ROUTES_MAX, TEMPLATE_LENGTH_MAX } from '../../src/profile/schema.ts'
import { exampleText, products, profileText } from './documents.ts'
import { hostileTexts, largestProfile, profileWithRules } from './hostile-texts.ts'

const findingsOf = (text: string, inventory?: string) =>
  lintProfile(text, { file: 'x.yaml', ...(inventory === undefined ? {} : { inventory }) }).findings

afterEach(() => {
  vi.restoreAllMocks()
})

/** Counts the tokens that the lexer is asked for. */
function countTokens(): { readonly count: number } {
  const tokens = { count: 0 }
  const lex = Lexer.prototype.lex
  vi.spyOn(Lexer.prototype, 'lex').mockImplementation(function* (this: Lexer, ...given) {
    for (const token of lex.apply(this, given)) {
      tokens.count++
      yield token
    }
  })
  return tokens
}

describe('a hostile text', () => {
  it.each(Object.entries(hostileTexts))('%s: is refused within the bounds', (_, text) => {
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(PROFILE_OCTETS_MAX)
    const tokens = countTokens()
    const { findings, compiled } = lintProfile(text, { file: 'x.yaml' })
    expect(tokens.count).toBeGreaterThan(0)
    expect(tokens.count).toBeLessThanOrEqual(PROFILE_TOKENS_MAX + 1)
    expect(compiled).toBeUndefined()
    expect(findings.some(({ level }) => level === 'error')).toBe(true)
    expect(findings.length).toBeLessThanOrEqual(ERRORS_MAX + 1)
    for (const { field, message, line, column } of findings) {
      expect(field.length).toBeLessThanOrEqual(FIELD_LENGTH_MAX)
      expect(message.length).toBeLessThanOrEqual(MESSAGE_LENGTH_MAX)
      expect(line).toBeGreaterThanOrEqual(1)
      expect(column).toBeGreaterThanOrEqual(1)
    }
  })

  it('is left where the bound is passed: nesting at its 17th level', () => {
    const tokens = countTokens()
    const findings = findingsOf('['.repeat(200_000))
    expect(findings).toMatchObject([{ code: 'limit', line: 1, column: 17 }])
    expect(tokens.count).toBeLessThan(25)
  })

  it('of too many tokens is told with the place of the first that is too many', () => {
    const findings = findingsOf(`[${'1,'.repeat(100_000)}]`)
    expect(findings.map(({ code }) => code)).toEqual(['limit'])
    expect(findings[0]?.message).toContain(String(PROFILE_TOKENS_MAX))
    // Two tokens for the document and its bracket, then three for two characters: the lexer marks the start of each scalar.
    const commas = Math.floor((PROFILE_TOKENS_MAX - 2) / 3)
    expect(findings[0]).toMatchObject({ line: 1, column: 1 + 2 * commas + 1 })
  })

  it('leaves stack traces on for everybody else', () => {
    const before = Error.stackTraceLimit
    findingsOf('a: [')
    expect(Error.stackTraceLimit).toBe(before)
    expect(new Error('x').stack).toContain('hostile-texts.test')
  })

  it('with a name that fills the file has one short finding, at the name', () => {
    const findings = findingsOf(`${exampleText()}${'n'.repeat(200_000)}: {x: {y: 1}}\n`)
    const errors = findings.filter(({ level }) => level === 'error')
    // YAML itself allows 1024 characters before the colon.
    expect(errors.map(({ code }) => code)).toEqual(['syntax'])
    const long = `${'n'.repeat(NAME_LENGTH_MAX)}`
    const byOne = findingsOf(`${exampleText()}${long}n: 1\n`).filter(({ level }) => level === 'error')
    expect(byOne).toMatchObject([{ code: 'limit', column: 1, line: exampleText().split('\n').length }])
    expect(findingsOf(`${exampleText()}${long}: 1\n`).map(({ code }) => code)).toContain('unknown_field')
  })

  it('that repeats long names around many faults is told in few characters', () => {
    const open = Array.from({ length: 12 }, (_, i) => `${'n'.repeat(240)}${i}: {`).join('')
    const text = exampleText().replace(
      'forward: strip',
      `forward: ${`{${open}x: [${'!a 1,'.repeat(3000)}]${'}'.repeat(13)}`}`,
    )
    const findings = findingsOf(text)
    expect(findings.length).toBeGreaterThan(ERRORS_MAX)
    expect(JSON.stringify(findings).length).toBeLessThan(2_000_000)
  })

  it('that only has notes is cut at their bound, and the note says so', () => {
    const inventory = Array.from({ length: NOTES_MAX + 500 }, (_, i) => `GET /nowhere/${i}\n`).join('')
    const findings = findingsOf(exampleText(), inventory)
    expect(findings.filter(({ level }) => level !== 'error').length).toBe(NOTES_MAX + 1)
    expect(findings.filter(({ message }) => message.includes(`more than ${NOTES_MAX}`)).length).toBe(1)
  })
})

describe('a profile at the bounds', () => {
  it('of 2000 rules with 5000 methods is accepted, and so are the shipped ones', () => {
    const { findings, compiled } = lintProfile(largestProfile(), { file: 'x.yaml' })
    expect(findings.filter(({ level }) => level === 'error')).toEqual([])
    expect(compiled?.policy.routes.rules.length).toBe(5000)
    for (const name of products) expect(lintProfile(profileText(name), { file: name }).compiled?.name).toBe(name)
  })

  it('of nothing but short rules stays within the tokens', () => {
    const rules = Array.from(
      { length: 2000 },
      (_, i) => `path: /${i}, methods: {GET: public, PUT: public, PATCH: public, DELETE: public}, documented: false`,
    )
    const tokens = countTokens()
    expect(lintProfile(profileWithRules(rules), { file: 'x' }).compiled).toBeDefined()
    expect(tokens.count).toBeLessThan(PROFILE_TOKENS_MAX * 0.9)
  })

  it('with more methods than routes may have is refused', () => {
    const methods = Array.from({ length: 50 }, (_, i) => `M${i}: public`).join(', ')
    const rules = (count: number) =>
      Array.from({ length: count }, (_, i) => `path: /a${i}, methods: {${methods}}, documented: false`)
    const limits = (text: string) => findingsOf(text).filter(({ code }) => code === 'limit')
    expect(limits(profileWithRules(rules(ROUTES_MAX / 50)))).toEqual([])
    expect(limits(profileWithRules(rules(ROUTES_MAX / 50 + 1)))).toMatchObject([{ field: 'routes.rules' }])
  })

  it('bound to more hosts than may select one is refused, though it names none', () => {
    const rules = (hosts: number) =>
      Array.from({ length: hosts }, (_, i) => `path: /a, host: h${i}.test, methods: {GET: public}, documented: false`)
    const noHosts = (text: string) => text.replace(/hosts: \[.*\]/, 'hosts: []')
    const limits = (text: string) => findingsOf(text).filter(({ code }) => code === 'limit')
    expect(
      limits(profileWithRules([...rules(64), 'path: /b, methods: {GET: public}, documented: false'], noHosts)),
    ).toEqual([])
    expect(limits(profileWithRules(rules(65), noHosts))).toMatchObject([{ field: 'routes.rules' }])
  })

  it('with a template longer than any answer is refused, and its other blocks are still judged', () => {
    const withBody = (length: number) =>
      exampleText().replace('body: {error:', `body: {more: "${'x'.repeat(length)}", error:`)
    const codes = (text: string) =>
      findingsOf(text)
        .filter(({ level }) => level === 'error')
        .map(({ code, field }) => `${code} ${field}`)
    expect(new Set(codes(withBody(2000)))).toEqual(new Set(renderings))
    expect(codes(withBody(TEMPLATE_LENGTH_MAX))).toEqual(['limit errors.body'])
  })
})

const renderings = ['invalid', 'scope', 'closed', 'rate', 'malformed', 'unavailable'].map(
  name => `unrenderable errors.renderings.${name}`,
)
