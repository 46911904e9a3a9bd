// Every setting, command, flag, denial reason, error reason and metric is documented, and the documents say what the code says.
// After a change: UPDATE_DOCS=1 npx vitest run test/house/documents.test.ts
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { knownEnvironmentNames } from '../../src/config/read-environment.ts'
import { denialReasons } from '../../src/core/reason.ts'
import { metricCatalogue } from '../../src/observe/metric-catalogue.ts'
import { errorReasons } from '../../src/rpc/reasons.ts'
import { beginMark, commands, endMark, generatedTables } from './generated-tables.ts'
import { filesBelow, root } from './sources.ts'

const update = process.env['UPDATE_DOCS'] === '1'

function read(document: string): string {
  return readFileSync(join(root, document), 'utf8')
}

describe.each(Object.keys(generatedTables))('%s', document => {
  const tables = Object.entries(generatedTables[document] ?? {})

  it.each(tables)('its part `%s` is what the code says', (name, make) => {
    const text = read(document)
    const [begin, end] = [text.indexOf(beginMark(name)), text.indexOf(endMark(name))]
    expect(begin).toBeGreaterThan(-1)
    expect(end).toBeGreaterThan(begin)
    const wanted = `${beginMark(name)}\n\n${make()}\n\n`
    if (update) writeFileSync(join(root, document), text.slice(0, begin) + wanted + text.slice(end))
    else expect(text.slice(begin, end)).toBe(wanted)
  })
})

describe('the documents', () => {
  it('name every environment variable', () => {
    const text = read('docs/configuration.md')
    for (const name of knownEnvironmentNames()) expect(text).toContain(`\`${name}\``)
  })

  it('name every command and every flag', () => {
    const text = read('docs/cli.md')
    expect(commands.length).toBeGreaterThan(25)
    for (const { words, flags } of commands) {
      expect(text).toContain(`### ${words}\n`)
      for (const flag of Object.keys(flags)) expect(text).toContain(`\`--${flag}`)
    }
  })

  it('explain every denial reason and every error reason in words', () => {
    const text = read('docs/errors.md')
    const explained = (reason: string) => new RegExp(`^- \`${reason}\`: \\S`, 'm').test(text)
    expect(denialReasons.filter(reason => !explained(reason))).toEqual([])
    expect(Object.keys(errorReasons).filter(reason => !explained(reason))).toEqual([])
  })

  it('every metric of the catalogue is shown by somebody', () => {
    const code = filesBelow('src', '.ts')
      .filter(({ path }) => !path.endsWith('metric-catalogue.ts'))
      .map(({ text }) => text)
      .join('\n')
    expect(Object.keys(metricCatalogue).filter(name => !code.includes(`'${name}'`))).toEqual([])
  })

  it('mention no reason, variable or metric that does not exist', () => {
    const known = new Set([...knownEnvironmentNames(), 'GATEWARDEN_'])
    const documents = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md'].filter(file => existsSync(join(root, file)))
    const texts = [...filesBelow('docs', '.md'), ...documents.map(path => ({ path, text: read(path) }))]
    const unknown = texts.flatMap(({ path, text }) =>
      [...text.matchAll(/\bGATEWARDEN_[A-Z_]*[A-Z]\b/g)]
        .filter(([name]) => !known.has(name))
        .map(([name]) => `${path}: ${name}`),
    )
    // A page may show what a mistyped name is answered with. Placeholders of envoy/envoy.yaml are in capitals as well.
    const shown = new Set(
      texts.flatMap(({ text }) =>
        [...text.matchAll(/(GATEWARDEN_\w+): found a name that is no setting/g)].map(([, name]) => name),
      ),
    )
    expect(
      unknown.filter(each => !each.endsWith(': GATEWARDEN_HOST') && !shown.has(each.split(': ')[1] ?? '')),
    ).toEqual([])
  })

  it('link only to files that exist', () => {
    const broken = filesBelow('docs', '.md').flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map(([, target = '']) => join(root, path, '..', target))
        .filter(target => !existsSync(target))
        .map(target => `${path}: ${target}`),
    )
    expect(broken).toEqual([])
  })
})
