// The guard of the guard: the linter refuses a file that breaks the rules we depend on, and does it rule by rule.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from './sources.ts'

const rules = [
  'lint/suspicious/noExplicitAny',
  'lint/suspicious/noConsole',
  'lint/style/noNonNullAssertion',
  'lint/style/useNodejsImportProtocol',
  'lint/style/useImportType',
  'lint/correctness/noUnusedVariables',
  'lint/nursery/noFloatingPromises',
  'lint/nursery/noMisusedPromises',
]

describe('the linter', () => {
  it('refuses the fixture, naming every rule it breaks', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gw-lint-'))
    try {
      const settings = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8')) as Record<string, unknown>
      writeFileSync(join(folder, 'biome.json'), JSON.stringify({ ...settings, vcs: undefined, files: undefined }))
      copyFileSync(join(root, 'test/fixtures/lint/must-fail.ts.txt'), join(folder, 'must-fail.ts'))
      const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
      const { status, stdout, stderr } = spawnSync(process.execPath, [biome, 'lint', '--max-diagnostics=100', '.'], {
        cwd: folder,
        encoding: 'utf8',
      })
      for (const rule of rules) expect(stdout + stderr).toContain(rule)
      expect(status).toBe(1)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
