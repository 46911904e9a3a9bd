// `gatewarden --help` and every client command start without what only a process needs: database, key table, linter, log.
// Measured on 2 cores with Node 20: 0.57 s of CPU for --help before that, 0.29 s after.
import { describe, expect, it } from 'vitest'
import { filesBelow, importsOf, roomOf } from './sources.ts'

const files = new Map(filesBelow('src', '.ts').map(file => [file.path, file]))

/** Files and packages that a file loads at once; what `import()` names comes later. */
function loadedWith(entry: string): ReadonlySet<string> {
  const loaded = new Set<string>()
  const visit = (path: string): void => {
    if (loaded.has(path)) return
    loaded.add(path)
    const file = files.get(path)
    if (file === undefined) return
    const text = file.text.replaceAll('import(', 'later(')
    for (const { target, specifier, typeOnly } of importsOf({ path, text })) if (!typeOnly) visit(target ?? specifier)
  }
  visit(entry)
  return loaded
}

describe('the command', () => {
  const loaded = loadedWith('src/bin/gatewarden.ts')

  it('loads the client, and no room that only a process or the linter needs', () => {
    expect(loaded).toContain('src/rpc/client.ts')
    const rooms = new Set([...loaded].filter(path => path.startsWith('src/')).map(roomOf))
    for (const room of ['admin', 'check', 'feed', 'keys', 'observe', 'profile', 'transport'])
      expect(rooms).not.toContain(room)
    expect([...loaded].filter(path => path.startsWith('src/store/'))).toEqual(['src/store/package-root.ts'])
    for (const name of ['pg', 'pino', 'prom-client']) expect(loaded).not.toContain(name)
  })

  it('loads them when a process starts', () => {
    expect(loadedWith('src/bin/roles.ts')).toContain('pg')
  })
})
