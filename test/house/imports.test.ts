// Who may import whom: the table of the architecture, read from the files themselves. A test that saw too few files fails.
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { filesBelow, type ImportLine, importsOf, roomOf, root } from './sources.ts'

type Permit = true | 'types' | RegExp

const all = true
/** Room → rooms it may import. A pattern admits those files only; `types`: types only. Every room may import itself. */
const table: Readonly<Record<string, Readonly<Record<string, Permit>>>> = {
  core: {},
  profile: { core: all },
  keys: { core: all },
  feed: { core: all, keys: all, observe: 'types' },
  gen: {},
  transport: { observe: 'types' },
  check: {
    core: all,
    profile: all,
    keys: all,
    feed: all,
    transport: /^src\/transport\/unary-server\.ts$/,
    usage: 'types',
    observe: 'types',
  },
  admin: {
    core: all,
    profile: all,
    keys: /^src\/keys\/digest\.ts$/,
    gen: all,
    rpc: /^src\/rpc\/(errors|reasons|status|call|server)\.ts$/,
    usage: 'types',
    observe: 'types',
  },
  usage: { core: all, gen: all, rpc: /^src\/rpc\/errors\.ts$/, observe: 'types' },
  store: { core: all, profile: 'types', keys: 'types', feed: 'types', admin: 'types', usage: 'types', observe: all },
  rpc: { gen: all, observe: all, transport: /^src\/transport\/grpc-js-sessions\.ts$/ },
  observe: {},
  config: {},
  cli: { core: all, profile: all, gen: all, rpc: all, config: all },
}

const files = filesBelow('src', '.ts')
const imports = files.flatMap(importsOf)

function isAllowed({ from, target, typeOnly }: ImportLine): boolean {
  if (target === null) return true
  const [room, other] = [roomOf(from), roomOf(target)]
  if (room === other || room === 'bin') return true
  const permit = table[room]?.[other]
  if (permit === true) return true
  if (permit === 'types') return typeOnly
  return permit instanceof RegExp && permit.test(target)
}

const tell = ({ from, specifier }: ImportLine) => `${from} imports ${specifier}`

describe('import directions', () => {
  it('every source file was read', () => {
    const listed = execFileSync(
      'git',
      ['ls-files', '--cached', '--others', '--exclude-standard', 'src/*.ts', 'src/**/*.ts'],
      { cwd: root, encoding: 'utf8' },
    )
    const known = new Set(listed.split('\n').filter(line => line !== ''))
    expect(new Set(files.map(file => file.path))).toEqual(known)
    expect(files.length).toBeGreaterThan(100)
    expect(imports.length).toBeGreaterThan(files.length)
  })

  it('every room stands in the table', () => {
    const rooms = new Set(files.map(file => roomOf(file.path)))
    expect([...rooms].filter(room => room !== 'bin' && table[room] === undefined)).toEqual([])
  })

  it('no import goes where the table has no dot', () => {
    expect(imports.filter(line => !isAllowed(line)).map(tell)).toEqual([])
  })

  it('every import of our own names a file that exists, with its extension', () => {
    const known = new Set(files.map(file => file.path))
    expect(imports.filter(({ target }) => target !== null && !known.has(target)).map(tell)).toEqual([])
  })

  it('core imports nothing from outside, not even Node', () => {
    const outside = imports.filter(line => roomOf(line.from) === 'core' && line.target === null)
    expect(outside.map(tell)).toEqual([])
  })

  it('the reader sees all forms of an import', () => {
    const text = [
      "import a from './a.ts'",
      "import type { B } from '../b/b.ts'",
      "import { type C, type D } from './c.ts'",
      "import { type E, f } from './e.ts'",
      "export * from './g.ts'",
      "import './h.ts'",
      "const i = await import('./i.ts')",
      "import {\n  j,\n  k,\n} from 'node:fs'",
      "// import x from './comment.ts'",
    ].join('\n')
    const seen = importsOf({ path: 'src/room/file.ts', text })
    const shown = seen.map(({ target, specifier, typeOnly }) => `${target ?? specifier}${typeOnly ? ' types' : ''}`)
    expect(shown.sort()).toEqual([
      'node:fs',
      'src/b/b.ts types',
      'src/room/a.ts',
      'src/room/c.ts types',
      'src/room/e.ts',
      'src/room/g.ts',
      'src/room/h.ts',
      'src/room/i.ts',
    ])
  })
})

describe('what only some rooms may touch', () => {
  const using = (pattern: RegExp, except: RegExp) =>
    files.filter(({ path, text }) => !except.test(path) && pattern.test(stripComments(text))).map(file => file.path)

  it('the process is read and ended by the wiring alone', () => {
    expect(using(/\bprocess\.(env|exit|exitCode|argv|on|once)\b/, /^src\/(bin|gen)\//)).toEqual([])
  })

  it('core reads no clock, draws no randomness, waits for nothing', () => {
    const impure =
      /\b(Date\.now|new Date\(\)|performance\.|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|Promise\b|async\b|await\b|fetch\()/
    expect(using(impure, /^src\/(?!core\/)/)).toEqual([])
  })

  it('there is no file for things that belong nowhere', () => {
    const vague = /\/(utils?|helpers?|common|types|index|misc)\.ts$/
    expect(files.map(file => file.path).filter(path => vague.test(path))).toEqual([])
  })

  it('every file begins by saying what it is, in one to five lines', () => {
    const heads = files
      .filter(({ path }) => !path.startsWith('src/gen/'))
      .map(({ path, text }) => {
        const lines = text.replace(/^#!.*\n/, '').split('\n')
        const end = lines.findIndex(line => !line.startsWith('//'))
        return { path, lines: end }
      })
    expect(heads.filter(({ lines }) => lines < 1 || lines > 5)).toEqual([])
  })
})

function stripComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
}
