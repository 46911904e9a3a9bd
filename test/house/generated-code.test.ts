// The generated code is what the schemas say: generating again changes nothing.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from './sources.ts'

function tree(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return new Map(
    files
      .map(entry => join(entry.parentPath, entry.name))
      .map(file => [relative(folder, file), readFileSync(file, 'utf8')]),
  )
}

describe('src/gen', () => {
  it('is what `npm run generate` makes', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gw-gen-'))
    try {
      const buf = join(root, 'node_modules/.bin/buf')
      execFileSync(buf, ['generate', '--output', folder], { cwd: root, stdio: 'pipe' })
      const [made, committed] = [tree(join(folder, 'src/gen')), tree(join(root, 'src/gen'))]
      expect([...made.keys()].sort()).toEqual([...committed.keys()].sort())
      expect(made.size).toBeGreaterThan(20)
      for (const [path, text] of made) expect(text === committed.get(path), path).toBe(true)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }, 60_000)
})
