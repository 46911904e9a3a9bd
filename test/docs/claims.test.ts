// What documents claim about the repository is so: files and links exist, figures and tables are those of the code, every invariant
// has its tests. What commands print is held by readme.test.ts, generated tables by test/house.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as constants from '../../src/feed/constants.ts'
import { findingLevels } from '../../src/profile/finding.ts'
import { filesBelow, root } from '../house/sources.ts'

const atRoot = ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const documents = [...atRoot.map(path => ({ path, text: read(path) })), ...filesBelow('docs', '.md')]

/** Everything a pattern's first group finds, with the document it stands in. */
function found(pattern: RegExp): { readonly path: string; readonly text: string }[] {
  return documents.flatMap(({ path, text }) =>
    [...text.matchAll(pattern)].map(([, first = '']) => ({ path, text: first })),
  )
}

/** The anchor that a heading gets. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\w\s-]/g, '')
    .trim()
    .replaceAll(' ', '-')

describe('the documents', () => {
  it('link to files that exist, and to headings that they have', () => {
    const links = found(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)
    expect(links.length).toBeGreaterThan(30)
    const broken = links.filter(({ path, text }) => {
      const [file = '', anchor] = text.split('#')
      const target = file === '' ? path : join(dirname(path), file)
      if (!existsSync(join(root, target))) return true
      if (anchor === undefined) return false
      return ![...read(target).matchAll(/^#+ (.*)$/gm)].some(([, heading = '']) => anchorOf(heading) === anchor)
    })
    expect(broken).toEqual([])
  })

  it('name only tests, sources and folders that exist', () => {
    const named = found(/`((?:test|src|bench|profiles|envoy|proto|docs)\/[\w./-]+)`/g)
    expect(named.length).toBeGreaterThan(30)
    expect(named.filter(({ text }) => !existsSync(join(root, text)))).toEqual([])
  })

  it('name only npm scripts that exist', () => {
    const scripts: Readonly<Record<string, string>> = JSON.parse(read('package.json')).scripts
    const named = found(/\bnpm run (?:--silent )?([\w:-]+)/g)
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter(({ text }) => scripts[text] === undefined)).toEqual([])
  })

  it('begin with the two commands that CI runs', () => {
    expect(read('README.md')).toMatch(/```sh\nnpm ci && npm run demo .*\nnpm ci && npm test .*\n```/)
    const ci = read('.ci/run')
    for (const command of ['npm ci', 'npm test', 'npm run demo -- --check']) expect(ci).toContain(command)
  })
})

describe('ARCHITECTURE.md', () => {
  const [, invariants = ''] = read('ARCHITECTURE.md').split('## Invariants')
  const items = invariants.split(/^(?=\d+\. )/m).filter(text => /^\d/.test(text))

  it('names ten invariants', () => {
    expect(items.length).toBe(10)
  })

  it.each(items.map(text => [text.split('\n')[0], text]))('%s has its tests', (_, text) => {
    const tests = [...(text ?? '').matchAll(/`(test\/[\w./-]+\.test\.ts)`/g)].map(([, path = '']) => path)
    expect(tests.length).toBeGreaterThan(0)
    expect(tests.filter(path => !existsSync(join(root, path)))).toEqual([])
  })

  it('names every room of src', () => {
    const rooms = new Set(filesBelow('src', '.ts').map(({ path }) => path.split('/')[1] ?? ''))
    const map = read('ARCHITECTURE.md')
    expect([...rooms].filter(room => !map.includes(`  ${room}/ `))).toEqual([])
  })
})

describe('docs/profiles.md', () => {
  const text = read('docs/profiles.md')

  it('explains every lint code, with its level', () => {
    const rows = [...text.matchAll(/^\| `(\w+)` \| (error|warning|info) \| \S/gm)].map(([, code, level]) => [
      code,
      level,
    ])
    expect(rows).toEqual(Object.entries(findingLevels))
  })

  it('explains every member at the top of a profile', () => {
    const schema: { readonly properties: object } = JSON.parse(read('profiles/profile.schema.json'))
    const members = Object.keys(schema.properties).filter(name => name !== 'apiVersion' && name !== 'kind')
    expect(members.length).toBeGreaterThan(14)
    const rows = text.match(/^\| `.*/gm)?.join('\n') ?? ''
    expect(members.filter(name => !new RegExp(`\`${name}\\b`).test(rows))).toEqual([])
  })
})

describe('docs/freshness.md', () => {
  it('has the constants of the code', () => {
    const rows = [...read('docs/freshness.md').matchAll(/^\| `([A-Z_]+)` \| (\d+) \|$/gm)]
    expect(rows.length).toBe(8)
    const known: Readonly<Record<string, unknown>> = constants
    for (const [, name = '', value] of rows) expect(`${name} ${known[name]}`).toBe(`${name} ${value}`)
  })
})
