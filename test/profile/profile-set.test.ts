// Sets of profiles: who is found by name and by host, what two profiles may not both claim, and the answer when none matches.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createNames } from '../../src/core/names.ts'
import { codeOf, denialReasons } from '../../src/core/reason.ts'
import { loadDirectory } from '../../src/profile/load-directory.ts'
import { createProfileSet, findConflicts } from '../../src/profile/profile-set.ts'
import { renderDenial } from '../../src/profile/render-denial.ts'
import { unmatchedRenderingOf, unmatchedRenderings } from '../../src/profile/unmatched.ts'
import { compileText, exampleText, products, profileText } from './documents.ts'

const example = exampleText()
const compile = { names: createNames(), deploymentEnvironment: 'production', acceptedEnvironments: null }

describe('a set', () => {
  it('finds a profile by its name and by each of its hosts, and nothing else', () => {
    const set = createProfileSet([...products.map(name => compileText(profileText(name))), compileText(example)])
    expect(set.byName('billoget')?.name).toBe('billoget')
    expect(set.byHost('files.example.test')?.name).toBe('example')
    expect(set.byHost('api.bitgpt.xyz')?.name).toBe('bitgpt')
    for (const stranger of ['', 'constructor', '__proto__', 'API.BITGPT.XYZ', 'api.bitgpt.xyz.', 'xapi.bitgpt.xyz']) {
      expect(set.byHost(stranger)).toBeUndefined()
      expect(set.byName(stranger)).toBeUndefined()
    }
  })

  it('is refused when two profiles claim one name or host', () => {
    const first = compileText(example)
    const other = compileText(
      example.replace('name: example', 'name: other').replace('api.example.test,', 'b.example.test,'),
    )
    expect(findConflicts([first, other])).toEqual([{ kind: 'host', value: 'files.example.test', earlier: 0, later: 1 }])
    expect(() => createProfileSet([first, other])).toThrow('files.example.test')
    expect(() => createProfileSet([first, first])).toThrow('example')
  })
})

describe('a request that no profile matches', () => {
  it('is answered in a shape of no product', () => {
    const shown = (reason: (typeof denialReasons)[number]) =>
      renderDenial(unmatchedRenderingOf(codeOf(reason)), { retry_after: 2 })
    const common = [
      ['content-type', 'application/json'],
      ['cache-control', 'no-store'],
    ]
    expect(shown('route_unmapped')).toMatchObject({
      status: 403,
      grpcStatus: 7,
      body: '{"error":"forbidden"}',
      headers: common,
    })
    expect(shown('request_malformed')).toMatchObject({
      status: 400,
      grpcStatus: 3,
      body: '{"error":"bad_request"}',
      headers: common,
    })
    const unavailable = { status: 503, grpcStatus: 14, body: '{"error":"service_unavailable"}' }
    expect(shown('authz_unavailable')).toMatchObject({ ...unavailable, headers: [...common, ['retry-after', '2']] })
  })

  it('has an answer for every code, and our own failure for unknown ones', () => {
    expect(unmatchedRenderings.length).toBe(denialReasons.length)
    expect(unmatchedRenderingOf(200).status).toBe(503)
    expect(unmatchedRenderings.every(({ status }) => status >= 400)).toBe(true)
  })
})

describe('a directory', () => {
  let directory = ''
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'gw-profiles-'))
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))
  const put = (file: string, text: string) => writeFileSync(join(directory, file), text)

  it('with sound profiles gives a set in the order of the files', async () => {
    for (const name of products) put(`${name}.yaml`, profileText(name))
    put('profile.schema.json', '{}')
    put('.hidden.yaml', 'not read')
    const { set, findings } = await loadDirectory(directory, compile)
    expect(set?.profiles.map(({ name }) => name)).toEqual(['billoget', 'bitbybit', 'bitgpt'])
    expect(findings.every(({ level }) => level !== 'error')).toBe(true)
  })

  it('reports the findings of all files at once and gives no set', async () => {
    put('a.yaml', example.replace('kind: Profile', 'kind: Other'))
    put('b.yaml', '')
    put(
      'c.yaml',
      example.replace('name: example', 'name: c').replace('[api.example.test, files', '[c.example.test, files'),
    )
    put(
      'd.yaml',
      example.replace('name: example', 'name: d').replace('[api.example.test, files', '[d.example.test, files'),
    )
    put('e.yaml', `${'#'.repeat(300_000)}`)
    writeFileSync(join(directory, 'f.yaml'), Buffer.from([0xff, 0xfe, 0x41]))
    mkdirSync(join(directory, 'g.yaml'))
    const { set, findings, loaded } = await loadDirectory(directory, compile)
    expect(set).toBeUndefined()
    expect(loaded.map(({ file }) => file)).toEqual(['c.yaml', 'd.yaml'])
    const errors = findings.filter(({ level }) => level === 'error')
    expect(errors.map(({ file, code, field, line }) => `${file} ${code} ${field} ${line}`)).toEqual([
      'a.yaml type kind 3',
      'b.yaml syntax  1',
      'e.yaml limit  1',
      'f.yaml syntax  1',
      'g.yaml syntax  1',
      'd.yaml duplicate_field select.hosts[1] 9',
    ])
  })

  it('that is empty or absent is a finding, never an empty set', async () => {
    for (const path of [directory, join(directory, 'none')]) {
      const { set, findings } = await loadDirectory(path, compile)
      expect(set).toBeUndefined()
      expect(findings.map(({ level }) => level)).toEqual(['error'])
    }
  })
})
